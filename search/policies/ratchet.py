"""The plain ratchet, and the ratchet that may drift among near-tied children."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion, NodeId, Verdict
from ..tree import ROOT, Tree
from .common import Best, Scale, at_least, coin


@dataclass
class Ratchet:
    """Rule: expand the incumbent and nothing else; with a temperature above 0, expand a walker that sets out from main,
    steps onto a child that is better than where it stands, or worse by d with probability exp(-d / (temperature x
    noise)), and returns to main after `patience` expansions without a new best.

    Source: karpathy/autoresearch, program.md; drift is Metropolis' rule (1953) at a temperature below the noise, with
    restarts. Use it as the control (temperature 0), and with drift where ideas interact.
    """

    temperature: float = 0.0  # in units of the noise between trials; 0 = never leave main
    patience: int = 8

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _best: Best = field(default_factory=lambda: Best(8), init=False, repr=False)
    _at: NodeId = field(default=ROOT, init=False, repr=False)  # where the walker stands
    _misses: int = field(default=0, init=False, repr=False)  # its expansions since the last new best

    def __post_init__(self) -> None:
        at_least("temperature", self.temperature, 0)
        at_least("patience", self.patience, 1)

    def observe(self, tree: Tree, event: Event) -> None:
        """Move the walker when a child of where it stands is judged."""
        self._scale.observe(tree, event)
        self._best.observe(tree, event)
        if not isinstance(event, Judged):
            return
        node = event.experiment
        if event.verdict is Verdict.KEPT:
            self._at, self._misses = node, 0
        elif self.temperature == 0:
            self._at, self._misses = tree.incumbent, 0
        elif tree.parent[node] == self._at:
            self._misses += 1
            if event.verdict is Verdict.PARKED and accepts(tree, node, self._at, self.temperature, self._scale):
                self._at = node
            if self._misses >= self.patience:
                self._at, self._misses = tree.incumbent, 0

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """Where the walker stands; then, for the walker only, the best others."""
        at = self._at if tree.is_expandable(self._at) else tree.incumbent  # somebody may have closed it
        if not tree.is_expandable(at):
            return []
        first = [Expansion(node=at)]
        return first if self.temperature == 0 else self._best.filled(first, k)


def accepts(tree: Tree, node: NodeId, at: NodeId, temperature: float, scale: Scale) -> bool:
    """Metropolis' rule, with the noise as the unit of temperature."""
    worse = float(tree.loss[node] - tree.loss[at])
    noise = scale.noise(tree)
    return worse <= 0 or (
        math.isfinite(noise) and coin(tree, node, "accept") < math.exp(-worse / (temperature * noise))
    )
