"""A wrapper: wins that were found away from main are brought there together, measured once, and bisected on failure."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from ..events import Event, Judged, Selected
from ..model import Expansion, ExpansionKind, NodeId, Verdict
from ..ports import Policy
from ..tree import ROOT, Tree
from .common import Scale, at_least
from .ratchet import Ratchet

_WAITING = 64  # wins that are remembered, the latest


@dataclass
class Bundle:
    """Rule: a parked node that beat its own parent by more than the noise, while main was elsewhere, is a pending win.
    With `least` of them, up to `most` are merged onto main as one patch. If main moves, all are done; if not, each half
    is a bundle of its own, and a single one that fails is forgotten. At most `at_once` bundles are in flight; what else
    there is to do, the plain ratchet decides.

    Source: our study, section on merging; GEPA's merge and ShinkaEvolve's crossover bring in pairs. Use it with very
    many slots and a ratchet that confirms nothing: most wins are then found on a main that has moved on by the time
    they are measured. With the default ratchet and 64 in flight we measured no gain.
    """

    least: int = 3
    most: int = 8
    at_once: int = 2
    inner: Policy = field(default_factory=Ratchet, init=False, repr=False)

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _wins: deque[NodeId] = field(default_factory=deque, init=False, repr=False)
    _halves: deque[tuple[NodeId, ...]] = field(default_factory=deque, init=False, repr=False)
    _flying: dict[NodeId, tuple[NodeId, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        at_least("least", self.least, 2)
        at_least("most", self.most, self.least)
        at_least("at_once", self.at_once, 1)

    def observe(self, tree: Tree, event: Event) -> None:
        """Collect wins, and what became of bundles."""
        self._scale.observe(tree, event)
        self.inner.observe(tree, event)
        if isinstance(event, Selected):
            option = event.options[0]
            if option.kind is ExpansionKind.TRANSPLANT:
                self._flying[event.experiment] = option.sources
                if self._halves and self._halves[0] == option.sources:
                    self._halves.popleft()
                else:
                    self._wins = deque(win for win in self._wins if win not in option.sources)
        elif isinstance(event, Judged) and event.experiment != ROOT:
            self._judged(tree, event)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """A bundle if one is due, then what the wrapped policy says."""
        sources = self._due() if len(self._flying) < self.at_once else ()
        if not sources or not tree.is_expandable(tree.incumbent):
            return self.inner.rank(tree, k, rng)
        kind = ExpansionKind.TRANSPLANT
        first = Expansion(node=tree.incumbent, kind=kind, source=sources[0], sources=sources)
        others = [other for other in self.inner.rank(tree, k, rng) if other.node != tree.incumbent]
        return [first, *others][:k]

    def _due(self) -> tuple[NodeId, ...]:
        if self._halves:
            return self._halves[0]
        return tuple(self._wins)[: self.most] if len(self._wins) >= self.least else ()

    def _judged(self, tree: Tree, event: Judged) -> None:
        node = event.experiment
        sources = self._flying.pop(node, None)
        if sources is not None:
            if event.verdict is not Verdict.KEPT and len(sources) > 1:
                middle = len(sources) // 2
                self._halves.extend((sources[:middle], sources[middle:]))
            return
        parent = int(tree.parent[node])
        if event.verdict is Verdict.PARKED and parent != tree.incumbent:
            gain = float(tree.loss[parent] - tree.loss[node])
            if gain > self._scale.noise(tree):
                self._wins.append(node)
                if len(self._wins) > _WAITING:
                    self._wins.popleft()
