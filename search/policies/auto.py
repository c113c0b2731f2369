"""Ours: drift and contracts, each only while this campaign's own experiments say that it pays."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion
from ..tree import ROOT, Tree
from .common import Scale, at_least, within
from .ledger import Ledger

_FORGET = 0.985  # per scored experiment: the share of wins follows the last 70 or so
_GROWN = 200  # experiments after which the walker may be as hot as `hot`


@dataclass
class Auto:
    """Rule: the ledger, with drift on main whose temperature follows the share s of lately scored experiments that
    beat their parent by more than two noises. At s <= `poor` main alone is expanded; at s >= `rich` the walker is at
    the temperature `hot` (in the first 200 experiments, when wins are frequent on every ground, it grows to that from
    half of it) and returns after `patience` misses; between, in proportion. The campaign begins as if it were rich.
    Contracts are served from experiment 150 on, and only while they bring more than main's own experiments do.

    Source: our study. A walker that stacks gains without confirming each outruns the ratchet while wins are frequent,
    and on ground where ideas interact they stay frequent because it walks; where wins are rare, every step away from
    main is lost, and what it took in unconfirmed stays in main. Use it when you do not know the ground: it is the
    default.
    """

    hot: float = 0.6  # in units of the noise
    patience: int = 40
    poor: float = 0.035
    rich: float = 0.055
    after: int = 150
    invest: float = 0.1

    _ledger: Ledger = field(init=False, repr=False)
    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _wins: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("hot", "after"):
            at_least(name, getattr(self, name), 0)
        within("invest", self.invest, 0, 1)
        within("poor", self.poor, 0, 1)
        at_least("patience", self.patience, 1)
        at_least("rich", self.rich, self.poor + 1e-9)
        self._wins = self.rich
        self._ledger = Ledger(after=self.after, invest=self.invest, temperature=0.0, patience=self.patience)

    def observe(self, tree: Tree, event: Event) -> None:
        """Measure how rich the ground is, and set the drift before the ledger takes the event in."""
        self._scale.observe(tree, event)
        if isinstance(event, Judged) and event.experiment != ROOT and tree.is_expandable(event.experiment):
            gain = float(tree.loss[tree.parent[event.experiment]] - tree.loss[event.experiment])
            self._wins += (1 - _FORGET) * ((gain > 2 * self._scale.noise(tree)) - self._wins)
            warmth = min(max((self._wins - self.poor) / (self.rich - self.poor), 0.0), 1.0)
            self._ledger.drift(self.hot * warmth * (0.5 + 0.5 * min(tree.experiments / _GROWN, 1.0)))
        self._ledger.observe(tree, event)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """As the ledger does."""
        return self._ledger.rank(tree, k, rng)
