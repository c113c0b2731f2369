"""A trainer that trains nothing: scores come from a formula over the script's constants.

For rehearsals, benchmarks and tests of everything but training. Its scores are marked `by = "synthetic"` wherever they
are shown, so that nobody takes them for measurements.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import re
from collections.abc import Callable

from ..search.model import Failure, FailureKind, Machine, ScoreReport, Sources, TrialReport, digest
from ..search.ports import Job

_CONSTANT = re.compile(
    r"^([A-Z][A-Z0-9_]*)(?:\s*:\s*\w+)?\s*=\s*(-?[0-9][0-9_.eE+-]*|True|False)\s*(?:#.*)?$", re.MULTILINE
)


class SyntheticTrainer:
    """Implements ports.Trainer. sources_of: the editable files at a commit; seconds: how long a trial takes;
    noise: standard deviation between seeds; crash_share: share of all trees that crash."""

    def __init__(
        self,
        sources_of: Callable[[str], Sources],
        *,
        slots: int = 1,
        seconds: float = 0.0,
        noise: float = 0.003,
        crash_share: float = 0.05,
    ) -> None:
        self._sources_of = sources_of
        self._slots = asyncio.Semaphore(slots)
        self._seconds = seconds
        self._noise = noise
        self._crash_share = crash_share

    async def open(self, root: str) -> Machine:
        """Nothing to get ready."""
        return Machine(host="synthetic", cpu="none", cpus=0, memory_gb=0.0)

    async def smoke(self, job: Job) -> Failure | None:
        """Never fails: what crashes, crashes in training."""
        return None

    async def train(self, job: Job) -> TrialReport | Failure:
        """Waits for its time and reports it."""
        async with self._slots:
            if self._seconds:
                await asyncio.sleep(self._seconds)
        sources = self._sources_of(job.commit)
        if _share(f"crash {digest(sources)}") < self._crash_share:
            return Failure(kind=FailureKind.CRASH, message="RuntimeError: a synthetic crash")
        return TrialReport(startup_seconds=0.0, train_seconds=self._seconds, cpu_seconds=0.0, peak_memory_mb=0.0)

    async def score(self, job: Job) -> ScoreReport | Failure:
        """The formula plus noise that depends on the seed alone."""
        value = synthetic_value(self._sources_of(job.commit)) + random.Random(job.seed).gauss(0, self._noise)
        return ScoreReport(value=round(value, 6), by="synthetic")

    def hurry(self) -> None:
        """Nothing waits here."""

    def discard(self, job: Job) -> None:
        """Nothing was saved."""

    async def close(self) -> None:
        """Nothing to end."""


def synthetic_value(sources: Sources) -> float:
    """A made-up score, lower is better: one gentle wave over the logarithm of each numeric constant, one step for each
    switch, and a small offset for everything else in the text, all fixed by names alone."""
    total = 1.5
    for file in sources:
        rest = file.text
        for name, literal in _CONSTANT.findall(file.text):
            weight = 0.03 * _share(f"weight {name}") ** 2
            phase = 2 * math.pi * _share(f"phase {name}")
            if literal in ("True", "False"):
                total += weight * math.cos(phase) * (1 if literal == "True" else -1)
                continue
            try:
                octaves = math.log2(abs(float(literal)) + 1e-12)
            except ValueError:
                continue
            total += weight * (1 - math.cos(2 * math.pi * octaves / 8 + phase))
        total += 0.004 * _share("text " + _CONSTANT.sub("", rest))
    return total


def _share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:6], "big") / 2**48
