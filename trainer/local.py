"""The trainer of one machine: real runs in slots, each in an exported tree, scored by the trusted scorer.

Each trial has a folder `.ratchetree/trials/NNNN-T/`: its log and loss curve stay, the tree and the saved weights go as
soon as they have served.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from ..search.errors import WrongUse
from ..search.model import Failure, FailureKind, Machine, Progress, ScoreReport, Sources, Stage, TrialReport
from ..search.ports import Job, ProgressListener, TreeSource
from ..search.settings import Settings
from .data import Manifest, prepare
from .failures import clean, failure_of, traceback_end
from .machine import memory_mb, this_machine
from .processes import MARK, Report, Run, Spec, allowed_environment, end_marked, marked, remembered, supervise
from .scorer import ScoreSpec
from .slots import SCORE, SMOKE, TRAIN, Slot, Slots, share_out

SMOKE_SECONDS = 60.0  # cap of a smoke run after start-up
SCORE_SECONDS = 600.0  # cap of scoring
_NOTHING = Report(share=0.0, step=0, loss=None)
STALLED = 10.0  # a CPU budget may take this many times its seconds on the wall clock, plus a minute


class LocalTrainer:
    """Implements ports.Trainer on this machine."""

    def __init__(
        self,
        settings: Settings,
        *,
        workspace: Path,
        trees: TreeSource,
        listen: ProgressListener,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._workspace = workspace
        self._folder = workspace / ".ratchetree" / "trials"
        self._trees = trees
        self._listen = listen
        self._say = say
        self._slots = Slots(share_out(settings.trainer.slots))
        self._manifest: Manifest | None = None
        self._memory_mb = settings.trainer.memory_mb or 0.8 * memory_mb() / settings.trainer.slots
        self._module = _module_of(settings.task.command) if self._trusted else ""

    @property
    def _trusted(self) -> bool:
        return self._settings.task.scorer == "trusted"

    async def open(self, root: str) -> Machine:
        """End what a killed campaign left running, clear half-done trials, and have the data prepared."""
        await self._end_leftovers()
        for folder in self._folder.glob("*/tree"):
            shutil.rmtree(folder.parent / "scratch", ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
        if self._trusted:
            folder = self._folder / "prepare"
            shutil.rmtree(folder, ignore_errors=True)
            self._trees.export(root, folder)
            self._say("preparing the data (cached after the first time)")
            self._manifest = await prepare(folder, self._settings.task.corpus)
            shutil.rmtree(folder, ignore_errors=True)
        return replace(this_machine(), data=self._manifest.content if self._manifest else "")

    async def _end_leftovers(self) -> None:
        mark = {MARK: str(self._workspace)}
        for _ in range(20):  # supervisors of a campaign that was killed a moment ago end by themselves, with a report
            if not marked(**mark):
                return
            await asyncio.sleep(0.1)
        ended = end_marked(**mark)
        self._say(f"ended {ended} process{'es' if ended > 1 else ''} that a killed campaign had left")

    async def smoke(self, job: Job) -> Failure | None:
        """Two batches and a save. A script that prints its own score has no such short form and is not tried."""
        if not self._trusted:
            return None
        folder = self._folder / f"{job.experiment:04d}-smoke"
        async with self._slots.use(SMOKE) as slot:
            run, log = await self._run(job, folder, slot, smoke=True)
        failure = failure_of(run, log, tree=str(folder / "tree"), saved=_weights(folder).exists())
        shutil.rmtree(folder / "out", ignore_errors=True)
        return failure

    async def train(self, job: Job) -> TrialReport | Failure:
        """One trial inside the budget; the saved weights stay until `score`."""
        folder = self._trial_folder(job)
        self._tell(job, "waiting")
        async with self._slots.use(TRAIN) as slot:
            run, log = await self._run(job, folder, slot, smoke=False)
        saved = _weights(folder).exists() if self._trusted else None
        failure = failure_of(run, log, tree=str(folder / "tree"), saved=saved)
        if failure is not None:
            shutil.rmtree(folder / "out", ignore_errors=True)
            return failure
        assert run is not None
        return TrialReport(
            startup_seconds=run.startup_seconds,
            train_seconds=run.train_seconds,
            cpu_seconds=run.cpu_seconds,
            peak_memory_mb=run.peak_memory_mb,
            steps=run.steps,
            tokens=run.tokens,
            last_loss=run.last_loss,
        )

    async def score(self, job: Job) -> ScoreReport | Failure:
        """The trusted scorer's number, or what the script printed where the user chose to believe it."""
        folder = self._trial_folder(job)
        if not self._trusted:
            return _printed_score(folder / "log.txt", self._settings.metric.name)
        async with self._slots.use(SCORE) as slot:
            self._tell(job, "scoring", slot)
            run, log = await self._score(job, folder, slot)
        result = run.result if run is not None and isinstance(run.result, dict) else {}
        if isinstance(value := result.get("value"), float):
            return ScoreReport(value=value)
        message = str(result.get("error") or f"the scorer ended early ({run.reason if run else 'killed'})")
        kind = {"build": FailureKind.BUILD, "not-finite": FailureKind.NOT_FINITE}.get(message.partition(":")[0])
        detail = traceback_end(clean(log).replace(f"{folder / 'tree'}/", ""))
        return Failure(kind=kind or FailureKind.SCORE, message=message, detail=detail)

    def discard(self, job: Job) -> None:
        """Delete the saved weights, and the report, which is journalled."""
        folder = self._trial_folder(job)
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "ended.json").unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing is left to end: every run ends with the step that waits for it."""

    # -- one run ------------------------------------------------------------------------------------------------

    async def _run(self, job: Job, folder: Path, slot: Slot, *, smoke: bool) -> tuple[Run | None, str]:
        spec = self._spec(job, folder, slot, smoke=smoke)
        if not smoke and (run := remembered(spec)):
            return run, _read(spec.log)
        stage: Stage = "smoke" if smoke else "training"
        self._tell(job, "smoke" if smoke else "starting", slot)
        self._fresh_tree(folder, job.commit, job.overlay)
        (folder / "out").mkdir()
        return await self._supervised(spec, folder, listen=lambda report: self._tell(job, stage, slot, report))

    def _spec(self, job: Job, folder: Path, slot: Slot, *, smoke: bool) -> Spec:
        budget = self._settings.budget
        caps = {"wall": budget.seconds, "cpu": STALLED * budget.seconds + 60, "tokens": budget.seconds}
        return Spec(
            command=_resolved(self._settings.task.command),
            cwd=str(folder / "tree"),
            env=self._environment(job, folder, slot),
            log=str(folder / "log.txt"),
            curve=str(folder / "curve.tsv"),
            kind=budget.kind,
            amount=budget.amount,
            startup_seconds=budget.startup_seconds,
            wall_seconds=SMOKE_SECONDS if smoke else caps[budget.kind],
            memory_mb=self._memory_mb,
            cpus=slot.cpus,
            data=self._manifest.train if self._manifest else "",
            reply={
                "budget": {"kind": budget.kind, "amount": budget.amount},
                "smoke": smoke,
                "out": str(folder / "out"),
                "seed": job.seed,
            },
            ended="" if smoke else str(folder / "ended.json"),
            key=f"{job.commit} {job.seed}",
        )

    async def _score(self, job: Job, folder: Path, slot: Slot) -> tuple[Run | None, str]:
        assert self._manifest is not None
        tree = self._fresh_tree(folder, job.commit, keep=("out", "log.txt", "curve.tsv", "ended.json"))
        score = ScoreSpec(
            tree=str(tree),
            module=self._module,
            weights=str(_weights(folder)),
            tokens=self._manifest.validation,
            token_bytes=self._manifest.token_bytes,
            vocab_size=self._manifest.vocab_size,
            seq_len=self._manifest.seq_len,
        )
        spec = Spec(
            command=(sys.executable, "-m", "ratchetree.trainer.scorer", json.dumps(asdict(score))),
            cwd=str(folder),
            env=self._environment(job, folder, slot),
            log=str(folder / "score.txt"),
            curve=str(folder / "score.tsv"),
            kind="wall",
            amount=SCORE_SECONDS,
            startup_seconds=SCORE_SECONDS,
            wall_seconds=SCORE_SECONDS,
            memory_mb=self._memory_mb,
            cpus=slot.cpus,
        )
        (folder / "score.tsv").unlink(missing_ok=True)
        return await self._supervised(spec, folder)

    async def _supervised(
        self, spec: Spec, folder: Path, *, listen: Callable[[Report], None] | None = None
    ) -> tuple[Run | None, str]:
        try:
            run = await supervise(spec, listen=listen)
            return run, _read(spec.log)
        finally:
            for name in ("tree", "scratch"):
                shutil.rmtree(folder / name, ignore_errors=True)

    def _fresh_tree(self, folder: Path, commit: str, overlay: Sources = (), *, keep: tuple[str, ...] = ()) -> Path:
        """The commit's files in a folder that holds nothing else of an earlier run, but what is to be kept."""
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.name not in keep:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        tree = folder / "tree"
        self._trees.export(commit, tree)
        for file in overlay:
            (tree / file.path).write_text(file.text, encoding="utf-8", newline="")
        (folder / "scratch").mkdir()
        return tree

    def _environment(self, job: Job, folder: Path, slot: Slot) -> dict[str, str]:
        # One thread for every CPU budget, however many CPUs a slot has: a score must not depend on the number of slots.
        threads = str(len(slot.cpus)) if self._settings.budget.kind == "wall" else "1"
        environment = allowed_environment(workspace=self._workspace, scratch=folder / "scratch", run=folder.name)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RATCHETREE_THREADS")
        return environment | dict.fromkeys(names, threads) | {"RATCHETREE_SEED": str(job.seed)}

    def _trial_folder(self, job: Job) -> Path:
        return self._folder / f"{job.experiment:04d}-{job.trial}"

    def _tell(self, job: Job, stage: Stage, slot: Slot | None = None, report: Report = _NOTHING) -> None:
        self._listen(
            Progress(
                experiment=job.experiment,
                trial=job.trial,
                stage=stage,
                share=report.share,
                step=report.step,
                loss=report.loss,
                slot=slot.number if slot else None,
            )
        )


