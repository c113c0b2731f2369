"""Tree search: descend from the root by an index of promise and exploration, and go on where it ends."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion, NodeId
from ..tree import ROOT, Tree
from .common import Best, Scale, at_least, one_of

BACKUP = ("mean", "max")
_CLIP = 3.0  # differences count up to this many usual changes: one outlier must not flatten all others
_LOOKED_AT = 16  # children of a node that the descent looks at, the latest


@dataclass
class TreeSearch:
    """Rule: from the root, while the node has at least ceil(children x visits^widening) scored children, go down to the
    one with the greatest q + exploration x sqrt(ln N / (n + in flight)); expand where this ends. q is (main - loss) in
    units of the usual change, clipped at 3 and brought to 0..1, of the mean (or the best) of the child and all below
    it.

    Source: Kocsis and Szepesvari 2006; AIRA-dojo `mcts.py` (mean, 5 children once, exploration 0.25); progressive
    widening after Coulom 2007; in-flight counts after Liu et al. 2020. Use it for comparison: it lost to the ratchet on
    all six of our landscape families, because a mean over descendants punishes every step down and gains stack in
    depth.
    """

    exploration: float = 0.1
    children: int = 4
    widening: float = 0.3  # 0 = a fixed number of children
    backup: str = "max"

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _best: Best = field(default_factory=lambda: Best(8), init=False, repr=False)
    _visits: list[int] = field(default_factory=list, init=False, repr=False)  # judged experiments at and below
    _scored: list[int] = field(default_factory=list, init=False, repr=False)  # of them with a score
    _value: list[float] = field(default_factory=list, init=False, repr=False)  # sum or minimum of their losses
    _below: dict[NodeId, list[NodeId]] = field(default_factory=dict, init=False, repr=False)  # scored children

    def __post_init__(self) -> None:
        one_of("backup", self.backup, BACKUP)
        at_least("exploration", self.exploration, 0)
        at_least("children", self.children, 1)
        at_least("widening", self.widening, 0)

    def observe(self, tree: Tree, event: Event) -> None:
        """Back the judged node up to the root."""
        self._scale.observe(tree, event)
        self._best.observe(tree, event)
        if not isinstance(event, Judged):
            return
        node = event.experiment
        while len(self._visits) <= node:
            self._visits.append(0)
            self._scored.append(0)
            self._value.append(0.0 if self.backup == "mean" else math.inf)
        scored = tree.is_expandable(node)
        if scored and node != ROOT:
            self._below.setdefault(int(tree.parent[node]), []).append(node)
        loss = self._clipped(tree, node) if scored else 0.0
        at = node
        while True:
            self._visits[at] += 1
            if scored:
                self._scored[at] += 1
                self._value[at] = self._value[at] + loss if self.backup == "mean" else min(self._value[at], loss)
            if at == ROOT:
                break
            at = int(tree.parent[at])

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """Where the descent ends, then the best others."""
        if not tree.is_expandable(ROOT):
            return []
        at, main, unit = ROOT, float(tree.loss[tree.incumbent]), self._scale.change()
        while True:
            below = self._below.get(at, [])
            flying = int(tree.in_flight[at])
            if len(below) + flying < self._limit(at) or not below:
                return self._best.filled([Expansion(node=at)], k)
            log = math.log(self._visits[at] + 1)
            at = max(below[-_LOOKED_AT:], key=lambda child: self._index(tree, child, main, unit, log))

    def _limit(self, node: NodeId) -> int:
        return math.ceil(float(self.children * max(self._visits[node], 1) ** self.widening))

    def _index(self, tree: Tree, child: NodeId, main: float, unit: float, log: float) -> float:
        loss = self._value[child] / self._scored[child] if self.backup == "mean" else self._value[child]
        q = (max(-_CLIP, min(_CLIP, (main - loss) / unit)) + _CLIP) / (2 * _CLIP)
        return q + self.exploration * math.sqrt(log / (self._visits[child] + int(tree.in_flight[child])))

    def _clipped(self, tree: Tree, node: NodeId) -> float:
        worst = float(tree.loss[tree.incumbent]) + 2 * _CLIP * self._scale.change()
        return min(float(tree.loss[node]), worst)
