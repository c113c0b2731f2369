"""One simulated campaign: the real policy, the real tree and the real ratchet on a landscape whose truth is known.

Only agent, training and noise are models. Time passes in trials: `in_flight` slots train at once, each trial takes
about one unit, a crash a third of it. The budget is counted in trials, confirming ones included, as a night on a GPU
is.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..contracts import Account
from ..events import CampaignStarted, Event, Judged, Planned, Scored, Selected
from ..landscapes.agent import Agent, Habits, Proposal
from ..landscapes.ground import Landscape, Spot
from ..model import (
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    NodeId,
    Score,
    ScoreReport,
    SetbackContract,
    Verdict,
)
from ..ports import Policy
from ..ratchet import Confirm, Preset, decide
from ..tree import FAILED, ROOT, Tree
from .screening import LOOKS, Screen

UNIT = 1e-3
"""A landscape's mbpb in the metric's unit."""
BASE = 1.0
"""The root's score."""

_CALL = ModelCall(backend="lab")
_MACHINE = Machine(host="lab", cpu="none", cpus=0, memory_gb=0.0)
_CRASH = Failure(kind=FailureKind.CRASH, message="the patch crashes")
_DUPLICATE = Failure(kind=FailureKind.DUPLICATE, message="this program was tried before")
_SCREENED = Failure(kind=FailureKind.TIMEOUT, message="ended early: far worse than its parent")
_PATIENCE = (
    25  # proposals in a row that are duplicates, after which one costs a trial: nobody turns in circles for free
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one simulated campaign."""

    curve: npt.NDArray[np.float32]  # main's true value after 1, 2, ... trials, mbpb relative to the root
    gains: int  # moves of main that were true improvements
    false_advances: int  # moves of main that were not
    account: Account  # of its setback contracts; gain in mbpb
    reported: float  # main's score as measured, mbpb relative to the root's true value


class Simulation:
    """One campaign under way. `run()` it once."""

    def __init__(
        self,
        policy: Policy,
        ground: Landscape,
        *,
        preset: Preset,
        evaluations: int,
        in_flight: int = 1,
        seed: int = 0,
        habits: Habits | None = None,
        screen: Screen | None = None,
        listen: Callable[[Tree, Event], None] | None = None,
        metric: Metric | None = None,
    ) -> None:
        self.policy, self.ground, self.preset = policy, ground, preset
        self.tree = Tree()
        self.spots: dict[NodeId, Spot] = {ROOT: ground.root}
        experiments = 2 * evaluations + 50
        self._agent = Agent(ground, seed=seed, habits=habits or Habits(), experiments=experiments)
        luck = np.random.default_rng([seed, 9])
        trials = max(preset.root_trials, 1 + preset.confirmations)
        self._errors: list[list[float]] = (ground.noise * luck.standard_normal((experiments, trials))).tolist()
        self._lengths: list[float] = (0.95 + 0.1 * luck.random(2 * evaluations + 50)).tolist()
        self._screen = screen
        looks = np.random.default_rng([seed, 10]).standard_normal((experiments, LOOKS))
        self._looks: list[list[float]] = looks.tolist()
        self._screened: set[NodeId] = set()  # in flight
        self._budget, self._slots = evaluations, in_flight
        self._rng = random.Random(seed)
        self._seed, self._listen, self._metric = seed, listen, metric or Metric()
        self._seen = {ground.root.key: ROOT}
        self._proposals: dict[NodeId, Proposal] = {}
        self._values: dict[NodeId, list[float]] = {}
        self._running: list[tuple[float, NodeId]] = []
        self._now, self._idle, self._saved = 0.0, 0.0, 0.0
        self._started = self._ended = self._in_a_row = 0
        self._curve: list[float] = []
        self._gains = self._false = 0
        self._account = Account()

    def run(self) -> Run:
        """Until the budget is spent, or the policy has nothing to expand."""
        self._root()
        while True:
            while len(self._running) < self._slots and self._spent < self._budget and self._begin():
                pass
            if not self._running:
                break
            before, waiting = self._now, self._slots - len(self._running)
            self._now, node = heapq.heappop(self._running)
            if self._spent < self._budget:
                self._idle += waiting * (self._now - before)
            self._end(node)
            self._ended += 1
            reached = min(self._budget, max(1, self._ended + int(self._idle - self._saved)))
            missing = reached - len(self._curve)
            self._curve += [self._curve[-1] if self._curve else 0.0] * (missing - 1)
            self._curve[reached - 1 :] = [self.spots[self.tree.incumbent].value]
        last = self._curve[-1] if self._curve else 0.0
        curve = np.full(self._budget, last, np.float32)
        curve[: len(self._curve)] = self._curve
        loss = float(self.tree.loss[self.tree.incumbent])
        return Run(
            curve=curve,
            gains=self._gains,
            false_advances=self._false,
            account=self._account.scaled(1 / UNIT),
            reported=(loss - self._metric.loss(BASE)) / UNIT,
        )

    @property
    def _spent(self) -> float:
        """Slot time used up, in trials: a slot that waits for a barrier is paid for like one that trains, and what an
        early screen saved is not."""
        return self._started + self._idle - self._saved

    def _take(self, event: Event) -> None:
        self.tree.apply(event)
        self.policy.observe(self.tree, event)
        self._account.observe(self.tree, event)
        if self._listen is not None:
            self._listen(self.tree, event)

    def _root(self) -> None:
        self._take(
            CampaignStarted(
                time=0.0,
                version="lab",
                seed=self._seed,
                metric=self._metric,
                root_commit="root",
                root_digest="root",
                policy="",
                preset="",
                settings="{}",
                machine=_MACHINE,
            )
        )
        for trial in range(self.preset.root_trials):
            self._score(ROOT, trial)
        self._take(Judged(time=0.0, experiment=ROOT, verdict=Verdict.KEPT, reason="the root", against=ROOT))

    def _begin(self) -> bool:
        options = self.policy.rank(self.tree, 1, self._rng)
        if not options:
            return False
        number, chosen = self.tree.next_id, options[0]
        self._take(Selected(time=self._now, experiment=number, options=(chosen,)))
        proposal = self._propose(number, chosen)
        idea = _idea(proposal)
        self._take(
            Planned(time=self._now, experiment=number, parent=chosen.node, asked=chosen.kind, outcome=idea, call=_CALL)
        )
        self.spots[number] = proposal.spot
        if self._seen.setdefault(proposal.spot.key, number) != number and self._in_a_row < _PATIENCE:
            self._in_a_row += 1
            self._judge(number, Verdict.FAILED, "a duplicate", _DUPLICATE)
            return True
        self._in_a_row = 0
        self._proposals[number], self._values[number] = proposal, []
        self._agent.begin(proposal)
        if self._screen is not None and self._is_hopeless(self._screen, number, chosen.node):
            self._screened.add(number)
        self._start(number)
        return True

    def _is_hopeless(self, screen: Screen, number: NodeId, parent: NodeId) -> bool:
        proposal, before = self._proposals[number], self.spots[parent]
        luck = self._looks[number % len(self._looks)]
        worse = proposal.spot.value - before.value
        on_line = number in self._account.line_of
        return not proposal.spot.broken and screen.ends(
            worse=worse, noise=self.ground.noise, luck=luck, announced=bool(proposal.flagged) or on_line
        )

    def _propose(self, number: NodeId, chosen: Expansion) -> Proposal:
        if chosen.kind is not ExpansionKind.TRANSPLANT:
            return self._agent.propose(number, self.spots[chosen.node], chosen.kind)
        sources = chosen.sources or ((chosen.source,) if chosen.source is not None else ())
        patches = [(self.spots[int(self.tree.parent[source])], self.spots[source]) for source in sources]
        return self._agent.merge(number, self.spots[chosen.node], patches)

    def _start(self, number: NodeId) -> None:
        length = self._lengths[self._started % len(self._lengths)] * (0.3 if self.spots[number].broken else 1.0)
        if self._screen is not None and number in self._screened:
            length *= self._screen.at
            self._saved += 1 - self._screen.at
        heapq.heappush(self._running, (self._now + length, number))
        self._started += 1

    def _end(self, number: NodeId) -> None:
        if self.spots[number].broken:
            self._judge(number, Verdict.FAILED, "crash: the patch crashes", _CRASH)
            return
        if number in self._screened:
            self._screened.remove(number)
            self._judge(number, Verdict.FAILED, "ended early", _SCREENED)
            return
        values = self._values[number]
        values.append(self._score(number, len(values)))
        main = self.tree.incumbent
        incumbent = Score(mean=self._metric.value(float(self.tree.loss[main])), sd=None, n=int(self.tree.trials[main]))
        answer = decide(self.preset, self._metric, values=tuple(values), incumbent=incumbent, noise=self.tree.noise)
        if not isinstance(answer, Confirm):
            self._judge(number, answer.verdict, answer.reason)
        elif self._spent < self._budget:
            self._start(number)

    def _score(self, number: NodeId, trial: int) -> float:
        errors = self._errors[number % len(self._errors)]
        truth = self.spots[number].value + errors[trial % len(errors)]
        value = self._metric.value(self._metric.loss(BASE) + UNIT * truth)
        self._take(
            Scored(time=self._now, experiment=number, trial=trial, seconds=0.0, outcome=ScoreReport(value=value))
        )
        return value

    def _judge(self, number: NodeId, verdict: Verdict, reason: str, failure: Failure | None = None) -> None:
        main = self.tree.incumbent
        self._take(
            Judged(time=self._now, experiment=number, verdict=verdict, reason=reason, against=main, failure=failure)
        )
        if verdict is Verdict.KEPT:
            better = self.spots[number].value < self.spots[main].value - 1e-12
            self._gains += better
            self._false += not better
        proposal = self._proposals.pop(number, None)
        if proposal is not None:
            loss, parent = self.tree.loss, int(self.tree.parent[number])
            improved = self.tree.state[number] != FAILED and bool(loss[number] < loss[parent])
            self._agent.learn(proposal, improved=improved)


def _idea(proposal: Proposal) -> Idea:
    contract = None
    if proposal.flagged:
        dip = UNIT * proposal.dip
        contract = SetbackContract(expected_dip=dip, max_dip=2 * dip + 2 * UNIT, horizon=proposal.flagged)
    if proposal.modules:
        v = proposal.modules[0]
        name, category = f"module {v} to step {proposal.spot.places[v]}", "architecture"
    else:
        name, category = " and ".join(f"idea {i}" for i in proposal.ideas) or "take something out", "tuning"
    return Idea(title=name, hypothesis="", mechanism="", category=category, brief=name, contract=contract)
