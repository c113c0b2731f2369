"""Kauffman's NK landscapes: each of n switches contributes by a table over itself and k others.

Source: Kauffman and Weinberger, 1989. k = 0 is smooth with one optimum, k = n - 1 is random.
"""

from __future__ import annotations

import math

import numpy as np

from .ground import Floats, Module, Spot


class NK:
    """Implements ground.Landscape on n bits. A bit may be flipped to and fro. Values are scaled to a root of 0 and a
    standard deviation between random programs of `spread` mbpb."""

    def __init__(self, *, seed: int, n: int = 120, k: int = 4, noise: float = 0.35, spread: float = 6.0) -> None:
        rng = np.random.default_rng([seed, 5])
        self.noise = noise
        self.modules: tuple[Module, ...] = ()
        self._near = np.stack([np.concatenate([[i], _others(rng, i, n, k)]) for i in range(n)])  # [n, k + 1]
        self._tables = rng.standard_normal((n, 2 ** (k + 1))) * spread / math.sqrt(n)
        self._weights = 2 ** np.arange(k + 1)
        self._touched = [np.flatnonzero((self._near == i).any(axis=1)) for i in range(n)]
        self._names: list[int] = rng.integers(1, 2**62, n).tolist()
        self.root = Spot(np.zeros(n), (), 0.0, 0)
        self.worth = np.array([-self.flip(self.root, i).value for i in range(n)])

    def available(self, spot: Spot) -> Floats:
        """Every switch, at any time."""
        return np.ones(len(spot.bits))

    def flip(self, spot: Spot, idea: int) -> Spot:
        """O(k): only the tables that the switch enters change."""
        bits = spot.bits.copy()
        bits[idea] = 1.0 - bits[idea]
        rows = self._touched[idea]
        effect = self._sum(rows, bits) - self._sum(rows, spot.bits)
        return Spot(bits, (), spot.value + effect, spot.key ^ self._names[idea], spot.broken)

    def step(self, spot: Spot, module: int, by: int) -> Spot:
        """There are no modules."""
        raise IndexError(module)

    def _sum(self, rows: np.ndarray, bits: Floats) -> float:
        index = (bits[self._near[rows]] @ self._weights).astype(int)
        return float(self._tables[rows, index].sum())


def _others(rng: np.random.Generator, i: int, n: int, k: int) -> np.ndarray:
    drawn = rng.choice(n - 1, k, replace=False)
    return drawn + (drawn >= i)
