"""What lies below every node of a tree, added up in one pass over the nodes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..search.model import NodeId
from ..search.tree import IN_FLIGHT, KEPT, ROOT, Tree


@dataclass(slots=True)
class Total:
    """Some experiments, counted."""

    counts: list[int] = field(default_factory=lambda: [0] * 5)  # by state, as in `Tree.counts`
    best: NodeId = -1  # of the judged ones with a score; -1 if there is none
    worst: NodeId = -1

    @property
    def size(self) -> int:
        """All of them."""
        return sum(self.counts)


class Subtrees:
    """Totals of every node together with all that descends from it."""

    def __init__(self, tree: Tree) -> None:
        self.children = tree.children()
        self._state: list[int] = tree.state.tolist()
        self._loss: list[float] = tree.loss.tolist()
        nodes = len(self._state)
        self._counts = [[0] * nodes for _ in range(5)]
        self._best, self._worst, self._first_kept = [-1] * nodes, [-1] * nodes, [-1] * nodes
        parent = tree.parent.tolist()
        ids = list(tree.ids())
        for i in np.argsort(-tree.depth[ids], kind="stable").tolist():  # the deepest first: no recursion
            self._count_itself(ids[i])
            if ids[i] != ROOT:
                self._count_in(ids[i], parent[ids[i]])

    def size(self, node: NodeId) -> int:
        """Nodes in the subtree, the node itself included."""
        return sum(count[node] for count in self._counts)

    def state(self, node: NodeId) -> int:
        """The node's own state, as in `Tree.state`."""
        return self._state[node]

    def in_flight(self, node: NodeId) -> int:
        """Experiments in flight at or below the node."""
        return self._counts[IN_FLIGHT][node]

    def best(self, node: NodeId) -> NodeId:
        """The best judged node at or below the node; -1 if none has a score."""
        return self._best[node]

    def best_loss(self, node: NodeId) -> float:
        """Its loss; infinite if none has a score."""
        return self._loss[self._best[node]] if self._best[node] >= 0 else math.inf

    def first_kept(self, node: NodeId) -> NodeId:
        """The lowest number at or below the node that main moved to; -1 if there is none."""
        return self._first_kept[node]

    def total(self, subtrees: Iterable[NodeId], alone: Iterable[NodeId] = ()) -> Total:
        """Whole subtrees, and nodes counted without what is below them."""
        total = Total()
        for node in subtrees:
            for state, count in enumerate(self._counts):
                total.counts[state] += count[node]
            total.best = self._lower(self._best[node], total.best)
            total.worst = self._higher(self._worst[node], total.worst)
        for node in alone:
            total.counts[self._state[node]] += 1
            if self._is_judged(node):
                total.best, total.worst = self._lower(node, total.best), self._higher(node, total.worst)
        return total

    def _count_itself(self, node: NodeId) -> None:
        self._counts[self._state[node]][node] += 1
        if self._is_judged(node):
            self._best[node] = self._lower(node, self._best[node])
            self._worst[node] = self._higher(node, self._worst[node])
        if self._state[node] == KEPT and not 0 <= self._first_kept[node] < node:
            self._first_kept[node] = node

    def _count_in(self, child: NodeId, node: NodeId) -> None:
        for count in self._counts:
            count[node] += count[child]
        self._best[node] = self._lower(self._best[child], self._best[node])
        self._worst[node] = self._higher(self._worst[child], self._worst[node])
        first = self._first_kept[child]
        if first >= 0 and not 0 <= self._first_kept[node] < first:
            self._first_kept[node] = first

    def _is_judged(self, node: NodeId) -> bool:
        return self._state[node] != IN_FLIGHT and not math.isnan(self._loss[node])

    def _lower(self, a: NodeId, b: NodeId) -> NodeId:
        return a if b < 0 or (a >= 0 and self._loss[a] < self._loss[b]) else b

    def _higher(self, a: NodeId, b: NodeId) -> NodeId:
        return a if b < 0 or (a >= 0 and self._loss[a] > self._loss[b]) else b
