"""The trainer of one machine: real runs in slots, each confined in an exported tree, scored by the trusted scorer."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import statistics
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from ..search.errors import Unavailable
from ..search.model import Failure, FailureKind, Machine, Progress, ScoreReport, Stage, TrialReport
from ..search.plain_text import without_controls
from ..search.ports import Job, ProgressListener, TreeSource
from ..search.settings import Settings
from .best_curve import BestCurve
from .cards import Keeper
from .cards.sampling import Strain
from .data import Manifest, prepare
from .failures import failure_of, score_failure_of
from .machine import this_machine
from .on_cards import OnCards
from .pressure import busy_share, cpu_times, loops_per_second
from .processes import MARK, Report, Run, Spec, end_marked, marked, remembered, supervise
from .runs import Runs, module_of, trials_folder
from .sandbox import TREE, choose
from .slots import SCORE, SMOKE, TRAIN, Slot, Slots, share_out
from .starvation import starved

CALM = 0.2  # a slot whose CPUs work less than this share of the time is left alone by others
PATIENCE = (0.0, 3.0, 30.0)
"""Times the budget's seconds that a trial waits for that, by how often it was starved before. The last wait is long,
because it is the trial's last chance and neighbours come in batches."""
_ON_A_CPU = {"RATCHETREE_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", "RATCHETREE_THREADS": "1", "OMP_NUM_THREADS": "1"}
_NOTHING = Report(share=0.0, step=0, loss=None)
_MAY_COME_FROM_OTHERS = (FailureKind.BUILD, FailureKind.SCORE)
"""Failures of a scoring that a full card may cause. The others are the probes' findings: no second try for them."""
_Trained = tuple[Run | None, str, Strain]


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
        cards: Keeper | None = None,
    ) -> None:
        self._settings = settings
        self._workspace = workspace
        self._trees = trees
        self._listen = listen
        self._say = say
        self._slots: Slots
        self._beside = Slots(share_out(settings.trainer.slots)) if settings.trainer.smoke == "cpu" else None
        self._cards = OnCards(
            settings, cards or Keeper(None, workspace=workspace, say=say), workspace=workspace, say=say
        )
        self._best = BestCurve(trials_folder(workspace) / "best.tsv", settings.metric)
        self._runs: Runs
        self._level = ""  # of the sandbox
        self._hurried = asyncio.Event()
        self._speed = 0.0  # of this machine undisturbed, loops per CPU second
        self._trusted = settings.task.scorer != "printed"
        if self._trusted:
            module_of(settings.task.command)

    async def open(self, root: str) -> Machine:
        """End what a killed campaign left running, clear half-done trials, choose a sandbox, have the data prepared."""
        await self._end_leftovers()
        for tree in trials_folder(self._workspace).glob("*/tree"):
            for name in ("scratch", "scratch-2"):
                shutil.rmtree(tree.parent / name, ignore_errors=True)
            shutil.rmtree(tree, ignore_errors=True)
        sandbox = choose(self._settings.trainer.sandbox)
        self._level = sandbox.level
        if self._level == "weak":
            self._say("NO SANDBOX: patches run with your rights and can read your files; scores can be faked")
        self._slots = Slots(self._cards.lease(root) or share_out(self._settings.trainer.slots))
        manifest = await self._prepare(root) if self._trusted else None
        self._runs = Runs(
            self._settings,
            workspace=self._workspace,
            trees=self._trees,
            sandbox=sandbox,
            manifest=manifest,
            readable=self._cards.readable,
            shares_card=self._trusted and await self._cards.can_share(sandbox),
        )
        self._speed = max(statistics.median(loops_per_second() for _ in range(5)), self._speed)
        data = manifest.content if manifest else ""
        return replace(this_machine(), data=data, sandbox=self._level)

    async def smoke(self, job: Job) -> Failure | None:
        """Two batches and a save. A script that prints its own score has no such short form and is not tried."""
        if not self._trusted:
            return None
        folder = self._runs.folder(job, smoke=True)
        async with (self._beside or self._slots).use(SMOKE) as slot, self._cards.turn(slot, SMOKE):
            self._tell(job, "smoke", slot if self._beside is None else None)
            run, log = await self._supervised(job, slot, smoke=True)
        failure = failure_of(run, log, trees=_trees(folder), unusable=self._runs.why_unusable(folder))
        shutil.rmtree(folder / "out", ignore_errors=True)
        return failure

    async def train(self, job: Job) -> TrialReport | Failure:
        """One trial inside the budget; the saved weights stay until `score`."""
        folder = self._runs.folder(job)
        self._tell(job, "waiting")
        strain = Strain()
        async with self._slots.use(TRAIN) as slot:
            run = remembered(self._runs.ended(job), self._runs.key(job))
            log = _read(folder / "log.txt") if run else ""
            if run is None:
                await self._wait_for_calm(job, slot)
                done = await self._trained(job, slot)
                if isinstance(done, Failure):
                    return done
                run, log, strain = done
            outcome = self._outcome(run, log, folder, slot=slot, strain=strain)
            if isinstance(outcome, TrialReport) and self._trusted and self._cards.turns is None:
                self._slots.keep_for_scoring(slot)
        if isinstance(outcome, Failure) and outcome.kind is FailureKind.STARVED:
            self._say(f"{job.experiment:04d}, trial {job.trial}, is void: {outcome.message}")
        if isinstance(outcome, Failure):
            shutil.rmtree(folder / "out", ignore_errors=True)
        return outcome

    async def score(self, job: Job) -> ScoreReport | Failure:
        """The trusted scorer's number, or what the script printed where the user chose to believe it."""
        folder = self._runs.folder(job)
        if not self._trusted:
            return _printed_score(folder / "log.txt", self._settings.metric.name, sandbox=self._level)
        async with (self._cards.turns or self._slots).use(SCORE) as slot:
            found = await self._scored(job, slot)
        if self._cards.turns is not None and isinstance(found, Failure) and found.kind in _MAY_COME_FROM_OTHERS:
            async with self._slots.use(SCORE) as slot, self._cards.turn(slot, SCORE):
                found = await self._scored(job, slot)
        build_failed = isinstance(found, Failure) and found.kind is FailureKind.BUILD
        if build_failed and self._settings.task.scorer == "trusted-else-printed":
            printed = _printed_score(folder / "log.txt", self._settings.metric.name, sandbox=self._level)
            return printed if isinstance(printed, ScoreReport) and math.isfinite(printed.value) else found
        return found

    def hurry(self) -> None:
        """Nothing waits for calm any more."""
        self._hurried.set()

    def discard(self, job: Job) -> None:
        """Delete the saved weights, and the report, which is journalled."""
        shutil.rmtree(self._runs.folder(job) / "out", ignore_errors=True)
        self._runs.ended(job).unlink(missing_ok=True)

    def snapshot(self) -> bytes | None:
        """What the root compiled for cards like these, packed; None if it did not."""
        return self._cards.snapshot()

    def adopt(self, snapshot: bytes) -> None:
        """Use what the root compiled on another machine with cards like these."""
        self._cards.adopt(snapshot)

    async def close(self) -> None:
        """Give the cards back. Nothing is left to end: every run ends with the step that waits for it."""
        self._cards.close()

    # -- how ------------------------------------------------------------------------------------------------------

    async def _end_leftovers(self) -> None:
        mark = {MARK: str(self._workspace)}
        for _ in range(20):  # supervisors of a campaign that was killed a moment ago end by themselves, with a report
            if not marked(**mark):
                return
            await asyncio.sleep(0.1)
        ended = end_marked(**mark)
        self._say(f"ended {ended} process{'es' if ended > 1 else ''} that a killed campaign had left")

    async def _prepare(self, root: str) -> Manifest:
        folder = trials_folder(self._workspace) / "prepare"
        shutil.rmtree(folder, ignore_errors=True)
        self._trees.export(root, folder)
        self._say("preparing the data (cached after the first time)")
        manifest = await prepare(folder, self._settings.task.corpus)
        shutil.rmtree(folder, ignore_errors=True)
        return manifest

    async def _trained(self, job: Job, slot: Slot) -> _Trained | Failure:
        """A trial's run. It starts up while another is scored on its card, where that can be; if it gets no further,
        it starts once more with the card to itself: no failure counts that may have come from beside it."""
        name = self._runs.folder(job).name
        if self._cards.starts_beside(slot, run=job.run):
            async with AsyncExitStack() as until_the_end:
                held = self._cards.held(slot, name)
                done = await self._watched(job, slot, may_train=lambda: until_the_end.enter_async_context(held))
            if done[0] is not None and done[0].clock_started:
                return done
        async with self._cards.held(slot, name):
            void = await self._cards.ready(slot)
            return void if void is not None else await self._watched(job, slot)

    async def _watched(
        self, job: Job, slot: Slot, *, may_train: Callable[[], Awaitable[object]] | None = None
    ) -> _Trained:
        """A trial, its output, and what its card did meanwhile."""
        self._tell(job, "starting", slot)
        folder = self._runs.folder(job)
        async with self._cards.watched(slot, folder.name) as sampler:

            def clock_runs() -> None:
                if sampler is not None:
                    sampler.training = True

            run, log = await self._supervised(job, slot, smoke=False, heard=clock_runs, may_train=may_train)
        if job.experiment == 0:
            self._cards.take_compiled(folder)
        return run, log, sampler.strain() if sampler is not None else Strain()

    async def _supervised(
        self,
        job: Job,
        slot: Slot,
        *,
        smoke: bool,
        heard: Callable[[], None] = lambda: None,
        may_train: Callable[[], Awaitable[object]] | None = None,
    ) -> tuple[Run | None, str]:
        spec = self._runs.training(job, slot, smoke=smoke)
        spec = self._cards.with_compiled(spec, is_root=job.experiment == 0 and not smoke)
        if smoke and self._beside is not None:  # one thread, beside a trial that has the card and the other CPUs
            spec = replace(spec, env=spec.env | _ON_A_CPU)
        if self._settings.trainer.stop_hopeless and not smoke:
            spec = replace(spec, reference=self._best.read())
        stage: Stage = "smoke" if smoke else "training"
        folder = self._runs.folder(job, smoke=smoke)

        def listen(report: Report) -> None:
            heard()
            self._tell(job, stage, slot, report)

        return await self._run(spec, folder, listen=listen, may_train=may_train)

    async def _scored(self, job: Job, slot: Slot) -> ScoreReport | Failure:
        folder = self._runs.folder(job)
        self._tell(job, "scoring", slot)
        run, log = await self._run(self._runs.scoring(job, slot), folder)
        result = run.result if run is not None and isinstance(run.result, dict) else {}
        if not isinstance(result.get("value"), float):
            return score_failure_of(run, result.get("error"), log, trees=_trees(folder))
        if job.part == "validation":
            self._best.offer(result["value"], folder / "curve.tsv")
        return ScoreReport(value=result["value"], leak=result["leak"], cuts=result["cuts"], sandbox=self._level)

    async def _run(
        self,
        spec: Spec,
        folder: Path,
        *,
        listen: Callable[[Report], None] | None = None,
        may_train: Callable[[], Awaitable[object]] | None = None,
    ) -> tuple[Run | None, str]:
        try:
            run = await supervise(spec, listen=listen, may_train=may_train)
            return run, _read(Path(spec.log))
        finally:
            for name in ("tree", "scratch", "scratch-2"):
                shutil.rmtree(folder / name, ignore_errors=True)

    def _outcome(self, run: Run | None, log: str, folder: Path, *, slot: Slot, strain: Strain) -> TrialReport | Failure:
        unusable = self._runs.why_unusable(folder) if self._trusted else None
        kind = self._settings.budget.kind
        if run is not None and self._settings.trainer.starvation:
            void = starved(run, kind=kind, reference=self._speed, card=strain.complaints())
            if void is not None:
                return void
        failure = failure_of(run, log, trees=_trees(folder), unusable=unusable, prints=not self._trusted)
        if failure is not None:
            return failure
        assert run is not None
        report = TrialReport(
            startup_seconds=run.startup_seconds,
            train_seconds=run.train_seconds,
            cpu_seconds=run.cpu_seconds,
            peak_memory_mb=run.peak_memory_mb,
            steps=run.steps,
            tokens=run.tokens,
            last_loss=run.last_loss,
            sandbox=self._level,
            wait_share=run.wait_share,
            steal_share=run.steal_share,
            speed=round(run.loops_per_second / self._speed, 3) if self._speed else None,
        )
        return self._cards.report(report, log, slot, strain)

    async def _wait_for_calm(self, job: Job, slot: Slot) -> None:
        """After a starved run: until the slot's CPUs have been idle for a second, or too long. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE[min(job.run, 2)] * self._settings.budget.seconds
        while job.run > 0 and loop.time() < until:
            before = cpu_times(slot.cpus)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), 1.0)
                raise Unavailable("stopped while it waited for the machine to be calm")
            if busy_share(before, cpu_times(slot.cpus)) < CALM:
                return

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


def _read(log: Path) -> str:
    return log.read_text(errors="replace")


def _trees(folder: Path) -> tuple[str, ...]:
    """The tree's path, as it is and as a run may have seen it."""
    return (str(folder / "tree"), TREE)


def _printed_score(log: Path, metric: str, *, sandbox: str) -> ScoreReport | Failure:
    """The last `metric: number` (or `metric = number`) in the log."""
    text = without_controls(_read(log))
    number = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    found = re.findall(rf"(?m)^\W*{re.escape(metric)}\s*[:=]\s*{number}", text)
    if not found:
        message = f"the output has no line '{metric}: <number>'"
        return Failure(kind=FailureKind.SCORE, message=message, detail="\n".join(text.splitlines()[-8:]))
    return ScoreReport(value=float(found[-1]), by="printed", sandbox=sandbox)
