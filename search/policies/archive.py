"""Elites of many cells, so that a line that is behind main is not lost while its cell protects it."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field

from ..events import Event, Judged
from ..model import Expansion, NodeId
from ..tree import ROOT, Tree
from .common import STRUCTURAL, Best, Scale, at_least, one_of, within

CELLS = ("structure", "category", "island")
_WIDEST = 64  # cells that are kept, the best


@dataclass(slots=True)
class _Cell:
    elite: NodeId
    loss: float
    visits: int = 0


@dataclass
class Archive:
    """Rule: with probability `explore` go back to a cell's elite, with weight 1 / sqrt(1 + visits), among the cells
    whose elite is at most `cap` noises behind main; otherwise expand main. A cell holds the nodes with the same
    structural ideas on their path (structure), the same kind of last idea (category), or of the same of `islands`
    populations (island; the best of all is sent to the worst island every `migrate` experiments).

    Source: Ecoffet et al. 2021 (Go-Explore); Mouret and Clune 2015 (MAP-Elites); OpenEvolve and AlphaEvolve (islands).
    Use it where setbacks may pay and the planner cannot say which: it needs no flags.
    """

    cells: str = "structure"
    explore: float = 0.25
    cap: float = 10.0  # in units of the noise between trials
    islands: int = 2
    migrate: int = 20

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _best: Best = field(default_factory=lambda: Best(8), init=False, repr=False)
    _cell_of: dict[NodeId, int] = field(default_factory=dict, init=False, repr=False)
    _cells: dict[int, _Cell] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        one_of("cells", self.cells, CELLS)
        within("explore", self.explore, 0, 1)
        at_least("cap", self.cap, 0)
        at_least("islands", self.islands, 1)
        at_least("migrate", self.migrate, 1)

    def observe(self, tree: Tree, event: Event) -> None:
        """Sort judged nodes into their cells, and count visits."""
        self._scale.observe(tree, event)
        self._best.observe(tree, event)
        if not isinstance(event, Judged):
            return
        node = event.experiment
        if node != ROOT:
            visited = self._cells.get(self._cell_of.get(int(tree.parent[node]), 0))
            if visited is not None:
                visited.visits += 1
        if tree.is_expandable(node):
            self._enter(tree, node)
        if self.cells == "island" and node and node % self.migrate == 0 and len(self._cells) > 1:
            worst = max(self._cells.values(), key=lambda cell: cell.loss)
            worst.elite, worst.loss = tree.incumbent, float(tree.loss[tree.incumbent])

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """A cell's elite or main, then the best others."""
        if not tree.is_expandable(tree.incumbent):
            return []
        first = tree.incumbent
        if rng.random() < self.explore:
            limit = float(tree.loss[first]) + self.cap * self._scale.noise(tree)
            open_ = [cell for cell in self._cells.values() if cell.loss <= limit and cell.elite != first]
            flying = tree.in_flight
            if open_:
                odds = [1 / (1 + cell.visits + int(flying[cell.elite])) ** 0.5 for cell in open_]
                first = rng.choices(open_, odds)[0].elite
        return self._best.filled([Expansion(node=first)], k)

    def _enter(self, tree: Tree, node: NodeId) -> None:
        key = self._cell_of[node] = self._key(tree, node)
        loss = float(tree.loss[node])
        cell = self._cells.get(key)
        if cell is None:
            self._cells[key] = _Cell(node, loss)
            if len(self._cells) > _WIDEST:
                del self._cells[max(self._cells, key=lambda other: self._cells[other].loss)]
        elif loss < cell.loss:
            cell.elite, cell.loss = node, loss

    def _key(self, tree: Tree, node: NodeId) -> int:
        if node == ROOT:
            return 0
        parent = self._cell_of.get(int(tree.parent[node]), 0)
        if self.cells == "island":
            return node % self.islands if tree.parent[node] == ROOT else parent
        idea = tree.idea(node)
        if idea is None:
            return parent
        if self.cells == "category":
            return zlib.crc32(idea.category.encode())
        return parent ^ zlib.crc32(idea.brief.encode()) if idea.category in STRUCTURAL else parent
