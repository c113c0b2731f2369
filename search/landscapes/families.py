"""The six families that were fitted to a real trace (exp/H100/mar8 of karpathy/autoresearch): what each adds.

Effects of ideas are log-normal with heavy tails: one in nineteen helps. The numbers were fitted by approximate Bayesian
computation against the keeps, streaks, gains and losses of that trace; `tests/search/test_calibration.py` holds them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ground import Floats, Module
from .quadratic import Quadratic

IDEAS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a family's landscapes are drawn. Lengths in mbpb."""

    says: str  # one line for people
    noise: float = 0.35
    valleys: int = 0  # restructurings that lose first and pay later
    decoys: int = 0  # restructurings that lose and win back half
    pair_density: float = 0.0  # share of idea pairs that interact
    pair_size: float = 0.0  # standard deviation of an interaction

    def draw(self, seed: int) -> Quadratic:
        """The landscape of one seed; the same seed has the same single ideas in every family."""
        good, size = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        helps = good.random(IDEAS) < 0.054
        gains = np.minimum(0.70 * np.exp(1.5 * size.standard_normal(IDEAS)), 12.0)
        losses = np.minimum(0.78 * np.exp(1.65 * size.standard_normal(IDEAS)), 60.0)
        single = np.where(helps, -gains, losses)
        rng = np.random.default_rng([seed, 3])
        modules = [_module(rng, pays=True) for _ in range(self.valleys)]
        modules += [_module(rng, pays=False) for _ in range(self.decoys)]
        pairs = _pairs(np.random.default_rng([seed, 4]), self.pair_density, self.pair_size)
        return Quadratic(single=single, noise=self.noise, pairs=pairs, modules=modules)


def _module(rng: np.random.Generator, *, pays: bool) -> Module:
    """Depth and gain are log-normal; one or two steps down, one to three up. A decoy wins back half of its depth."""
    down, up = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    depth, gain = 2.0 * np.exp(0.5 * rng.standard_normal()), 4.0 * np.exp(0.5 * rng.standard_normal())
    end = -gain if pays else depth / 2
    heights = [depth * j / down for j in range(down + 1)]
    heights += [depth + (end - depth) * j / up for j in range(1, up + 1)]
    return Module(tuple(map(float, heights)), down, pays)


def _pairs(rng: np.random.Generator, density: float, size: float) -> Floats | None:
    if not density:
        return None
    pairs = np.zeros((IDEAS, IDEAS))
    count = int(rng.binomial(IDEAS * (IDEAS - 1) // 2, density))
    rows, columns = rng.integers(0, IDEAS, (2, count))
    values = np.where(rows == columns, 0.0, size * rng.standard_normal(count))
    pairs[rows, columns] = values
    pairs[columns, rows] = values
    return pairs


FAMILIES = {
    "additive": Family(says="gains add up, in any order"),
    "valleys": Family(says="six restructurings pay after a setback, eighteen never do", valleys=6, decoys=18),
    "noisy": Family(says="additive, seeds differ three times as much", noise=1.05),
    "full": Family(
        says="valleys, decoys and some interactions",
        valleys=6,
        decoys=18,
        pair_density=0.02,
        pair_size=0.35,
    ),
    "rugged": Family(says="ideas interact strongly, with changing signs", pair_density=0.05, pair_size=0.6),
    "decoys": Family(says="twenty-four restructurings, none of which pays", decoys=24),
}
