"""A walker that accepts setbacks by a rule of acceptance, whatever they are."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion, NodeId, Verdict
from ..tree import ROOT, Tree
from .common import Best, Scale, at_least, coin, one_of

ACCEPT = ("metropolis", "threshold", "late")


@dataclass
class Walker:
    """Rule: expand where the walker stands. It steps onto a better child always, and onto one that is worse by d:
    metropolis, with probability exp(-d / (temperature x noise)); threshold, if d <= temperature x noise; late, if the
    child is no worse than where the walker stood `memory` expansions ago. After `restart` expansions without a new best
    it goes back to main.

    Source: Metropolis 1953; Dueck and Scheuer 1990 (threshold accepting); Burke and Bykov 2017 (late acceptance). Use
    it on ground where ideas interact strongly; elsewhere its undirected setbacks cost more than they bring. At a
    temperature below the noise and with an early restart it drifts among near-tied children.
    """

    accept: str = "metropolis"
    temperature: float = 0.6  # in units of the noise between trials
    memory: int = 2  # for late
    restart: int = 25

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _best: Best = field(default_factory=lambda: Best(8), init=False, repr=False)
    _at: NodeId = field(default=ROOT, init=False, repr=False)
    _misses: int = field(default=0, init=False, repr=False)
    _past: deque[float] = field(default_factory=deque, init=False, repr=False)  # losses where it stood

    def __post_init__(self) -> None:
        one_of("accept", self.accept, ACCEPT)
        at_least("temperature", self.temperature, 0)
        at_least("memory", self.memory, 1)
        at_least("restart", self.restart, 1)

    def observe(self, tree: Tree, event: Event) -> None:
        """Move when a child of where the walker stands is judged, or main moves."""
        self._scale.observe(tree, event)
        self._best.observe(tree, event)
        if not isinstance(event, Judged):
            return
        node = event.experiment
        if event.verdict is Verdict.KEPT:
            self._stand(tree, node)
            self._misses = 0
        elif tree.parent[node] == self._at:
            self._misses += 1
            accepted = event.verdict is Verdict.PARKED and self._accepts(tree, node)
            self._stand(tree, node if accepted else self._at)
            if self._misses >= self.restart:
                self.go_home(tree)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """Where the walker stands, then the best others."""
        at = self._at if tree.is_expandable(self._at) else tree.incumbent  # somebody may have closed it
        if not tree.is_expandable(at):
            return []
        return self._best.filled([Expansion(node=at)], k)

    def go_home(self, tree: Tree) -> None:
        """Stand on main."""
        self._at, self._misses = tree.incumbent, 0
        self._past.clear()

    def _stand(self, tree: Tree, node: NodeId) -> None:
        self._at = node
        self._past.append(float(tree.loss[node]))
        if len(self._past) > self.memory:
            self._past.popleft()

    def _accepts(self, tree: Tree, node: NodeId) -> bool:
        worse = float(tree.loss[node] - tree.loss[self._at])
        if worse <= 0:
            return True
        if self.accept == "late":
            return bool(self._past and tree.loss[node] <= self._past[0])
        unit = self.temperature * self._scale.noise(tree)
        if not 0 < unit < math.inf:
            return False
        if self.accept == "threshold":
            return worse <= unit
        return coin(tree, node, "accept") < math.exp(-worse / unit)
