"""Deceptive traps: blocks of switches in which every single step leads away from the block's best setting.

Source: Deb and Goldberg, 1993 (trap functions); Goldberg, 1989. The lab's blocks are of 4: three of four switches on is
the bottom of a valley that is `depth` deep, all four on is the summit.
"""

from __future__ import annotations

import numpy as np

from .ground import Floats, Module, Spot

BLOCK = 4


class Traps:
    """Implements ground.Landscape on `blocks` x 4 bits; a block with u of 4 switches on is worth depth * u / 3 (worse),
    and -gain with all four. Beside the traps, `plain` additive ideas give a ratchet something to do."""

    def __init__(self, *, seed: int, blocks: int = 12, plain: int = 200, noise: float = 0.35) -> None:
        rng = np.random.default_rng([seed, 6])
        self.noise = noise
        self.modules: tuple[Module, ...] = ()
        self._depth = 1.5 * np.exp(0.5 * rng.standard_normal(blocks))
        self._gain = 4.0 * np.exp(0.5 * rng.standard_normal(blocks))
        good = rng.random(plain) < 0.08
        size = np.exp(1.2 * rng.standard_normal(plain))
        self._plain = np.where(good, -0.7 * size, 0.8 * size)
        self._blocks = blocks
        n = blocks * BLOCK + plain
        self._names: list[int] = rng.integers(1, 2**62, n).tolist()
        self.root = Spot(np.zeros(n), (), 0.0, 0)
        self.worth = np.concatenate([np.repeat(self._gain / 4 - self._depth / 3, BLOCK), -self._plain])

    def available(self, spot: Spot) -> Floats:
        """What is not in the program yet."""
        return 1.0 - spot.bits

    def flip(self, spot: Spot, idea: int) -> Spot:
        """O(1)."""
        bits = spot.bits.copy()
        bits[idea] = 1.0 - bits[idea]
        if idea >= self._blocks * BLOCK:
            effect = float(self._plain[idea - self._blocks * BLOCK]) * (1.0 if bits[idea] else -1.0)
        else:
            block = idea // BLOCK
            effect = self._height(block, bits) - self._height(block, spot.bits)
        return Spot(bits, (), spot.value + effect, spot.key ^ self._names[idea], spot.broken)

    def step(self, spot: Spot, module: int, by: int) -> Spot:
        """There are no modules: nobody tells the planner which switches belong together."""
        raise IndexError(module)

    def _height(self, block: int, bits: Floats) -> float:
        on = int(bits[block * BLOCK : (block + 1) * BLOCK].sum())
        return float(-self._gain[block] if on == BLOCK else self._depth[block] * on / (BLOCK - 1))
