"""Several hosts as one trainer: what deals the work out to them.

What a person reads afterwards (logs, curves, scores by row) comes back to the campaign's workspace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from ...search.errors import RatchetreeError, WrongUse
from ...search.model import Failure, FailureKind, Machine, Progress, ScoreReport, TrialReport
from ...search.ports import Job, ProgressListener, TreeSource
from ...search.settings import Settings
from ..runs import trial_name, trials_folder
from ..slots import SMOKE, TRAIN, Slot, Slots
from .host import Done, Opened, pack


class HostLost(Exception):
    """The host does not answer any more; the message is one line."""


class Link(Protocol):
    """A way to the Host on another machine."""

    @property
    def name(self) -> str:
        """The machine's."""

    async def call(self, method: str, *arguments: Any) -> Any:
        """What that method of the Host returns. Raises what it raises, and HostLost."""


class HostsTrainer:
    """Implements ports.Trainer over hosts. settings.trainer.slots counts those of all hosts together."""

    def __init__(
        self,
        settings: Settings,
        links: Sequence[Link],
        *,
        workspace: Path,
        trees: TreeSource,
        listen: ProgressListener,
        say: Callable[[str], None],
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._hosts = [_Shared(link, share) for link, share in _dealt(links, settings.trainer.slots)]
        self._workspace = workspace
        self._tree = lru_cache(64)(partial(pack, trees))
        self._listen = listen
        self._say = say
        self._after = after
        self._slots = Slots([slot for host in self._hosts for slot in host.slots])
        self._where: dict[str, _Shared] = {}  # trials that are not scored yet
        self._kept: dict[str, _Shared] = {}  # those of a campaign that was killed, until they are asked for
        self._following: list[asyncio.Task[None]] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._compiled = False  # whether all hosts have what the root compiled
        self._turn = 0  # of smoke runs that take no slot

    async def open(self, root: str) -> Machine:
        """All hosts at once. Raises WrongUse where their scores would not compare."""
        tree = self._tree(root)
        asked = [host.link.call("open", root, tree, len(host.slots)) for host in self._hosts]
        found = await asyncio.gather(*asked, return_exceptions=True)
        for host, opened in zip(self._hosts, found, strict=True):
            if isinstance(opened, HostLost):
                raise RatchetreeError(
                    f"host {host.link.name} could not be started ({opened}): it needs the same ratchetree, Python "
                    "and Ray"
                )
            if isinstance(opened, RatchetreeError):
                kind = WrongUse if isinstance(opened, WrongUse) else RatchetreeError
                raise kind(f"host {host.link.name}: {opened}")
            if isinstance(opened, BaseException):
                raise opened
            self._kept |= dict.fromkeys(opened.kept, host)
            self._following.append(asyncio.create_task(self._follow(host)))
        self._where |= self._kept
        names = ", ".join(f"{host.link.name} ({len(host.slots)})" for host in self._hosts)
        self._say(f"hosts and their slots: {names}")
        return self._alike([opened.machine for opened in found if isinstance(opened, Opened)])

    async def smoke(self, job: Job) -> Failure | None:
        """On any host; as often on others as hosts are lost meanwhile."""
        while True:
            async with self._place_for_smoke() as host:
                done = await self._ask(host, "smoke", job, trial_name(job, smoke=True))
            if done is not None:
                return done.outcome if isinstance(done.outcome, Failure) else None

    async def train(self, job: Job) -> TrialReport | Failure:
        """Where a slot is free first; or where it ended already, for a campaign that was killed meanwhile."""
        name = trial_name(job)
        self._listen(Progress(experiment=job.experiment, trial=job.trial, stage="waiting"))
        done, known = None, self._kept.pop(name, None)
        if known is not None and not known.lost:
            done = await self._ask(known, "train", job, name)
        else:
            async with self._slots.use(TRAIN) as slot:
                host = next(host for host in self._hosts if slot in host.slots)
                self._where[name] = host
                done = await self._ask(host, "train", job, name)
        if done is None:
            return self._gone(name)
        if job.experiment == 0 and not self._compiled:
            await self._share_compiled(self._where[name])
        outcome: TrialReport | Failure = done.outcome
        return outcome

    async def score(self, job: Job) -> ScoreReport | Failure:
        """By the host that trained it."""
        name = trial_name(job)
        host = self._where.get(name)
        done = await self._ask(host, "score", job, name) if host is not None and not host.lost else None
        outcome: ScoreReport | Failure = done.outcome if done is not None else self._gone(name)
        return outcome

    def hurry(self) -> None:
        """All hosts."""
        for host in self._hosts:
            self._tell_soon(host, "hurry")

    def discard(self, job: Job) -> None:
        """Where it was."""
        if (host := self._where.pop(trial_name(job), None)) is not None:
            self._tell_soon(host, "discard", job)

    async def close(self) -> None:
        """All hosts, and the way to them."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, *self._telling, return_exceptions=True)
        await asyncio.gather(*(self._tell(host, "close") for host in self._hosts))
        self._after()

    # -- how ------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _place_for_smoke(self) -> AsyncIterator[_Shared]:
        if self._settings.trainer.smoke == "slot":
            async with self._slots.use(SMOKE) as slot:
                yield next(host for host in self._hosts if slot in host.slots)
            return
        alive = [host for host in self._hosts if not host.lost]
        if not alive:
            raise _all_lost()
        self._turn += 1
        yield alive[self._turn % len(alive)]

    async def _ask(self, host: _Shared, step: str, job: Job, name: str) -> Done | None:
        """None if the host is lost."""
        try:
            done: Done = await host.link.call("run", step, job, self._tree(job.commit))
        except HostLost as error:
            self._lose(host, str(error))
            return None
        folder = trials_folder(self._workspace) / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in done.files.items():
            (folder / file).write_bytes(content)
        return done

    async def _tell(self, host: _Shared, method: str, *arguments: Any) -> None:
        if not host.lost:
            with contextlib.suppress(HostLost):
                await host.link.call(method, *arguments)

    async def _follow(self, host: _Shared) -> None:
        """Pass on what the host has to tell, until it is lost or this is cancelled."""
        while not host.lost:
            try:
                for told in await host.link.call("news"):
                    if isinstance(told, str):
                        self._say(f"{host.link.name}: {told}")
                    else:
                        slot = None if told.slot is None else host.slots[told.slot].number
                        self._listen(replace(told, slot=slot))
            except HostLost as error:
                self._lose(host, str(error))

    async def _share_compiled(self, host: _Shared) -> None:
        """What the root compiled on one host spares the others the time: nobody patched it."""
        try:
            snapshot = await host.link.call("snapshot")
        except HostLost:
            return
        if snapshot is not None and not self._compiled:
            self._compiled = True
            others = [other for other in self._hosts if other is not host]
            await asyncio.gather(*(self._tell(other, "adopt", snapshot) for other in others))

    def _lose(self, host: _Shared, why: str) -> None:
        if host.lost:
            return
        host.lost = True
        self._say(f"host {host.link.name} is lost ({why}): what it was doing is done again elsewhere")
        for slot in host.slots:
            self._slots.retire(slot)
        if all(other.lost for other in self._hosts):
            self._slots.end(_all_lost())

    def _gone(self, name: str) -> Failure:
        self._where.pop(name, None)
        if all(host.lost for host in self._hosts):
            raise _all_lost()
        return Failure(kind=FailureKind.STARVED, message="the host that had it is lost")

    def _alike(self, machines: list[Machine]) -> Machine:
        """One Machine for all. Raises WrongUse."""
        first = machines[0]
        for host, machine in zip(self._hosts, machines, strict=True):
            one, other = f"host {self._hosts[0].link.name}", f"host {host.link.name}"
            if machine.data != first.data:
                raise WrongUse(
                    f"{other} prepared other data than {one}: give all hosts the same corpus, Python and torch"
                )
            if machine.gpu.split(", ")[0] != first.gpu.split(", ")[0] and self._settings.budget.kind == "wall":
                raise WrongUse(
                    f"{other} has {machine.gpu or 'no card'} and {one} {first.gpu or 'no card'}: what they reach in "
                    "the same seconds does not compare; use hosts that are alike"
                )
            if machine.cpu != first.cpu and self._settings.budget.kind != "tokens":
                self._say(f"{other} has {machine.cpu}, {one} {first.cpu}: scores depend on who trained")
        levels = {machine.sandbox for machine in machines}
        weakest = next((level for level in ("weak", "landlock") if level in levels), first.sandbox)
        return replace(
            first,
            host=", ".join(host.link.name for host in self._hosts),
            cpus=sum(machine.cpus for machine in machines),
            memory_gb=round(sum(machine.memory_gb for machine in machines), 1),
            gpu=", ".join(machine.gpu for machine in machines if machine.gpu),
            sandbox=weakest,
        )

    def _tell_soon(self, host: _Shared, method: str, *arguments: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(host, method, *arguments))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


class _Shared:
    """A host as the trainer of all sees it: the way to it, and its slots among all slots."""

    def __init__(self, link: Link, share: range) -> None:
        self.link = link
        self.slots = [Slot(number=i, cpus=()) for i in share]
        self.lost = False


def _dealt(links: Sequence[Link], slots: int) -> list[tuple[Link, range]]:
    """Slots in equal shares, by number; with fewer slots than hosts the last hosts have nothing to do."""
    count = min(len(links), slots)
    ends = [round(slots * i / count) for i in range(count + 1)]
    return [(link, range(ends[i], ends[i + 1])) for i, link in enumerate(links[:count])]


def _all_lost() -> RatchetreeError:
    return RatchetreeError("all hosts are lost; nothing else is: start the cluster and then the campaign again")
