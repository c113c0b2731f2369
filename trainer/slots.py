"""Training slots of one machine: who may run now, and on which CPUs."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

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
    """A fair queue with priorities in front of a fixed number of slots."""

    def __init__(self, slots: list[Slot]) -> None:
        self._free = list(slots)
        self._waiting: list[tuple[int, int, asyncio.Future[Slot]]] = []
        self._turn = itertools.count()

    @asynccontextmanager
    async def use(self, priority: int) -> AsyncIterator[Slot]:
        """Wait for a slot and hold it."""
        slot = await self._acquire(priority)
        try:
            yield slot
        finally:
            self._release(slot)

    async def _acquire(self, priority: int) -> Slot:
        if self._free:
            return self._free.pop(0)
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._turn), future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release(future.result())
            raise

    def _release(self, slot: Slot) -> None:
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(slot)
                return
        self._free.append(slot)
        self._free.sort(key=lambda free: free.number)


def share_out(slots: int) -> list[Slot]:
    """This machine's CPUs, dealt to the slots in equal contiguous shares; with fewer CPUs than slots, in turn."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    size = len(cpus) // slots
    if size == 0:
        return [Slot(number=i, cpus=(cpus[i % len(cpus)],)) for i in range(slots)]
    return [Slot(number=i, cpus=tuple(cpus[i * size : (i + 1) * size])) for i in range(slots)]
