"""Parents drawn by chance, the better ones more often; with drafts from the root and repairs of what crashed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from ..events import Event, Judged, Planned
from ..model import Expansion, ExpansionKind, NodeId, Verdict
from ..tree import FAILED, ROOT, Tree
from .common import Best, Scale, at_least, one_of, within

CHOOSE = ("power", "boltzmann", "sigmoid", "thompson", "best", "uniform")
_REPAIRABLE = 16  # the last failed nodes that a repair may be asked for


@dataclass
class Sampler:
    """Rule: draw the parent from the `archive` best nodes. power: with weight rank^-alpha; boltzmann: with weight
    exp(-d / (temperature x change)), d behind the best; sigmoid: with weight s(alpha x (median - loss) / MAD) / (1 +
    children); thompson: the best of one draw per node from N(mean, noise^2 / trials); best: the best one; uniform: any
    node that was ever scored. With probability `uniform` any scored node instead. The first `drafts` experiments set
    out from the root; with probability `repair` a failed leaf is repaired, at most `repair_depth` times in a row.

    Source: rank selection, Boltzmann selection; ShinkaEvolve `parents.py` (sigmoid); Thompson 1933; WecoAI/aideml
    `agent.py` (drafts and repairs). Use it with many slots: draws do not pile up, and no barrier holds a slot.
    """

    choose: str = "power"
    archive: int = 8
    alpha: float = 2.0
    temperature: float = 0.5  # in units of the usual change between parent and child
    uniform: float = 0.0
    drafts: int = 1
    repair: float = 0.0
    repair_depth: int = 3

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _best: Best = field(init=False, repr=False)
    _nodes: list[NodeId] = field(default_factory=list, init=False, repr=False)  # all that can be expanded
    _broken: dict[NodeId, int] = field(
        default_factory=dict, init=False, repr=False
    )  # failed leaves: repairs behind them
    _drafted: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        one_of("choose", self.choose, CHOOSE)
        for name in ("archive", "drafts", "repair_depth"):
            at_least(name, getattr(self, name), 1)
        for name in ("alpha", "temperature"):
            at_least(name, getattr(self, name), 0)
        within("uniform", self.uniform, 0, 1)
        within("repair", self.repair, 0, 1)
        self._best = Best(self.archive)

    def observe(self, tree: Tree, event: Event) -> None:
        """Remember every node that can be expanded, and failed leaves where repairs are wanted."""
        self._scale.observe(tree, event)
        self._best.observe(tree, event)
        if isinstance(event, Planned):
            self._drafted += event.parent == ROOT
            if event.asked is ExpansionKind.REPAIR:
                depth = self._broken.pop(event.parent, 0)
                self._broken[event.experiment] = depth + 1
        elif isinstance(event, Judged):
            if tree.is_expandable(event.experiment):
                self._nodes.append(event.experiment)
                self._broken.pop(event.experiment, None)
            elif self.repair and event.verdict is Verdict.FAILED:
                self._note_broken(event)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """k different nodes, drawn one after the other."""
        if not self._nodes:
            return []
        first: list[Expansion] = []
        broken = [node for node in self._broken if not tree.in_flight[node] and tree.state[node] == FAILED]
        if broken and rng.random() < self.repair:
            first = [Expansion(node=rng.choice(broken), kind=ExpansionKind.REPAIR)]
        elif self._drafted < self.drafts:
            first = [Expansion(node=ROOT)]
        if self.choose == "uniform":
            others = rng.sample(self._nodes, min(k, len(self._nodes)))
        else:
            others = self._drawn(tree, k, rng)
        taken = {expansion.node for expansion in first}
        return (first + [Expansion(node=node) for node in others if node not in taken])[:k]

    def _drawn(self, tree: Tree, k: int, rng: random.Random) -> list[NodeId]:
        chosen: list[NodeId] = []
        keys = list(self._best.keys)
        weights = self._weights(tree, rng)
        while keys and len(chosen) < k:
            if self.uniform and rng.random() < self.uniform:
                node = rng.choice(self._nodes)
                if node not in chosen:
                    chosen.append(node)
                    continue
            index = rng.choices(range(len(keys)), weights)[0] if sum(weights) > 0 else 0
            del weights[index]
            node = keys.pop(index)[1]
            if node not in chosen:
                chosen.append(node)
        return chosen

    def _weights(self, tree: Tree, rng: random.Random) -> list[float]:
        losses = [loss for loss, _ in self._best.keys]
        nodes = [node for _, node in self._best.keys]
        if self.choose == "power":
            return [(rank + 1.0) ** -self.alpha for rank in range(len(losses))]
        if self.choose == "boltzmann":
            unit = self.temperature * self._scale.change()
            return [
                math.exp(-min((loss - losses[0]) / unit, 700.0)) if unit > 0 else float(not i)
                for i, loss in enumerate(losses)
            ]
        if self.choose == "sigmoid":
            median = losses[len(losses) // 2]
            mad = sorted(abs(loss - median) for loss in losses)[len(losses) // 2] or math.inf
            x = [max(-50.0, min(50.0, self.alpha * (median - loss) / mad)) for loss in losses]
            return [1 / (1 + math.exp(-v)) / (1 + int(tree.attempts[node])) for v, node in zip(x, nodes, strict=True)]
        if self.choose == "thompson":
            noise = self._scale.noise(tree)
            unit = noise if math.isfinite(noise) else 0.0
            drawn = [
                rng.gauss(loss, unit / math.sqrt(tree.trials[node])) for loss, node in zip(losses, nodes, strict=True)
            ]
            order = sorted(range(len(drawn)), key=drawn.__getitem__)
            return [1e-9 + (index == order[0]) for index in range(len(drawn))]
        return [1e-9 + (not rank) for rank in range(len(losses))]

    def _note_broken(self, event: Judged) -> None:
        if self._broken.get(event.experiment, 0) >= self.repair_depth:
            del self._broken[event.experiment]
            return
        self._broken.setdefault(event.experiment, 0)
        if len(self._broken) > _REPAIRABLE:
            del self._broken[next(iter(self._broken))]
