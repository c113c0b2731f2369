"""What one run is, down to the last path: its folder, its cell, its environment, its limits.

Each trial has a folder `.ratchetree/trials/NNNN-T/`: its log, its loss curve and its score by row stay; the tree and
the saved weights go as soon as they have served.
"""

from __future__ import annotations

import json
import shutil
import stat
import sys
from dataclasses import asdict, replace
from pathlib import Path

from ..search.errors import WrongUse
from ..search.ports import Job, TreeSource
from ..search.settings import Settings
from .data import Manifest
from .failures import NOTHING_SAVED
from .machine import memory_mb
from .processes import Spec, allowed_environment, timed
from .sandbox import Cell, Confinement, Sandbox
from .scorer import ScoreSpec
from .sharing import DEVICE_MEMORY
from .slots import Slot

SMOKE_SECONDS = 60.0  # cap of a smoke run after start-up
STALLED = 10.0  # a CPU budget may take this many times its seconds on the wall clock, plus a minute
_KEPT = ("out", "log.txt", "curve.tsv", "ended.json", "rows.npy")  # of the trial, when its tree is laid out for scoring
_SERVER = Path(__file__).with_name("model_server.py")


class Runs:
    """Lays out and describes the runs of one workspace. manifest: None for scripts that print their own score;
    readable: what its runs may read beyond the settings' paths; shares_card: whether a model's answers may stay on the
    card."""

    def __init__(
        self,
        settings: Settings,
        *,
        workspace: Path,
        trees: TreeSource,
        sandbox: Sandbox,
        manifest: Manifest | None,
        readable: tuple[str, ...] = (),
        shares_card: bool = False,
    ) -> None:
        self._settings = settings
        self._workspace = workspace
        self._trees = trees
        self._sandbox = sandbox
        self._manifest = manifest
        self._readable = (*settings.trainer.readable, *readable)
        self._shares_card = shares_card
        self._memory_mb = settings.trainer.memory_mb or 0.8 * memory_mb() / settings.trainer.slots
        self._module = module_of(settings.task.command) if manifest is not None else ""

    def training(self, job: Job, slot: Slot, *, smoke: bool) -> Spec:
        """A trial, or the seconds-long run before it, ready to be started."""
        folder = self.folder(job, smoke=smoke)
        self._lay_out(job, folder)
        confinement = self._sandbox.confine(self._cell(folder, slot))
        budget = self._settings.budget
        caps = {"wall": budget.seconds, "cpu": STALLED * budget.seconds + 60, "tokens": budget.seconds}
        return Spec(
            command=_resolved(self._settings.task.command),
            cwd=str(folder / "tree"),
            env=self._environment(job, confinement, slot, run=folder.name),
            log=str(folder / "log.txt"),
            curve=str(folder / "curve.tsv"),
            confinement=confinement.as_json(),
            kind=budget.kind,
            amount=budget.amount,
            startup_seconds=budget.startup_seconds,
            wall_seconds=SMOKE_SECONDS if smoke else caps[budget.kind],
            memory_mb=self._memory_mb,
            folders=(str(folder / "out"), str(folder / "scratch")),
            disk_mb=4.0 * self._settings.trainer.weights_mb,
            cpus=slot.cpus,
            data=self._manifest.train if self._manifest else "",
            reply={
                "budget": {"kind": budget.kind, "amount": budget.amount},
                "smoke": smoke,
                "out": confinement.out,
                "seed": job.seed,
            },
            ended="" if smoke else str(self.ended(job)),
            key=self.key(job),
        )

    def scoring(self, job: Job, slot: Slot) -> Spec:
        """The trusted scorer's run. It is not confined; the model server that it starts is."""
        assert self._manifest is not None
        folder = self.folder(job)
        weights = folder / "out" / "model.pt"
        self._lay_out(job, folder, keep=_KEPT)
        servers, memory = [], (str(DEVICE_MEMORY),) if self._shares_card else ()
        for name in ("scratch", "scratch-2"):  # what one process leaves there must not reach the other
            (folder / name).mkdir(exist_ok=True)
            cell = self._cell(folder, slot, readable=(str(weights), str(_SERVER), *memory), scratch=name)
            confinement = self._sandbox.confine(cell)
            environment = self._environment(job, confinement, slot, run=folder.name)
            servers.append({"confinement": confinement.as_json(), "environment": environment})
        score = ScoreSpec(
            tree=str(folder / "tree"),
            module=self._module,
            weights=str(weights),
            tokens=self._manifest.test if job.part == "test" else self._manifest.validation,
            token_bytes=self._manifest.token_bytes,
            vocab_size=self._manifest.vocab_size,
            seq_len=self._manifest.seq_len,
            rows=str(folder / "rows.npy") if job.part == "validation" else "",
            cuts=job.cuts,
            tolerance=job.tolerance,
            on_card=self._shares_card,
            servers=servers,
        )
        environment = allowed_environment(workspace=self._workspace, scratch=str(folder / "scratch"), run=folder.name)
        command = (sys.executable, "-m", "ratchetree.trainer.scorer", json.dumps(asdict(score)))
        seconds = float(self._settings.trainer.score_seconds)
        spec = timed(command, folder, env=environment | _visible(slot), seconds=seconds, log="score.txt")
        return replace(spec, memory_mb=self._memory_mb, cpus=slot.cpus)

    def folder(self, job: Job, *, smoke: bool = False) -> Path:
        """Where everything of a run lies."""
        return trials_folder(self._workspace) / trial_name(job, smoke=smoke)

    def ended(self, job: Job) -> Path:
        """Where the supervisor leaves its report of a trial."""
        return self.folder(job) / "ended.json"

    def key(self, job: Job) -> str:
        """What tells one trial from another in that report."""
        return f"{job.commit} {job.seed} {job.run}"

    def why_unusable(self, folder: Path) -> str | None:
        """Why what a run saved cannot be scored; None if it can. A link or a pipe is nothing that was saved: the file
        is opened outside the sandbox's walls."""
        try:
            said = (folder / "out" / "model.pt").lstat()
        except OSError:
            return NOTHING_SAVED
        if not stat.S_ISREG(said.st_mode) or said.st_nlink != 1:
            return "what it saved is no plain file"
        limit = self._settings.trainer.weights_mb
        if said.st_size > limit << 20:
            return f"saved {said.st_size / 2**20:.0f} MB; trainer.weights_mb allows {limit}"
        return None

    def _lay_out(self, job: Job, folder: Path, *, keep: tuple[str, ...] = ()) -> None:
        """The commit's files in a folder that holds nothing else of an earlier run, but what is to be kept."""
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.name not in keep:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        tree = folder / "tree"
        self._trees.export(job.commit, tree)
        for file in job.overlay:
            (tree / file.path).write_text(file.text, encoding="utf-8", newline="")
        for name in ("out", "scratch"):
            (folder / name).mkdir(exist_ok=True)

    def _cell(self, folder: Path, slot: Slot, *, readable: tuple[str, ...] = (), scratch: str = "scratch") -> Cell:
        """A run that is given something to read beyond its tree is asked about it, and saves nothing."""
        return Cell(
            tree=str(folder / "tree"),
            out="" if readable else str(folder / "out"),
            scratch=str(folder / scratch),
            readable=(*self._readable, *readable),
            hidden=self._manifest.hidden if self._manifest else (),
            file_mb=2 * self._settings.trainer.weights_mb,
            gpu=self._settings.budget.kind == "wall",
            devices=(slot.device,) if slot.device else (),
        )

    def _environment(self, job: Job, confinement: Confinement, slot: Slot, *, run: str) -> dict[str, str]:
        # One thread for every CPU budget, however many CPUs a slot has: a score must not depend on the number of slots.
        threads = str(len(slot.cpus)) if self._settings.budget.kind == "wall" else "1"
        environment = allowed_environment(workspace=self._workspace, scratch=confinement.scratch, run=run)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RATCHETREE_THREADS")
        return environment | dict.fromkeys(names, threads) | _visible(slot) | {"RATCHETREE_SEED": str(job.seed)}


def _visible(slot: Slot) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": slot.card} if slot.card else {}


def trials_folder(workspace: Path) -> Path:
    """Where the folders of all trials lie."""
    return workspace / ".ratchetree" / "trials"


def trial_name(job: Job, *, smoke: bool = False) -> str:
    """The folder of a run among the trials."""
    return f"{job.experiment:04d}-smoke" if smoke else f"{job.experiment:04d}-{job.trial}"


def module_of(command: tuple[str, ...]) -> str:
    """The name of the module that the trusted scorer imports. Raises WrongUse."""
    script = next((part for part in command if part.endswith(".py")), None)
    if script is None or "/" in script:
        raise WrongUse(
            f"task.command = {list(command)}: the trusted scorer needs a script at the top of the workspace in it, "
            'such as ["python", "train.py"]; or set task.scorer = "printed"'
        )
    return script.removesuffix(".py")


def _resolved(command: tuple[str, ...]) -> tuple[str, ...]:
    """ "python" means the interpreter that runs ratchetree: the one whose packages the user sees."""
    return (sys.executable, *command[1:]) if command[0] in ("python", "python3") else command
