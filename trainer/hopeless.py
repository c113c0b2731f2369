"""When a trial cannot come to anything any more: its loss is no number, explodes, or is far above the best trial's.

Standard library only, for the supervisor, which sees the losses that a script prints. A script that prints false ones
only harms or spares itself: a trial that is not ended early is scored as ever. Off by default; how often the rule ends
a trial that would have been good is measured on recorded curves by `tests/bench/hopeless.py`.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence

Curve = Sequence[tuple[float, float]]
"""(seconds since the clock began, training loss), in order."""

SMOOTH = 9
"""Points whose median counts: a single batch says little."""

FIRST_SHARE = 0.3
"""Of the budget, before which nothing but a broken loss ends a trial: schedules differ most at the beginning."""

PERSISTS_SHARE = 0.1
"""Of the budget, for which it must be far behind."""

MARGIN = 0.5
"""Nats above the reference at the same time that are far behind. Losses of one run's batches differ by less; what a run
with a higher rate makes up for in its last third is less, too (tests/bench/gpu.md)."""

EXPLODED = 1.0
"""Nats above its own first loss."""


class Watch:
    """The points of one trial, one after the other. reference: the curve of the best trial so far; may be empty."""

    def __init__(self, reference: Curve, budget_seconds: float, *, margin: float = MARGIN) -> None:
        smooth = smoothed(reference)
        self._times = [seconds for seconds, _ in smooth]
        self._losses = [loss for _, loss in smooth]
        self._budget = budget_seconds
        self._margin = margin
        self._recent: list[float] = []
        self._first: float | None = None
        self._broken = 0
        self._behind_since: float | None = None

    def add(self, seconds: float, loss: float) -> str | None:
        """Take in a point; why the trial is hopeless, in words, or None."""
        if not math.isfinite(loss):
            self._broken += 1
            return "not-finite: the loss is no number" if self._broken > 1 else None
        self._broken = 0
        self._recent = [*self._recent, loss][-SMOOTH:]
        if self._first is None:
            self._first = loss
        middle = statistics.median(self._recent)
        if len(self._recent) == SMOOTH and middle > self._first + EXPLODED:
            return f"not-finite: the loss exploded from {self._first:.3f} to {middle:.3f}"
        return self._far_behind(seconds, middle)

    def _far_behind(self, seconds: float, loss: float) -> str | None:
        reference = self._at(seconds)
        if reference is None or len(self._recent) < SMOOTH or loss <= reference + self._margin:
            self._behind_since = None
            return None
        if seconds < FIRST_SHARE * self._budget:
            return None
        if self._behind_since is None:
            self._behind_since = seconds
        if seconds - self._behind_since < PERSISTS_SHARE * self._budget:
            return None
        return f"hopeless: after {seconds:.0f} s the loss is {loss:.3f}, and the best trial's was {reference:.3f}"

    def _at(self, seconds: float) -> float | None:
        """The reference at a time, the later of two points; None before its first and after its last."""
        where = bisect.bisect_right(self._times, seconds)
        return self._losses[where - 1] if 0 < where < len(self._times) else None


def smoothed(curve: Curve) -> list[tuple[float, float]]:
    """Medians of `SMOOTH` points each, at the time of the last one; what is no number is left out."""
    points = [(seconds, loss) for seconds, loss in curve if math.isfinite(loss)]
    return [
        (points[i][0], statistics.median(loss for _, loss in points[i - SMOOTH + 1 : i + 1]))
        for i in range(SMOOTH - 1, len(points))
    ]


def read_curve(text: str) -> list[tuple[float, float]]:
    """The points of a `curve.tsv`."""
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return [(float(row[0]), float(row[2])) for row in rows if len(row) == 3]
