"""How often noise turns the ratchet: simulated nights that call the real `decide` and the real claim.

    python tests/bench/ratchet.py [--repeats 300] [--runs 700] [--seed 1]

Unit m = the median true gain of a good idea. The noise s is not told to the rule: it is estimated as in a campaign,
from the root's trials and every repeated one since. The mixture of ideas was fitted to the study that the presets come
from; its figures stand beside ours. The second table is about nights in which every idea is worth nothing.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from ratchetree.search.claims import interval, resolved
from ratchetree.search.model import Metric, Score, Verdict
from ratchetree.search.ratchet import PRESETS, Confirm, Preset, decide

METRIC = Metric()
# preset, s: false advances, true gain reached, how much too good the score is, share of runs spent confirming
STUDY = {
    ("naive", 1.0): (0.30, 41.1, 1.97, 0.00),
    ("fast", 1.0): (0.09, 42.0, 0.70, 0.09),
    ("default", 1.0): (0.05, 41.1, 0.50, 0.15),
    ("strict", 1.0): (0.02, 38.4, 0.27, 0.25),
    ("naive", 2.0): (0.37, 22.7, 5.00, 0.00),
    ("default", 2.0): (0.08, 25.4, 1.40, None),
}

Draw = Callable[[random.Random], float]


def mixture(rng: random.Random) -> float:
    """The true change that an idea makes, in m; negative is better."""
    u = rng.random()
    if u < 0.069:  # a gain
        return -min(math.exp(rng.gauss(0, 0.9)), 8.5)
    if u < 0.281:  # next to nothing
        return abs(rng.gauss(0, 0.8))
    return 5.5 * math.exp(rng.gauss(0, 0.5))


def nothing(rng: random.Random) -> float:
    """An idea that changes nothing."""
    return 0.0


@dataclass(slots=True)
class Night:
    """What came of one simulated campaign."""

    score: Score  # main's as the journal has it
    true: float = 0.0  # main's true value; the root's is 0, better is negative
    advances: int = 0
    false: int = 0  # of them to something that is not better
    ideas: int = 0
    runs: int = 0
    confirming: int = 0


class Noise:
    """The pooled estimate of s, as `Tree.noise` keeps it."""

    def __init__(self) -> None:
        self.squares, self.freedom = 0.0, 0

    def add(self, values: list[float]) -> None:
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            self.squares += math.fsum((v - mean) ** 2 for v in values)
            self.freedom += len(values) - 1

    @property
    def s(self) -> float | None:
        return math.sqrt(self.squares / self.freedom) if self.freedom else None


def night(preset: Preset, s: float, draw: Draw, runs: int, rng: random.Random) -> Night:
    """Ideas until the runs are used up, the root's and the confirming ones included."""
    root = tuple(rng.gauss(0, s) for _ in range(preset.root_trials))
    noise, found = Noise(), Night(score=Score.of(root), runs=len(root))
    noise.add(list(root))
    while found.runs < runs:
        change = draw(rng)
        values = [found.true + change + rng.gauss(0, s)]
        best = found.score.mean
        while isinstance(
            answer := decide(
                preset, METRIC, values=tuple(values), incumbent=found.score, noise=noise.s, lines=0, best=best
            ),
            Confirm,
        ):
            values.append(found.true + change + rng.gauss(0, s))
        found.ideas += 1
        found.runs += len(values)
        found.confirming += len(values) - 1
        noise.add(values[1:])
        if answer.verdict is Verdict.KEPT:
            found.advances += 1
            found.false += change >= 0
            found.true += change
            found.score = Score.of(tuple(values[1:] or values))
    return found


def claims_a_gain(found: Night, s: float, rng: random.Random, trials: int = 5) -> bool:
    """Whether `confirm` would call the night's gain resolved, on validation and on the sealed part."""
    if found.advances == 0:
        return False
    parts = []
    for _ in range(2):
        root = [rng.gauss(0, s) for _ in range(trials)]
        parts.append(interval(METRIC, root, [found.true + rng.gauss(0, s) for _ in range(trials)]))
    return resolved(*parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--runs", type=int, default=700)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    print(f"{options.repeats} nights of {options.runs} runs; in brackets: the study")
    print(f"{'preset':<8} {'s':>4} {'false advances':>18} {'true gain':>20} {'too good by':>16} {'confirming':>14}")
    for name, s in STUDY | {("fast", 2.0): None, ("strict", 2.0): None}:
        rng = random.Random(f"{options.seed} {name} {s}")
        nights = [night(PRESETS[name], s, mixture, options.runs, rng) for _ in range(options.repeats)]
        false = sum(n.false for n in nights) / max(1, sum(n.advances for n in nights))
        gains = [-n.true for n in nights]
        gain = math.fsum(gains) / len(gains)
        error = math.sqrt(math.fsum((g - gain) ** 2 for g in gains)) / len(gains)
        excess = math.fsum(n.true - n.score.mean for n in nights) / len(nights)
        confirming = sum(n.confirming for n in nights) / sum(n.runs for n in nights)
        study = STUDY.get((name, s)) or (None, None, None, None)
        known = [
            f"({x:{form}})" if x is not None else ""
            for x, form in zip(study, (".0%", ".1f", ".2f", ".0%"), strict=True)
        ]
        print(
            f"{name:<8} {s:>4.1f} {false:>10.1%} {known[0]:>7} {gain:>7.1f} ±{error:.1f} {known[1]:>8} "
            f"{excess:>7.2f} {known[2]:>8} {confirming:>6.0%} {known[3]:>7}"
        )

    print(f"\nEvery idea is worth nothing: {options.repeats} nights of 100 ideas, s = 1")
    print(
        f"{'preset':<8} {'moves of main per 100 ideas':>28} {'gain shown by the score':>24} {'confirm: resolved':>18}"
    )
    for name, preset in PRESETS.items():
        rng = random.Random(f"{options.seed} nothing {name}")
        nights, resolved_nights, moves, ideas, shown = [], 0, 0, 0, 0.0
        for _ in range(options.repeats):
            found = night(preset, 1.0, nothing, 100, rng)
            nights.append(found)
            moves, ideas = moves + found.advances, ideas + found.ideas
            shown -= found.score.mean
            resolved_nights += claims_a_gain(found, 1.0, rng)
        print(
            f"{name:<8} {100 * moves / ideas:>28.2f} {shown / len(nights):>24.2f} "
            f"{resolved_nights / len(nights):>18.1%}"
        )


if __name__ == "__main__":
    main()
