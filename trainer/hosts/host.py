"""One of several hosts: a LocalTrainer that works for a campaign on another machine.

It gets the files of a commit with every request, prepares the data itself, and keeps what a trial saved until it is
scored here: nothing large crosses the network, and no host needs the repository.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...search.errors import WrongUse
from ...search.model import Machine, Progress
from ...search.ports import Job, TreeSource
from ...search.settings import Settings
from ..cards import Keeper, nvidia
from ..confine import hide_memory
from ..local import LocalTrainer
from ..runs import trial_name, trials_folder

NEWS_SECONDS = 2.0
"""How long a host waits for something to tell before it says that there is nothing."""
_BROUGHT = ("log.txt", "curve.tsv", "score.txt", "rows.npy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A host that is ready."""

    machine: Machine
    kept: tuple[str, ...]  # trials whose weights or reports are still there from before a crash


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a request, and the small files of its folder."""

    outcome: Any
    files: dict[str, bytes]


class Host:
    """The end on each machine. All that comes in and goes out can be pickled. campaign: what names it, everywhere."""

    def __init__(self, settings: Settings, campaign: str, folder: str = "") -> None:
        if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # Ray hides the cards from who does not ask it for some
            del os.environ["CUDA_VISIBLE_DEVICES"]
        hide_memory()  # its environment may hold keys of the user's, and model-written code runs beside it
        self._settings = settings
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        name = hashlib.sha256(campaign.encode()).hexdigest()[:16]
        self._folder = Path(folder) if folder else cache / "ratchetree" / "hosts" / name
        self._trees = _Received()
        self._news: asyncio.Queue[Progress | str] = asyncio.Queue()
        self._trainer: LocalTrainer
        self._lock = -1

    async def open(self, root: str, tree: bytes, slots: int) -> Opened:
        """Get ready for so many runs at once. Raises RatchetreeError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = self._settings.trainer.model_copy(update={"slots": slots})
        self._trainer = LocalTrainer(
            self._settings.model_copy(update={"trainer": wanted}),
            workspace=self._folder,
            trees=self._trees,
            listen=self._news.put_nowait,
            say=self._news.put_nowait,
            cards=Keeper(nvidia.find(), workspace=self._folder, say=self._news.put_nowait),
        )
        self._hold()
        with self._trees.holding(root, tree):
            machine = await self._trainer.open(root)
        trials = trials_folder(self._folder)
        kept = {path.parent.name for path in trials.glob("*/ended.json")}
        kept |= {path.parent.parent.name for path in trials.glob("*/out/model.pt")}
        return Opened(machine=machine, kept=tuple(sorted(kept)))

    async def run(self, step: Literal["smoke", "train", "score"], job: Job, tree: bytes) -> Done:
        """See ports.Trainer."""
        with self._trees.holding(job.commit, tree):
            outcome = await getattr(self._trainer, step)(job)
        folder = trials_folder(self._folder) / trial_name(job, smoke=step == "smoke")
        found = {file: folder / file for file in _BROUGHT}
        done = Done(outcome=outcome, files={name: path.read_bytes() for name, path in found.items() if path.is_file()})
        if step == "smoke":  # nobody asks for it again
            shutil.rmtree(folder, ignore_errors=True)
        return done

    async def snapshot(self) -> bytes | None:
        """What the root compiled here; None if nothing."""
        return self._trainer.snapshot()

    async def adopt(self, snapshot: bytes) -> None:
        """What the root compiled on a host like this one."""
        self._trainer.adopt(snapshot)

    async def discard(self, job: Job) -> None:
        """Forget the trial: what is worth keeping of it was brought away."""
        self._trainer.discard(job)
        shutil.rmtree(trials_folder(self._folder) / trial_name(job), ignore_errors=True)

    async def hurry(self) -> None:
        """See ports.Trainer."""
        self._trainer.hurry()

    async def news(self) -> list[Progress | str]:
        """What happened since it was last asked."""
        with contextlib.suppress(TimeoutError):
            found = [await asyncio.wait_for(self._news.get(), NEWS_SECONDS)]
            while not self._news.empty():
                found.append(self._news.get_nowait())
            return found
        return []

    async def close(self) -> None:
        """See ports.Trainer; also for a host that was never opened, or that refused."""
        if self._lock >= 0:
            await self._trainer.close()
            os.close(self._lock)
            self._lock = -1

    def _hold(self) -> None:
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise WrongUse("the cluster has two nodes on this machine: one is enough, its slots are ours") from None
        self._lock = lock


class _Received:
    """Implements TreeSource with what was sent, for as long as it is needed."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}
        self._needed = Counter[str]()

    @contextlib.contextmanager
    def holding(self, commit: str, tree: bytes) -> Iterator[None]:
        """The commit can be exported meanwhile."""
        self._packed[commit] = tree
        self._needed[commit] += 1
        try:
            yield
        finally:
            self._needed[commit] -= 1
            if not self._needed[commit]:
                del self._packed[commit], self._needed[commit]

    def export(self, commit: str, folder: Path) -> None:
        """See ports.TreeSource."""
        folder.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(self._packed[commit])) as tar:
            tar.extractall(folder, filter="data")


def pack(trees: TreeSource, commit: str) -> bytes:
    """The commit's files as a tar archive."""
    with tempfile.TemporaryDirectory(prefix="ratchetree-") as place:
        trees.export(commit, Path(place) / "tree")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(Path(place) / "tree", arcname=".")
    return packed.getvalue()
