"""What several engines keep: a scale that outliers do not move, the best nodes in order, a coin that a replay throws
alike."""

from __future__ import annotations

import bisect
import math
import zlib
from collections import deque
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion, NodeId
from ..tree import ROOT, Tree

STRUCTURAL = ("architecture", "feature")
"""Categories of ideas that make a program a different kind of program."""
_WINDOW = 50


@dataclass(slots=True)
class Scale:
    """What counts as a difference: the noise between trials; while nothing was repeated, a share of the usual change.

    Never the range of all scores: one outlier (a real one scored 3.2 where all others lie within 0.03) would make every
    real difference vanish.
    """

    _recent: deque[float] = field(default_factory=deque)
    _sorted: list[float] = field(default_factory=list)

    def observe(self, tree: Tree, event: Event) -> None:
        """Remember by how much the last nodes differ from their parents."""
        if not isinstance(event, Judged) or event.experiment == ROOT:
            return
        change = abs(float(tree.loss[event.experiment] - tree.loss[tree.parent[event.experiment]]))
        if not math.isfinite(change):
            return
        self._recent.append(change)
        bisect.insort(self._sorted, change)
        if len(self._recent) > _WINDOW:
            del self._sorted[bisect.bisect_left(self._sorted, self._recent.popleft())]

    def noise(self, tree: Tree) -> float:
        """Standard deviation between trials, > 0, in losses; infinite while nothing at all is known."""
        noise = tree.noise or 0.0
        return noise if noise > 0 else 0.3 * self.change()

    def change(self) -> float:
        """The median absolute difference of the last 50 nodes to their parents; infinite while there is none."""
        median = self._sorted[len(self._sorted) // 2] if self._sorted else math.inf
        return median or math.inf


@dataclass(slots=True)
class Best:
    """The best `size` expandable nodes, best first."""

    size: int
    keys: list[tuple[float, NodeId]] = field(default_factory=list)

    def observe(self, tree: Tree, event: Event) -> None:
        """Take in a judged node."""
        if isinstance(event, Judged) and tree.is_expandable(event.experiment):
            key = (float(tree.loss[event.experiment]), event.experiment)
            if len(self.keys) < self.size or key < self.keys[-1]:
                bisect.insort(self.keys, key)
                del self.keys[self.size :]

    def filled(self, first: list[Expansion], k: int) -> list[Expansion]:
        """The expansions, filled up to k with the best nodes that are not among them."""
        chosen = first[:k]
        taken = {expansion.node for expansion in chosen}
        for _, node in self.keys:
            if len(chosen) >= k:
                break
            if node not in taken:
                chosen.append(Expansion(node=node))
        return chosen


def coin(tree: Tree, node: NodeId, purpose: str) -> float:
    """A number in [0, 1) that depends on the campaign's seed, the experiment and the purpose alone."""
    return zlib.crc32(f"{tree.seed}/{node}/{purpose}".encode()) / 2**32


def at_least(name: str, value: float, least: float) -> None:
    """ValueError with one line if a parameter is too small (or NaN)."""
    if not value >= least:
        raise ValueError(f"{name} = {value}: must be at least {least:g}")


def within(name: str, value: float, low: float, high: float) -> None:
    """ValueError with one line if a parameter is outside its range."""
    if not low <= value <= high:
        raise ValueError(f"{name} = {value}: must be between {low:g} and {high:g}")


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """ValueError with one line if a parameter is none of the words."""
    if value not in allowed:
        raise ValueError(f"{name} = {value!r}: must be one of {', '.join(allowed)}")
