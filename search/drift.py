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
    earlier: tuple[float, ...], beside: tuple[float, ...], *, noise: float | None, apart: float | None, anchors: int
) -> Standing:
    """Main as a candidate must beat it; at least one of its trials is needed.

    earlier: trials from before the candidate's first one; beside: since then; noise: s; apart: s without what lies
    between these two groups; anchors: that are wanted after a drift, as many as a candidate has confirming trials; 0 =
    this machine cannot drift.
    """
    together = Score.of(earlier + beside)
    if not earlier or anchors == 0:  # main itself is as young as the candidate
        return Standing(score=together, noise=noise, wanted=0, drifted=False)
    if not beside:
        return Standing(score=together, noise=noise, wanted=1, drifted=False)
    far = abs(Score.of(beside).mean - Score.of(earlier).mean)
    if apart is None or far <= DRIFTED * apart * math.sqrt(1 / len(earlier) + 1 / len(beside)):
        return Standing(score=together, noise=noise, wanted=0, drifted=False)
    return Standing(score=Score.of(beside), noise=apart, wanted=max(0, anchors - len(beside)), drifted=True)
