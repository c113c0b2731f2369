"""Whether a machine still measures as it did when main was measured. Pure: numbers in, an answer out.

A virtual machine that was moved, a card that got warm, a neighbour that came to stay: afterwards every score differs,
and a patch that does nothing beats a main that was measured before. So main is measured once more (an *anchor*) beside
every candidate that would replace it. An anchor that agrees with the earlier trials joins them; one that does not shows
a drift, and then only trials from beside the candidate count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .model import Score

DRIFTED = 2.0
"""Standard errors between main's earlier trials and the new ones, beyond which the machine is not what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a candidate must beat."""

    score: Score
    noise: float | None  # s
    wanted: int  # anchors that are still to be measured before a candidate may replace main
    drifted: bool


def standing(
    values: tuple[float, ...], beside: int, *, noise: float | None, apart: float | None, anchors: int
) -> Standing:
    """Main as a candidate must beat it; at least one of its trials is needed.

    values: the trials that make main's score, in order; beside: how many trials of main were scored since the
    candidate's first one, a screening trial that does not count included; noise: s; apart: s without what lies between
    the trials before and since; anchors: that are wanted after a drift, as many as a candidate has confirming trials; 0
    = this machine cannot drift.
    """
    since = min(beside, len(values))
    earlier, young = values[: len(values) - since], values[len(values) - since :]
    together = Score.of(values)
    if not earlier or anchors == 0:  # main itself is as young as the candidate
        return Standing(score=together, noise=noise, wanted=0, drifted=False)
    if not young:
        return Standing(score=together, noise=noise, wanted=1, drifted=False)
    far = abs(Score.of(young).mean - Score.of(earlier).mean)
    if apart is None or far <= DRIFTED * apart * math.sqrt(1 / len(earlier) + 1 / len(young)):
        return Standing(score=together, noise=noise, wanted=0, drifted=False)
    return Standing(score=Score.of(young), noise=apart, wanted=max(0, anchors - len(young)), drifted=True)
