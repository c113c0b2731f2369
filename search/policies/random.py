"""Uniform choice: the floor that every policy must beat."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion, NodeId
from ..tree import Tree


@dataclass
class Random:
    """Rule: any scored node with equal probability, regardless of its score.

    Source: none needed. Use it as the second control: it shows what the tree alone, without judgement, is worth.
    """

    _nodes: list[NodeId] = field(default_factory=list, init=False, repr=False)

    def observe(self, tree: Tree, event: Event) -> None:
        """Remember every node that can be expanded."""
        if isinstance(event, Judged) and tree.is_expandable(event.experiment):
            self._nodes.append(event.experiment)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """k different nodes in random order."""
        return [Expansion(node=node) for node in rng.sample(self._nodes, min(k, len(self._nodes)))]
