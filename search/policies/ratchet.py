"""The plain ratchet."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..events import Event
from ..model import Expansion
from ..tree import Tree


@dataclass
class Ratchet:
    """Rule: expand the incumbent and nothing else.

    Source: karpathy/autoresearch, program.md. Use it as the control, and where announced setbacks never pay.
    """

    def observe(self, tree: Tree, event: Event) -> None:
        """It remembers nothing."""

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """Main."""
        return [Expansion(node=tree.incumbent)] if tree.is_expandable(tree.incumbent) else []
