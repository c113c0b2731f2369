"""AB-MCTS-A: Thompson sampling decides at every node whether to go wider or deeper."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion, NodeId
from ..tree import ROOT, Tree
from .common import Best, Scale, at_least

_LOOKED_AT = 32  # children of a node that are drawn for


@dataclass(slots=True)
class _Moments:
    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, x: float) -> None:
        self.n += 1
        self.total += x
        self.squares += x * x

    def draw(self, rng: random.Random, *, prior_mean: float, prior_scale: float, pending: int) -> float:
        """One draw of the mean from the normal-inverse-chi-squared posterior (kappa = nu = 1); pending results count as
        seen at the mean (TreeQuest ignores them, so that its batches pile up)."""
        n = self.n + pending
        mean = self.total / self.n if self.n else prior_mean
        kappa, nu = 1.0 + n, 1.0 + n
        centre = (prior_mean + n * mean) / kappa
        spread = max(self.squares - self.n * mean * mean, 0.0) if self.n else 0.0
        tau2 = (prior_scale**2 + spread + n / kappa * (mean - prior_mean) ** 2) / nu
        variance = nu * tau2 / (2.0 * rng.gammavariate(nu / 2.0, 1.0))
        return rng.gauss(centre, math.sqrt(variance / kappa))


@dataclass
class ABMCTS:
    """Rule: from the root, draw once from what new children of the node scored (wider) and once from what all below its
    children scored (deeper), both as normal-inverse-chi-squared posteriors in units of the usual change; if deeper
    wins, draw for each child in the same way and go down to the winner, else expand the node.

    Source: Inoue et al. 2025, "Wider or Deeper?", and SakanaAI/treequest `ab_mcts_a`. Use it for comparison: it was
    made for short searches over independent answers; where gains stack it goes wide for far too long.
    """

    prior: float = 1.0  # scale of the prior, in units of the usual change

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _best: Best = field(default_factory=lambda: Best(8), init=False, repr=False)
    _wider: dict[NodeId, _Moments] = field(default_factory=dict, init=False, repr=False)
    _deeper: dict[NodeId, _Moments] = field(default_factory=dict, init=False, repr=False)
    _itself: dict[NodeId, _Moments] = field(default_factory=dict, init=False, repr=False)  # the node and all below it
    _below: dict[NodeId, list[NodeId]] = field(default_factory=dict, init=False, repr=False)
    _root_loss: float = field(default=math.nan, init=False, repr=False)
    _unit: float = field(default=0.0, init=False, repr=False)  # fixed at the first change that is seen

    def __post_init__(self) -> None:
        at_least("prior", self.prior, 1e-9)

    def observe(self, tree: Tree, event: Event) -> None:
        """Back a scored node up to the root."""
        self._scale.observe(tree, event)
        self._best.observe(tree, event)
        if not isinstance(event, Judged) or not tree.is_expandable(event.experiment):
            return
        node = event.experiment
        if node == ROOT:
            self._root_loss = float(tree.loss[ROOT])
            return
        change = self._scale.change()
        if not self._unit and math.isfinite(change):
            self._unit = change
        x = max(-30.0, min(30.0, (self._root_loss - float(tree.loss[node])) / self._unit)) if self._unit else 0.0
        parent = int(tree.parent[node])
        self._below.setdefault(parent, []).append(node)
        self._moments(self._wider, parent).add(x)
        at = node
        while at != ROOT:
            self._moments(self._itself, at).add(x)
            at = int(tree.parent[at])
            self._moments(self._deeper, at).add(x)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """Where the descent ends, then the best others."""
        if not tree.is_expandable(ROOT):
            return []
        at = ROOT
        while below := self._below.get(at):
            own = max(-30.0, min(30.0, (self._root_loss - float(tree.loss[at])) / self._unit)) if self._unit else 0.0
            flying = int(tree.in_flight[at])

            def draw(moments: _Moments | None, pending: int, own: float = own) -> float:
                return (moments or _Moments()).draw(rng, prior_mean=own, prior_scale=self.prior, pending=pending)

            if draw(self._wider.get(at), flying) >= draw(self._deeper.get(at), 0):
                break
            looked_at = below[-_LOOKED_AT:]
            at = max(looked_at, key=lambda child: draw(self._itself.get(child), int(tree.in_flight[child])))
        return self._best.filled([Expansion(node=at)], k)

    def _moments(self, table: dict[NodeId, _Moments], node: NodeId) -> _Moments:
        return table.setdefault(node, _Moments())
