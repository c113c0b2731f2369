"""The plain ratchet: always go on from main."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..events import Event
from ..model import Expansion
from ..tree import Tree


@dataclass
class Ratchet:
    """Rule: expand the incumbent, and nothing else.

    Source: karpathy/autoresearch, program.md (keep what helps, reset what does not). Use it as the control: on ground
    where gains simply add up it is hard to beat.
    """

    def observe(self, tree: Tree, event: Event) -> None:
        """It remembers nothing: the tree knows the incumbent."""

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """The incumbent."""
        return [Expansion(node=tree.incumbent)] if tree.is_expandable(tree.incumbent) else []