def _weights(folder: Path) -> Path:
    """Where a run's last complete save is: written beside it first, then renamed."""
    return folder / "out" / "model.pt"


def _read(log: str) -> str:
    return Path(log).read_text(errors="replace")


def _resolved(command: tuple[str, ...]) -> tuple[str, ...]:
    """ "python" means the interpreter that runs ratchetree: the one whose packages the user sees."""
    return (sys.executable, *command[1:]) if command[0] in ("python", "python3") else command


def _module_of(command: tuple[str, ...]) -> str:
    script = next((part for part in command if part.endswith(".py")), None)
    if script is None or "/" in script:
        raise WrongUse(
            f"task.command = {list(command)}: the trusted scorer needs a script at the top of the workspace in it, "
            'such as ["python", "train.py"]; or set task.scorer = "printed"'
        )
    return script.removesuffix(".py")


def _printed_score(log: Path, metric: str) -> ScoreReport | Failure:
    """The last `metric: number` (or `metric = number`) in the log."""
    text = clean(log.read_text(errors="replace"))
    number = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    found = re.findall(rf"(?m)^\W*{re.escape(metric)}\s*[:=]\s*{number}", text)
    if not found:
        message = f"the output has no line '{metric}: <number>'"
        return Failure(kind=FailureKind.SCORE, message=message, detail="\n".join(text.splitlines()[-8:]))
    return ScoreReport(value=float(found[-1]), by="printed")
