"""The final claim: how much better a node is than the root, over new seeds that nothing was chosen by. Pure."""

from __future__ import annotations

import math

from .model import Interval, Metric, NodeId

CONFIDENCE = 0.95


def interval(metric: Metric, root: list[float], node: list[float]) -> Interval:
    """The gain of `node` over `root` (trial values, two or more each), with a 95 % interval by Welch's t test.

    Raises ValueError for fewer than two values on a side: one trial says nothing of its spread.
    """
    from scipy import stats  # type: ignore[import-untyped]

    if min(len(root), len(node)) < 2:
        raise ValueError("an interval needs at least two trials of each")
    before, after = [metric.loss(value) for value in root], [metric.loss(value) for value in node]
    gain = math.fsum(before) / len(before) - math.fsum(after) / len(after)
    if len({*before}) == len({*after}) == 1:  # no spread at all: exact tasks
        return Interval(gain=gain, low=gain, high=gain, trials=len(after))
    low, high = stats.ttest_ind(before, after, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(gain=gain, low=float(low), high=float(high), trials=len(after))


def sentence(metric: Metric, node: NodeId, validation: Interval, test: Interval | None) -> str:
    """The verdict in one sentence."""
    said = [f"{_words(metric, validation)} on validation"]
    if test is not None:
        said.append(f"{_words(metric, test)} on the sealed test part")
    seeds = f"95 % interval over {validation.trials} new seeds each"
    return f"{node:04d} against the root: {', and '.join(said)} ({seeds}): {_verdict(validation, test)}"


def resolved(validation: Interval, test: Interval | None) -> bool:
    """Whether the gain is there: both intervals lie above zero."""
    return validation.low > 0 and (test is None or test.low > 0)


def _words(metric: Metric, gain: Interval) -> str:
    better = "better" if gain.gain >= 0 else "worse"
    low, high = (gain.low, gain.high) if gain.gain >= 0 else (-gain.high, -gain.low)
    return f"{metric.name} {abs(gain.gain):.4f} {better} [{low:.4f}, {high:.4f}]"


def _verdict(validation: Interval, test: Interval | None) -> str:
    if resolved(validation, test):
        return "the gain is resolved"
    if validation.high < 0:
        return "it is worse"
    if validation.low > 0:
        return "resolved on validation, not on the test part: take it for luck with the validation text"
    return "the gain is not resolved: these trials cannot tell it from luck"
