"""Numbers as people read them: as many digits as the noise leaves meaning, and which way is better in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..search.model import Metric, Score
from ..search.tree import ROOT, Tree

SELF_REPORTED = "self-reported"
SCORER_WORDS = {"printed": SELF_REPORTED, "synthetic": "synthetic"}
"""How scores that are no trusted measurement are called wherever one is shown, by `Node.by`."""

_LEVELS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """How many decimal places a campaign's numbers deserve."""

    metric: Metric
    places: int = 4

    @classmethod
    def of(cls, tree: Tree) -> Digits:
        """Two digits of the noise; values below ten get at least four places, as the field prints them."""
        loss = abs(float(tree.loss[ROOT])) if len(tree.loss) else math.nan
        size = math.floor(math.log10(loss)) if 0 < loss < math.inf else 0
        least = max(0, 4 - max(0, size))
        noise = tree.noise
        if not noise or not math.isfinite(noise):
            return cls(metric=tree.metric, places=least)
        return cls(metric=tree.metric, places=min(6, max(least, 1 - math.floor(math.log10(noise)))))

    def value(self, value: float) -> str:
        """A value or a spread."""
        return (f"{value:.{self.places}f}" if abs(value) < 1e9 else f"{value:.4g}").replace("-", "−")

    def change(self, before: float, after: float) -> str:
        """What is to be added to `before` to get `after`: "−0.0123"."""
        text = self.value(abs(after - before))
        if not text.strip("0."):
            return text
        return ("+" if after > before else "−") + text

    def better(self, before: float, after: float) -> str:
        """`better`, `worse` or `equal`, as far as the digits shown can tell."""
        if self.change(before, after)[0] not in "+−":
            return "equal"
        return "better" if self.metric.gain(before, after) > 0 else "worse"

    def score(self, score: Score) -> str:
        """Mean, spread and number of trials: "2.1034 ±0.0021 ×3"."""
        spread = f" ±{self.value(score.sd)}" if score.sd is not None else ""
        return f"{self.value(score.mean)}{spread} ×{score.n}"

    @property
    def which_way(self) -> str:
        """Which way is better, in words."""
        return f"{'lower' if self.metric.direction == 'min' else 'higher'} {self.metric.name} is better"


def gain_sd(noise: float | None, before: Score, after: Score) -> float | None:
    """Standard deviation of the difference of two means under the campaign's noise; None if nothing was repeated."""
    return None if noise is None else noise * math.sqrt(1 / before.n + 1 / after.n)


def count(n: int, thing: str) -> str:
    """ "1 trial", "3 trials", "1,200 trials"."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def duration(seconds: float) -> str:
    """ "48 s", "12 min", "3 h 12 min", "2 d 3 h"."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{max(0, int(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def sparkline(values: Sequence[float], width: int) -> str:
    """The values as a row of bars, first to last, lowest to highest; empty if there is nothing to draw."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2 or width < 2:
        return ""
    points = min(width, len(finite))
    drawn = [finite[round(i * (len(finite) - 1) / (points - 1))] for i in range(points)]
    low, high = min(drawn), max(drawn)
    if high == low:
        return _LEVELS[3] * points
    return "".join(_LEVELS[min(7, int((value - low) / (high - low) * 8))] for value in drawn)
