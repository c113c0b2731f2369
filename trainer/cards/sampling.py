"""What a card did while a trial ran on it, and when that makes the trial void."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from .driver import Driver, DriverError, Reading, Resident

SAMPLE_SECONDS = 1.0
LEAST_SAMPLES = 5
"""Fewer say nothing."""

VOIDING = ("heat", "brake", "hardware")
"""Reasons to clock lower that honest work does not give. A card at its power limit is simply working hard."""

SLOWED_SHARE = 0.05
FOREIGN_SHARE = 0.02
"""Shares of the samples beyond which a trial is void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """A trial's samples, summed up."""

    samples: int = 0
    clock_share: float = 1.0  # of the top clock, on average
    power_watts: float = 0.0  # on average
    temperature_c: float = 0.0  # at most
    busy: float = 0.0  # share of the time in which something ran on the card
    memory_mb: float = 0.0  # at most
    slowed: dict[str, float] = field(default_factory=dict)  # share of the samples, by reason
    foreign: dict[int, float] = field(default_factory=dict)  # share of the samples, by pid

    def complaints(self) -> list[str]:
        """Why the trial is void, in words; empty if it is not."""
        if self.samples < LEAST_SAMPLES:
            return []
        found = [
            f"its card was slowed by {reason} for {share:.0%} of the time (at most {SLOWED_SHARE:.0%})"
            for reason, share in sorted(self.slowed.items())
            if reason in VOIDING and share > SLOWED_SHARE
        ]
        pids = [str(pid) for pid, share in sorted(self.foreign.items()) if share > FOREIGN_SHARE]
        return found + ([f"others computed on its card (pid {', '.join(pids)})"] if pids else [])


class Sampler:
    """Takes a sample every second of the time in which the trial trains."""

    def __init__(self, driver: Driver, uuid: str, *, is_ours: Callable[[int], bool]) -> None:
        self._driver = driver
        self._uuid = uuid
        self._is_ours = is_ours
        self._readings: list[Reading] = []
        self._foreign: Counter[int] = Counter()
        self.training = False  # the clock runs: until then a card idles or compiles

    def sample(self) -> None:
        """Look once."""
        with contextlib.suppress(DriverError):  # a look that failed says nothing about the trial
            reading, residents = self._driver.reading(self._uuid), self._driver.residents(self._uuid)
            if self.training:
                self._readings.append(reading)
                self._foreign.update(r.pid for r in residents if not self._is_ours(r.pid))

    async def follow(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look again and again until cancelled."""
        while True:
            await pause(SAMPLE_SECONDS)
            await asyncio.to_thread(self.sample)

    def strain(self) -> Strain:
        """What was seen."""
        seen, count = self._readings, len(self._readings)
        if not count:
            return Strain()
        slowed = Counter(reason for reading in seen for reason in reading.slowed)
        return Strain(
            samples=count,
            clock_share=sum(r.clock_mhz / max(1.0, r.top_clock_mhz) for r in seen) / count,
            power_watts=sum(r.power_watts for r in seen) / count,
            temperature_c=max(r.temperature_c for r in seen),
            busy=sum(r.busy for r in seen) / count,
            memory_mb=max(r.memory_mb for r in seen),
            slowed={reason: number / count for reason, number in slowed.items()},
            foreign={pid: number / count for pid, number in self._foreign.items()},
        )


def owner_check(mark: bytes, before: tuple[Resident, ...] = ()) -> Callable[[int], bool]:
    """Whether a pid on the card belongs to the run whose processes carry `mark` in their environment.

    A pid that is nobody's here (a container's driver shows the host's) is taken for ours unless it was there before.
    """
    already = {resident.pid for resident in before}

    def is_ours(pid: int) -> bool:
        try:
            return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except PermissionError:
            return False
        except OSError:
            return pid not in already

    return is_ours
