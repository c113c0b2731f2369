"""Training slots of one machine: who may run now, and on which CPUs."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

SCORE, SMOKE, TRAIN = range(3)
"""Who goes first when a slot gets free: what is nearly done before what is short before what is long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A share of the machine, used by one run at a time."""

    number: int
    cpus: tuple[int, ...]
    card: str = ""  # UUID of the card that goes with it; empty = none
    device: str = ""  # and its device file


class Slots:
    """A fair queue with priorities in front of a fixed number of slots. moment: seconds, see `keep_for_scoring`."""

    def __init__(self, slots: list[Slot], *, moment: float = 2.0) -> None:
        self._free = list(slots)
        self._waiting: list[_Waiting] = []
        self._turn = itertools.count()
        self._moment = moment
        self._keep: set[Slot] = set()  # when they are given back
        self._kept: dict[Slot, asyncio.TimerHandle] = {}  # for scorings only, until then
        self._retired: set[Slot] = set()
        self._ended: Exception | None = None

    @asynccontextmanager
    async def use(self, priority: int, *, only: Slot | None = None) -> AsyncIterator[Slot]:
        """Wait for a slot and hold it. only: for this one; None = for any, and of those that are free for the one that
        was given back last."""
        slot = await self._acquire(priority, only)
        try:
            yield slot
        finally:
            self._release(slot)

    def keep_for_scoring(self, slot: Slot) -> None:
        """When the slot is given back, let nothing but a scoring have it for a moment: the one of the trial that has
        just ended comes when that is journalled, and would else wait for all of the next trial. The moment is ten times
        what journalling takes."""
        self._keep.add(slot)

    def is_free(self, slot: Slot) -> bool:
        """Whether nobody holds it."""
        return slot in self._free

    def retire(self, slot: Slot) -> None:
        """Nobody is given it any more."""
        self._retired.add(slot)
        if slot in self._free:
            self._free.remove(slot)

    def end(self, error: Exception) -> None:
        """Raise that in everybody who waits or will wait for a slot."""
        self._ended = error
        for waiting in self._waiting:
            if not waiting.future.done():
                waiting.future.set_exception(error)

    async def _acquire(self, priority: int, only: Slot | None) -> Slot:
        if priority == SCORE and (kept := next((slot for slot in self._kept if only in (None, slot)), None)):
            self._kept.pop(kept).cancel()
            return kept
        if self._ended is not None:
            raise self._ended
        if self._free and only is None:
            return self._free.pop(0)
        if only is not None and only in self._free:
            self._free.remove(only)
            return only
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(priority, next(self._turn), future, only)
        bisect.insort(self._waiting, waiting)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._release(future.result())
            raise

    def _release(self, slot: Slot) -> None:
        self._waiting = [waiting for waiting in self._waiting if not waiting.future.done()]
        keep = slot in self._keep
        self._keep.discard(slot)
        if slot in self._retired:
            return
        for i, waiting in enumerate(self._waiting):
            if waiting.only in (None, slot) and (not keep or waiting.priority == SCORE):
                del self._waiting[i]
                waiting.future.set_result(slot)
                return
        if keep:
            self._kept[slot] = asyncio.get_running_loop().call_later(self._moment, self._give_up, slot)
        else:
            self._free.insert(0, slot)

    def _give_up(self, slot: Slot) -> None:
        del self._kept[slot]
        self._release(slot)


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    """Somebody who waits for a slot; in the order in which they are served."""

    priority: int
    turn: int
    future: asyncio.Future[Slot] = field(compare=False)
    only: Slot | None = field(compare=False)


def share_out(slots: int) -> list[Slot]:
    """This machine's CPUs, dealt to the slots in equal contiguous shares; with fewer CPUs than slots, in turn."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    size = len(cpus) // slots
    if size == 0:
        return [Slot(number=i, cpus=(cpus[i % len(cpus)],)) for i in range(slots)]
    return [Slot(number=i, cpus=tuple(cpus[i * size : (i + 1) * size])) for i in range(slots)]
