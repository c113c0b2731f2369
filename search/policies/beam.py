"""Beam search: a few nodes, each with its turns; with a barrier between generations, or without."""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass, field

from ..events import Event, Judged, Planned, Selected
from ..model import Expansion, NodeId
from ..tree import ROOT, Tree
from .common import at_least

_Key = tuple[int, float, NodeId]


@dataclass
class Beam:
    """Rule: `width` nodes form the beam. Each is expanded `branch` times (a smaller beam shares out the same number of
    experiments). When all of them are judged, the `width` best of their children (and, if elitist, of the beam itself)
    are the next beam. Until then nothing else is expanded: a depth barrier.

    Source: beam search; elitist = False with width 3, branch 5 is tree-of-thoughts' breadth-first variant. Use it
    when you want a few lines kept alive side by side; the barrier costs idle slots unless width x branch is a multiple
    of what is in flight.
    """

    width: int = 2
    branch: int = 4
    elitist: bool = True  # a parent may stay in the beam; False: a level-by-level beam, which accepts setbacks

    _beam: list[NodeId] = field(default_factory=list, init=False, repr=False)
    _turns: dict[NodeId, int] = field(default_factory=dict, init=False, repr=False)  # begun in this generation
    _parent_of: dict[NodeId, NodeId] = field(default_factory=dict, init=False, repr=False)  # in flight
    _children: list[NodeId] = field(default_factory=list, init=False, repr=False)  # scored in this generation

    def __post_init__(self) -> None:
        at_least("width", self.width, 1)
        at_least("branch", self.branch, 1)

    def observe(self, tree: Tree, event: Event) -> None:
        """Count turns, collect children, and change generation when the last one is judged."""
        match event:
            case Selected():
                self._begin(event.experiment, event.options[0].node)
            case Planned():
                self._turns[self._parent_of[event.experiment]] -= 1
                self._begin(event.experiment, event.parent)
            case Judged() if event.experiment == ROOT:
                self._beam = [ROOT]
            case Judged():
                del self._parent_of[event.experiment]
                if tree.is_expandable(event.experiment):
                    self._children.append(event.experiment)
                if not self._parent_of and not self._open():
                    self._next_generation(tree)
            case _:
                pass

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """Beam nodes with turns left: fewest turns used first, then the best. Empty at the barrier."""
        order = sorted(self._open(), key=lambda node: (self._turns.get(node, 0), tree.loss[node], node))
        return [Expansion(node=node) for node in order[:k]]

    def _begin(self, experiment: NodeId, parent: NodeId) -> None:
        self._parent_of[experiment] = parent
        self._turns[parent] = self._turns.get(parent, 0) + 1

    def _open(self) -> list[NodeId]:
        if not self._beam:
            return []
        share, extra = divmod(self.width * self.branch, len(self._beam))
        return [n for i, n in enumerate(self._beam) if self._turns.get(n, 0) < share + (i < extra)]

    def _next_generation(self, tree: Tree) -> None:
        candidates = set(self._children) | (set(self._beam) if self.elitist or not self._children else set())
        self._beam = sorted(candidates, key=lambda node: (tree.loss[node], node))[: self.width]
        self._turns, self._children = {}, []


@dataclass
class OpenBeam:
    """Rule: among the `width` best nodes (0: among all), order by (turns used // branch, score): a node gets `branch`
    turns before the next best has its own, and a further `branch` when all have had theirs, so that no node is ever
    closed and no slot waits at a barrier.

    Source: best-first tree search as in AI-Scientist-v2 and TreeQuest (there a node is expanded once for good, which
    caps the tries per node far below what a 5-20 % hit rate needs). Use it when several lines look alike.
    """

    branch: int = 4  # turns per node and round
    width: int = 0  # 0 = no bound

    _keys: list[_Key] = field(default_factory=list, init=False, repr=False)  # sorted
    _key_of: dict[NodeId, _Key] = field(default_factory=dict, init=False, repr=False)
    _scores: list[tuple[float, NodeId]] = field(default_factory=list, init=False, repr=False)  # sorted, of the beam
    _parent_of: dict[NodeId, NodeId] = field(default_factory=dict, init=False, repr=False)  # selected, not yet planned

    def __post_init__(self) -> None:
        at_least("branch", self.branch, 1)
        at_least("width", self.width, 0)

    def observe(self, tree: Tree, event: Event) -> None:
        """Keep the order up to date: new nodes come in, used turns move a node back."""
        match event:
            case Judged() if tree.is_expandable(event.experiment):
                self._enter(tree, event.experiment)
            case Selected():
                self._parent_of[event.experiment] = event.options[0].node
                self._move(tree, event.options[0].node)
            case Planned():
                assumed = self._parent_of.pop(event.experiment, event.parent)
                for node in {assumed, event.parent}:
                    self._move(tree, node)
            case _:
                pass

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """The first k in order."""
        return [Expansion(node=node) for _, _, node in self._keys[:k]]

    def _enter(self, tree: Tree, node: NodeId) -> None:
        self._place(tree, node)
        if self.width:
            bisect.insort(self._scores, (float(tree.loss[node]), node))
            if len(self._scores) > self.width:
                self._remove(self._scores.pop()[1])

    def _move(self, tree: Tree, node: NodeId) -> None:
        if node in self._key_of and self._remove(node):
            self._place(tree, node)

    def _place(self, tree: Tree, node: NodeId) -> None:
        key = (int(tree.attempts[node]) // self.branch, float(tree.loss[node]), node)
        bisect.insort(self._keys, key)
        self._key_of[node] = key

    def _remove(self, node: NodeId) -> bool:
        del self._keys[bisect.bisect_left(self._keys, self._key_of.pop(node))]
        return True
