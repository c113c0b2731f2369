"""Ideas whose effects add up, meet in pairs, or stand behind a valley: f = sum a_i x_i + sum b_ij x_i x_j + sum
phi_v(p_v).

Six of the lab's families are made of it, and so is what was recorded from real training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ground import Floats, Module, Spot


class Quadratic:
    """Implements ground.Landscape. single: a_i [n], mbpb; pairs: symmetric b_ij [n, n] with a zero diagonal, or
    None."""

    def __init__(
        self,
        *,
        single: Floats,
        noise: float,
        pairs: Floats | None = None,
        modules: Sequence[Module] = (),
        worth: Floats | None = None,
    ) -> None:
        self.noise = noise
        self.modules = tuple(modules)
        self.worth = -single if worth is None else worth
        self._single: list[float] = single.tolist()
        self._pairs = pairs
        names = np.random.default_rng(len(single)).integers(1, 2**62, len(single) + 16 * len(self.modules))
        self._names: list[int] = names.tolist()
        self.root = Spot(np.zeros(len(single)), (0,) * len(self.modules), 0.0, 0)

    def available(self, spot: Spot) -> Floats:
        """What is not in the program yet."""
        return 1.0 - spot.bits

    def flip(self, spot: Spot, idea: int) -> Spot:
        """O(1) without pairs, O(n) with."""
        bits = spot.bits.copy()
        effect = self._single[idea]
        if self._pairs is not None:
            effect += float(self._pairs[idea] @ spot.bits)
        if bits[idea]:
            effect = -effect
        bits[idea] = 1.0 - bits[idea]
        return Spot(bits, spot.places, spot.value + effect, spot.key ^ self._names[idea], spot.broken)

    def step(self, spot: Spot, module: int, by: int) -> Spot:
        """O(modules)."""
        heights = self.modules[module].heights
        before = spot.places[module]
        after = before + by
        places = (*spot.places[:module], after, *spot.places[module + 1 :])
        key = spot.key ^ self._name(module, before) ^ self._name(module, after)
        return Spot(spot.bits, places, spot.value + heights[after] - heights[before], key, spot.broken)

    def _name(self, module: int, place: int) -> int:
        return self._names[len(self._single) + 16 * module + place] if place else 0


def direct_value(ground: Quadratic, spot: Spot) -> float:
    """f from its definition, without any increment: what the tests hold the increments against."""
    pairs = 0.0 if ground._pairs is None else 0.5 * float(spot.bits @ ground._pairs @ spot.bits)
    modules = sum(m.heights[place] for m, place in zip(ground.modules, spot.places, strict=True))
    return float(np.dot(ground._single, spot.bits)) + pairs + modules
