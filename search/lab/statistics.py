"""What a comparison may claim: robust means, paired differences, intervals, and how many more seeds would settle it.

Definitions as in Agarwal et al. 2021 (rliable: interquartile mean, probability of improvement, stratified bootstrap),
computed here because that package is archived. Everything is seeded, so that a table can be made again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def resolved(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def iqm(values: Floats, axis: int = -1) -> Any:
    """The mean of the middle half (a quarter of the values, rounded down, is cut at either end)."""
    ordered = np.sort(values, axis=axis)
    n = ordered.shape[axis]
    cut = n // 4
    return np.take(ordered, range(cut, n - cut), axis=axis).mean(axis=axis)


def bootstrap(values: Floats, statistic: Callable[..., Any], *, seed: int = 0) -> Interval:
    """Percentile bootstrap over the values [n]; `statistic(values, axis=-1)`. One value: an interval of no width."""
    rng = np.random.default_rng([seed, len(values)])
    drawn = values[rng.integers(0, len(values), (RESAMPLES, len(values)))]
    low, high = np.quantile(statistic(drawn, axis=-1), [0.025, 0.975])
    return Interval(mean=float(statistic(values, axis=-1)), low=float(low), high=float(high))


def stratified(strata: Sequence[Floats], statistic: Callable[..., Any], *, seed: int = 0) -> Interval:
    """The same over several landscapes: resampled within each, the statistic over all."""
    rng = np.random.default_rng([seed, len(strata)])
    drawn = [s[rng.integers(0, len(s), (RESAMPLES, len(s)))] for s in strata]
    low, high = np.quantile(statistic(np.concatenate(drawn, axis=1), axis=-1), [0.025, 0.975])
    return Interval(mean=float(statistic(np.concatenate(list(strata)), axis=-1)), low=float(low), high=float(high))


def paired(values: Floats, reference: Floats, *, seed: int = 0) -> Interval:
    """The mean of values - reference over the same seeds, with a bootstrap interval; positive = worse."""
    return bootstrap(values - reference, np.mean, seed=seed)


def probability_better(values: Floats, reference: Floats) -> float:
    """The share of seeds on which it is lower; a tie counts half."""
    return float(np.mean(values < reference) + 0.5 * np.mean(values == reference))


def wilcoxon(values: Floats, reference: Floats) -> float:
    """p of the signed-rank test on the paired differences; 1 if all are ties."""
    difference = values - reference
    if not np.any(difference):
        return 1.0
    from scipy.stats import wilcoxon as test  # type: ignore[import-untyped]

    return float(test(difference, zero_method="wilcox", method="approx").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def seeds_needed(values: Floats, reference: Floats, *, smallest: float = 0.0) -> int | None:
    """How many seeds in all would resolve the difference as it looks now (two-sided 5 %, power 80 %): 7.85 (sd / d)^2.

    d is at least `smallest`; None where there is no difference at all.
    """
    difference = values - reference
    size = max(abs(float(difference.mean())), smallest)
    if size == 0 or len(difference) < 2:
        return None
    return max(2, math.ceil(7.85 * (float(difference.std(ddof=1)) / size) ** 2))


def mean_ranks(table: Floats) -> Floats:
    """Mean rank of every policy over all campaigns; table [policies, campaigns], lower is better, ties share."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(table, axis=0).mean(axis=1))


def ecdf(curves: Floats, targets: Floats) -> Floats:
    """Run-time ECDF (as in COCO): the share of (campaign, target) pairs reached after 1, 2, ... trials.

    curves [campaigns, trials] never rise above what they reached; targets [campaigns, targets] or [targets].
    """
    reached = np.minimum.accumulate(curves, axis=1)
    goals = np.broadcast_to(targets, (len(curves), np.shape(targets)[-1]))
    return np.asarray((reached[:, None, :] <= goals[:, :, None]).mean(axis=(0, 1)))
