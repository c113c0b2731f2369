"""Ours: drift, contracts and their shares, each as bold as the ground under the campaign has proved to reward."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion
from ..tree import ROOT, Tree
from .common import Scale, at_least
from .ledger import Ledger


@dataclass
class Auto:
    """Rule: the ledger, with drift on main whose temperature follows what is found. Of the last `window` scored
    experiments, let s be the share that beat their parent by more than the noise. At s <= `poor` the walker stays on
    main; at s >= `rich` it walks at the temperature `hot` and returns after `patience` misses; between, in proportion.

    Source: our study. While one try in fifteen wins more than the noise, a walker that stacks gains without confirming
    each outruns the ratchet; where wins are rare, every step away from main is lost. Use it when you do not know the
    ground: it is the default.
    """

    hot: float = 0.6  # in units of the noise
    patience: int = 25
    window: int = 100
    poor: float = 0.05
    rich: float = 0.08
    after: int = 0
    invest: float = 0.1

    _ledger: Ledger = field(init=False, repr=False)
    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _wins: deque[bool] = field(default_factory=deque, init=False, repr=False)
    _won: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("hot", "poor", "after", "invest"):
            at_least(name, getattr(self, name), 0)
        at_least("patience", self.patience, 1)
        at_least("window", self.window, 1)
        at_least("rich", self.rich, self.poor + 1e-9)
        self._ledger = Ledger(after=self.after, invest=self.invest, temperature=0.0, patience=self.patience)

    def observe(self, tree: Tree, event: Event) -> None:
        """Measure how rich the ground is, and set the drift before the ledger takes the event in."""
        self._scale.observe(tree, event)
        if isinstance(event, Judged) and event.experiment != ROOT and tree.is_expandable(event.experiment):
            gain = float(tree.loss[tree.parent[event.experiment]] - tree.loss[event.experiment])
            self._wins.append(gain > self._scale.noise(tree))
            self._won += self._wins[-1]
            if len(self._wins) > self.window:
                self._won -= self._wins.popleft()
            self._ledger.drift(self.hot * self._warmth())
        self._ledger.observe(tree, event)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """As the ledger does."""
        return self._ledger.rank(tree, k, rng)

    def _warmth(self) -> float:
        """0..1; grows with the window at first, because gains are frequent early on every ground."""
        share, seen = self._won / len(self._wins), len(self._wins) / self.window
        return seen * min(max((share - self.poor) / (self.rich - self.poor), 0.0), 1.0)
