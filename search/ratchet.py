"""The rule that lets main move only to something better. Pure: numbers in, a decision with its reason out.

A node is screened by its first trial, confirmed by further trials with new seeds, and kept if the mean of the
confirming trials alone beats the incumbent's mean by a margin. The screening trial was picked for being good, so it
never counts.

Lines have a price: what adds code must gain more, and what removes code is kept if it is not worse, measured against
the best mean that main ever had, so that small losses cannot add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .model import Metric, Score, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One setting of the rule. Unit of the margins: s, the standard deviation between trials of one node."""

    screen: float  # the first trial must beat the incumbent's mean by more than this
    confirmations: int  # confirming trials; 0 = the first trial decides
    margin: float  # k in k * s * sqrt(1/confirmations + 1/n_incumbent)
    root_trials: int  # trials of the root before the campaign starts; two or more give the first estimate of s
    price_per_line: float = 0.0  # for each line that a patch adds more than it removes, on top of the margin
    allowance: float | None = (
        None  # worse than main's best mean by so much, a patch that removes code is kept; None: never
    )


PRESETS = {
    "naive": Preset(screen=0.0, confirmations=0, margin=0.0, root_trials=1),
    "fast": Preset(screen=1.0, confirmations=2, margin=0.5, root_trials=3, price_per_line=0.02, allowance=0.5),
    "default": Preset(screen=1.0, confirmations=3, margin=1.0, root_trials=3, price_per_line=0.02, allowance=0.5),
    "strict": Preset(screen=1.0, confirmations=5, margin=1.64, root_trials=5, price_per_line=0.02, allowance=0.25),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """One more trial with a new seed, then ask again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on a scored node."""

    verdict: Verdict
    reason: str  # one sentence with the numbers it rests on


def decide(
    preset: Preset,
    metric: Metric,
    *,
    values: tuple[float, ...],
    incumbent: Score,
    noise: float | None,
    lines: int = 0,
    best: float | None = None,
) -> Confirm | Decision:
    """What follows from a node's trials so far.

    values: the node's trials in order, the screening trial first, at least one; incumbent: main's score as it is now;
    noise: s, None if nothing was ever repeated (then every margin is 0 and the confirming trials alone protect main);
    lines: that the node has more than main, negative if it has fewer; best: the best mean that main ever had.
    """
    s = noise or 0.0
    bar = metric.loss(incumbent.mean)
    first, confirming = metric.loss(values[0]), [metric.loss(v) for v in values[1:]]
    removes = lines < 0 and preset.allowance is not None
    if not confirming:
        needed = (-preset.screen if removes else preset.screen) * s
        ahead = bar - first
        if not ahead > needed:
            return Decision(verdict=Verdict.PARKED, reason=_behind(metric, values[0], incumbent, ahead, needed))
        if preset.confirmations == 0:
            return Decision(verdict=Verdict.KEPT, reason=_ahead(metric, values[0], incumbent, ahead, needed, n=1))
        return Confirm(reason=f"{metric.name} {values[0]:.6f} passed the screen of {incumbent.mean:.6f}")
    needed = preset.margin * s * math.sqrt(1 / preset.confirmations + 1 / incumbent.n)
    needed += preset.price_per_line * s * max(0, lines)
    floor = needed
    if removes and preset.allowance is not None:
        behind_best = metric.loss(incumbent.mean if best is None else best)
        floor = min(needed, bar - behind_best - preset.allowance * s)  # how far ahead of main that is
    return _confirmed(preset, metric, confirming, incumbent=incumbent, s=s, needed=needed, floor=floor, lines=lines)


def _confirmed(
    preset: Preset,
    metric: Metric,
    confirming: list[float],
    *,
    incumbent: Score,
    s: float,
    needed: float,
    floor: float,
    lines: int,
) -> Confirm | Decision:
    """The answer of the confirming trials (losses). needed: to be kept as a gain; floor: to be kept at all."""
    n, mean = len(confirming), math.fsum(confirming) / len(confirming)
    value, ahead = metric.value(mean), metric.loss(incumbent.mean) - mean
    if n < preset.confirmations:
        if _hopeless(ahead, floor, s, n, preset.confirmations):
            reason = _behind(metric, value, incumbent, ahead, needed)
            return Decision(verdict=Verdict.PARKED, reason=f"{reason}; given up after {n} of {preset.confirmations}")
        return Confirm(reason=f"{n} of {preset.confirmations} confirming trials, mean {value:.6f}")
    if ahead > needed:
        return Decision(verdict=Verdict.KEPT, reason=_ahead(metric, value, incumbent, ahead, needed, n=n))
    if ahead > floor:
        against = f"{metric.name} {value:.6f} over {n} new trials against {incumbent.mean:.6f}"
        reason = f"{against}: not worse, {-lines} line{'s' if lines < -1 else ''} less"
        return Decision(verdict=Verdict.KEPT, reason=reason)
    return Decision(verdict=Verdict.PARKED, reason=_behind(metric, value, incumbent, ahead, needed))


def _hopeless(ahead: float, needed: float, s: float, n: int, total: int) -> bool:
    """Whether the trials to come would have to be better than those seen by more than two standard errors of the
    difference between the two groups."""
    rest = total - n
    required = (needed * total - ahead * n) / rest
    return required - ahead > 2 * s * math.sqrt(1 / rest + 1 / n)


def _ahead(metric: Metric, value: float, incumbent: Score, ahead: float, needed: float, *, n: int) -> str:
    trials = "1 trial" if n == 1 else f"{n} new trials"
    return (
        f"{metric.name} {value:.6f} over {trials} beats {incumbent.mean:.6f} by {ahead:.6f}, "
        f"more than the margin {needed:.6f}"
    )


def _behind(metric: Metric, value: float, incumbent: Score, ahead: float, needed: float) -> str:
    against = f"{metric.name} {value:.6f} against {incumbent.mean:.6f}"
    if ahead <= 0:
        return f"{against}: worse by {-ahead:.6f}" if ahead < 0 else f"{against}: no better"
    return f"{against}: better by {ahead:.6f}, not more than the margin {needed:.6f}"
