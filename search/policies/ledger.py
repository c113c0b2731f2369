"""The debt ledger: setbacks under contract, paid from a budget that follows what they bring."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..contracts import Account, Line
from ..events import Event, Judged, Planned, Selected
from ..model import Expansion, ExpansionKind, NodeId
from ..tree import IN_FLIGHT, ROOT, Tree
from .common import STRUCTURAL, Best, Scale, at_least, within
from .walker import Walker

_FORGET = 0.985  # per experiment on a contract: their rate follows the last hundred or so
_BELIEF = 2.0  # what contracts are believed to bring before any was tried, in terms of what main's own experiments do
_TRUST = 50.0  # experiments on contracts that this belief is worth
_DOUBT = 0.1  # as much of it where the announced setback is no restructuring: a learning rate is seldom an investment
_CREDIT = 8.0  # the most that can be saved up
_OFFERS = 32  # parked setbacks that wait for a slot, the shallowest


@dataclass
class Ledger:
    """Rule: main is worked on by a walker that drifts. A parked child whose idea carried a contract, between 1 and
    `depth` noises behind main, is an offer. From experiment `after` on, each experiment on main earns r / (1 - r)
    credits (8 at most), each on a contract costs one. Contracts of a kind of idea (its category) pay while they bring
    main at least what an experiment on main brought lately; r grows from `least` there to `most` at twice that. At
    first they are believed to bring twice what main brings; the belief is worth 50 experiments for structural ideas and
    5 for others. With a credit to spend, serve the contract whose tip has got furthest ahead of its fork (plus
    `curiosity` / sqrt(1 + experiments spent)); at most `slots` are served at once, offers of the best kind and the
    shallowest first. An announced further step or a new best of the line renews its patience; a line that passed its
    fork while main moved is brought to main as one patch. While structural contracts pay, a share `invest` of the
    experiments on main asks for one.

    Source: our study; the theory is Bendahi et al. 2025 (commitment and deliberate worsening cross valleys in time
    linear in their length) and Charnov 1976 (marginal value). Use it with a planner that announces setbacks, for 200
    trials and more.
    """

    depth: float = 12.0  # in units of the noise between trials
    slots: int = 2
    least: float = 0.02
    most: float = 0.40
    curiosity: float = 1.0
    invest: float = 0.1
    temperature: float = 0.15  # 0 = main alone is expanded
    patience: int = 8
    after: int = 150  # experiments before the first contract is served: until then main gains faster

    _scale: Scale = field(default_factory=Scale, init=False, repr=False)
    _best: Best = field(default_factory=lambda: Best(8), init=False, repr=False)
    _account: Account = field(default_factory=Account, init=False, repr=False)
    _main: Walker = field(init=False, repr=False)
    _served: dict[NodeId, Line] = field(default_factory=dict, init=False, repr=False)
    _offers: dict[NodeId, Line] = field(default_factory=dict, init=False, repr=False)
    _credit: float = field(default=0.0, init=False, repr=False)
    _main_yield: tuple[float, float] = field(default=(0.0, 1.0), init=False, repr=False)  # as `_yields`
    _yields: dict[str, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)  # noises, experiments
    _brought: set[NodeId] = field(default_factory=set, init=False, repr=False)  # tips brought to main already

    def __post_init__(self) -> None:
        for name in ("depth", "curiosity", "temperature", "after"):
            at_least(name, getattr(self, name), 0)
        for name in ("slots", "patience"):
            at_least(name, getattr(self, name), 1)
        within("least", self.least, 0, 0.9)
        within("most", self.most, self.least, 0.9)
        within("invest", self.invest, 0, 1)
        self._main = Walker(temperature=self.temperature, restart=self.patience)

    def observe(self, tree: Tree, event: Event) -> None:
        """Keep the books: credits, rates, offers, and the lines being served."""
        self._scale.observe(tree, event)
        self._best.observe(tree, event)
        self._main.observe(tree, event)
        if self._main.temperature == 0:
            self._main.go_home(tree)
        self._account.observe(tree, event)
        if isinstance(event, Selected):
            option = event.options[0]
            if option.kind is ExpansionKind.TRANSPLANT and option.source is not None:
                self._brought.add(option.source)
        elif isinstance(event, Planned):
            line = self._line(event.experiment)
            if line is not None:
                self._credit = max(self._credit - 1.0, -1.0)
                self._served[line.opened_by] = line
                self._offers.pop(line.opened_by, None)
        elif isinstance(event, Judged) and event.experiment != ROOT:
            self._judged(tree, event)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """A contract's tip if there is credit, else main's walker; then the other, then the best nodes."""
        on_main = self._main.rank(tree, 1, rng)
        if on_main and rng.random() < self.invest and self._worth_asking(tree):
            on_main = [Expansion(node=tree.incumbent, kind=ExpansionKind.INVEST)]
        line = self._next_line(tree)
        if line is None:
            return self._best.filled(on_main, k) if on_main else []
        on_line = self._expansion(tree, line)
        if self._credit >= 1.0:
            on_main = [e for e in on_main if e.node != on_line.node]
            return self._best.filled([on_line, *on_main], k)
        return self._best.filled(on_main, k)

    def drift(self, temperature: float) -> None:
        """Set how boldly main is worked on."""
        self._main.temperature = temperature

    # -- the books ----------------------------------------------------------------------------------------------

    def _line(self, experiment: NodeId) -> Line | None:
        opened_by = self._account.line_of.get(experiment)
        return self._account.lines.get(opened_by) if opened_by is not None and opened_by != experiment else None

    def _judged(self, tree: Tree, event: Judged) -> None:
        node = event.experiment
        line = self._line(node)
        noise = self._scale.noise(tree)
        gain = float(tree.loss[event.against] - tree.loss[node]) / noise if event.verdict == "kept" else 0.0
        gain = max(gain, 0.0) if math.isfinite(gain) else 0.0
        if line is not None:
            kind = self._kind(tree, line.opened_by)
            self._yields[kind] = _with(self._yields.get(kind, (0.0, 0.0)), gain, _FORGET)
            if line.state != "open":
                self._served.pop(line.opened_by, None)
            return
        # Over about the last half of the campaign: main's gains come like 1 / t.
        self._main_yield = _with(self._main_yield, gain, 1 - 2 / (tree.experiments + 10))
        if tree.experiments >= self.after:
            share = self._share(tree)
            self._credit = min(self._credit + share / (1 - share), _CREDIT)
        own = self._account.open.get(node)
        if own is not None and noise < tree.loss[node] - tree.loss[tree.incumbent] <= self.depth * noise:
            self._offer(tree, own)

    def _share(self, tree: Tree) -> float:
        kinds = {self._kind(tree, line) for lines in (self._offers, self._served) for line in lines}
        pays = max(map(self._pays, kinds), default=0.0)
        return min(max(self.most * (pays - 1.0), self.least), self.most)

    def _pays(self, kind: str) -> float:
        """What contracts of the kind bring, in terms of what main's own experiments do."""
        main = self._main_yield[0] / self._main_yield[1]
        gains, experiments = self._yields.get(kind, (0.0, 0.0))
        trust = _TRUST if kind in STRUCTURAL else _DOUBT * _TRUST
        return (gains / main + _BELIEF * trust) / (experiments + trust) if main > 0 else math.inf

    def _kind(self, tree: Tree, node: NodeId) -> str:
        idea = tree.idea(node)
        return idea.category if idea else ""

    def _offer(self, tree: Tree, line: Line) -> None:
        self._offers[line.opened_by] = line
        if len(self._offers) > _OFFERS:
            del self._offers[max(self._offers, key=lambda node: float(tree.loss[node]))]

    def _worth_asking(self, tree: Tree) -> bool:
        return tree.experiments >= self.after and max(map(self._pays, STRUCTURAL)) >= 1.0

    # -- which line ---------------------------------------------------------------------------------------------

    def _next_line(self, tree: Tree) -> Line | None:
        if tree.experiments < self.after:
            return None
        limit = float(tree.loss[tree.incumbent]) + self.depth * self._scale.noise(tree)
        flying = tree.counts[IN_FLIGHT]
        slots, each = max(self.slots, flying // 4), 1 if flying < 4 else 2
        serving = list(self._serving(tree, limit))  # a line that main has left too far behind holds no slot
        lines = [line for line in serving if line.flying < each]
        if len(serving) < slots and self._offers:
            kinds = {node: self._kind(tree, node) for node in self._offers}
            pays = {kind: self._pays(kind) for kind in set(kinds.values())}
            node = min(kinds, key=lambda n: (-pays[kinds[n]], float(tree.loss[n]), n))
            if tree.loss[node] <= limit:
                lines.append(self._offers[node])
        if not lines:
            return None
        noise = self._scale.noise(tree)
        return max(lines, key=lambda line: (self._promise(tree, line, noise), -line.opened_by))

    def _serving(self, tree: Tree, limit: float) -> Iterator[Line]:
        return (line for line in self._served.values() if tree.loss[line.tip] <= limit)

    def _promise(self, tree: Tree, line: Line, noise: float) -> float:
        ahead = float(tree.loss[line.fork] - tree.loss[line.tip]) / noise
        return ahead + self.curiosity / math.sqrt(1 + line.spent + line.flying)

    def _expansion(self, tree: Tree, line: Line) -> Expansion:
        passed = tree.loss[line.tip] < tree.loss[line.fork] - self._scale.noise(tree)
        if passed and line.fork != tree.incumbent and line.tip not in self._brought:
            path: list[NodeId] = []
            at = line.tip
            while at not in (line.fork, ROOT) and len(path) < 16:  # what was brought to main forks elsewhere
                path.append(at)
                at = int(tree.parent[at])
            if at == line.fork:
                kind = ExpansionKind.TRANSPLANT
                return Expansion(node=tree.incumbent, kind=kind, source=line.tip, sources=tuple(path[::-1]))
        return Expansion(node=line.tip)


def _with(sums: tuple[float, float], gain: float, keep: float) -> tuple[float, float]:
    """One more experiment in a discounted rate."""
    return keep * sums[0] + gain, keep * sums[1] + 1.0
