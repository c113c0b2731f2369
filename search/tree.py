"""The tree of experiments: `replay(events)`, kept in growing numpy columns so that every question stays cheap.

One event costs O(1). Nothing here recurses over depth, because a ratchet builds chains: parents are ids, children are
counted, paths are walked. Every comparison uses `loss` (lower is better), see `Metric.loss`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .events import (
    CampaignStarted,
    Committed,
    Event,
    Judged,
    Planned,
    Requested,
    Scored,
    Selected,
    Settled,
    Trained,
    Written,
)
from .model import Ask, ExpansionKind, Failure, Idea, Metric, NodeId, Score, TrialReport, Verdict

ROOT: NodeId = 0
ABSENT, IN_FLIGHT, KEPT, PARKED, FAILED = range(5)
_STATE = {Verdict.KEPT: KEPT, Verdict.PARKED: PARKED, Verdict.FAILED: FAILED}
_VERDICT = {KEPT: Verdict.KEPT, PARKED: Verdict.PARKED, FAILED: Verdict.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Everything that is known of one experiment, as a value for screens and exports."""

    id: NodeId
    parent: NodeId | None  # None for the root
    depth: int
    verdict: Verdict | None  # None while in flight
    score: Score | None
    failure: Failure | None
    idea: Idea | None  # None for the root, and where the planner failed
    asked: ExpansionKind
    commit: str | None
    branch: str | None
    main: str | None  # the commit main moved to, for kept nodes
    reason: str  # the ratchet's sentence
    lines_added: int
    lines_removed: int
    values: tuple[float, ...]  # of all scored trials, in order
    by: str  # who measured them: trusted | printed | synthetic; empty without a score
    report: TrialReport | None  # of the last training run
    seconds: float  # wall time of all its training and scoring
    started: float  # seconds since the epoch
    ended: float | None

    @property
    def is_screened_only(self) -> bool:
        """Whether the score is the one trial that the node was picked by: too good by as much as it was lucky."""
        return self.parent is not None and len(self.values) == 1

    @property
    def title(self) -> str:
        """What a person reads in the tree."""
        if self.parent is None:
            return "root"
        return self.idea.title if self.idea else "(no idea)"


class _Facts:
    """The part of a node that no policy computes with, mutable inside the tree only."""

    __slots__ = (
        "asked",
        "branch",
        "by",
        "commit",
        "ended",
        "failure",
        "idea",
        "lines_added",
        "lines_removed",
        "main",
        "reason",
        "report",
        "seconds",
        "started",
        "values",
    )

    def __init__(self, started: float) -> None:
        self.asked = ExpansionKind.IMPROVE
        self.branch: str | None = None
        self.by = ""
        self.commit: str | None = None
        self.ended: float | None = None
        self.failure: Failure | None = None
        self.idea: Idea | None = None
        self.lines_added = 0
        self.lines_removed = 0
        self.main: str | None = None
        self.reason = ""
        self.report: TrialReport | None = None
        self.seconds = 0.0
        self.started = started
        self.values: tuple[float, ...] = ()


class Tree:
    """Nodes as columns. Read the columns freely; only `apply` changes them."""

    def __init__(self) -> None:
        self.metric = Metric()
        self.seed = 0
        self.root_commit: str | None = None
        self.started: float | None = None  # time of CampaignStarted
        self.incumbent: NodeId = ROOT
        self.next_id: NodeId = 1  # the number of the next experiment
        self.train_seconds = 0.0  # wall time of all training while the clock ran
        self.counts = [0] * 5  # nodes by state, the root not counted
        self.advances: list[NodeId] = []  # kept nodes in the order in which main moved, the root first
        self.digests: dict[str, NodeId] = {}  # trees already tried
        self.closed: set[NodeId] = set()  # nodes that nothing goes on from, because somebody asked for that
        self._stated_noise: float | None = None  # until trials were repeated
        self._facts: list[_Facts | None] = []
        self._squares = 0.0  # pooled within-node squared deviations of repeated trials
        self._freedom = 0  # and their degrees of freedom
        self.root_leak = 0.0  # largest change of an answer that the honest root showed under probing, nats
        self._capacity = 0
        self.state: npt.NDArray[np.int8] = np.zeros(0, np.int8)
        self.parent: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # -1 for the root
        self.depth: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.attempts: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # experiments ever started from the node
        self.in_flight: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # of them not yet judged
        self.loss: npt.NDArray[np.float64] = np.zeros(0)  # mean loss; NaN without a score
        self.trials: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # trials in that mean

    # -- reading ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Nodes, the root and those in flight included."""
        return len(self._facts) - self._facts.count(None) if self._facts else 0

    def __contains__(self, node: object) -> bool:
        return isinstance(node, int) and 0 <= node < len(self._facts) and self._facts[node] is not None

    def ids(self) -> Iterator[NodeId]:
        """The numbers of all nodes, ascending."""
        return (i for i, facts in enumerate(self._facts) if facts is not None)

    @property
    def experiments(self) -> int:
        """Experiments begun, the root not counted."""
        return sum(self.counts)

    def is_expandable(self, node: NodeId) -> bool:
        """Whether the search may go on from the node: it is judged, has a score, and nobody closed it."""
        return bool(self.state[node] == KEPT or self.state[node] == PARKED) and node not in self.closed

    def idea(self, node: NodeId) -> Idea | None:
        """The node's idea alone: `node` costs fifty times as much."""
        facts = self._facts[node]
        return facts.idea if facts else None

    def node(self, node: NodeId) -> Node:
        """One node as a value; KeyError if there is none."""
        facts = self._facts[node] if node in self else None
        if facts is None:
            raise KeyError(node)
        counted = self._counted(node, facts.values)
        return Node(
            id=node,
            parent=int(self.parent[node]) if node != ROOT else None,
            depth=int(self.depth[node]),
            verdict=_VERDICT.get(int(self.state[node])),
            score=Score.of(counted) if counted else None,
            failure=facts.failure,
            idea=facts.idea,
            asked=facts.asked,
            commit=facts.commit,
            branch=facts.branch,
            main=facts.main,
            reason=facts.reason,
            lines_added=facts.lines_added,
            lines_removed=facts.lines_removed,
            values=facts.values,
            by=facts.by,
            report=facts.report,
            seconds=facts.seconds,
            started=facts.started,
            ended=facts.ended,
        )

    def nodes(self) -> Iterator[Node]:
        """All nodes, ascending."""
        return (self.node(i) for i in self.ids())

    def path(self, node: NodeId) -> list[NodeId]:
        """From the root to the node."""
        path = [node]
        while path[-1] != ROOT:
            path.append(int(self.parent[path[-1]]))
        return path[::-1]

    def children(self) -> dict[NodeId, list[NodeId]]:
        """Children of every node that has any, ascending. O(nodes): for screens, not for policies."""
        found: dict[NodeId, list[NodeId]] = {}
        for i in self.ids():
            if i != ROOT:
                found.setdefault(int(self.parent[i]), []).append(i)
        return found

    @property
    def noise(self) -> float | None:
        """Standard deviation between trials of one node, pooled over all repeats; what was stated from outside before
        there is any; else None."""
        return math.sqrt(self._squares / self._freedom) if self._freedom else self._stated_noise

    def noise_apart(self, node: NodeId, last: int) -> float | None:
        """`noise`, if the node's last trials had been those of another node."""
        facts = self._facts[node]
        counted = self._counted(node, facts.values) if facts else ()
        if not 0 < last < len(counted):
            return self.noise
        squares = self._squares - _squares(counted) + _squares(counted[:-last]) + _squares(counted[-last:])
        return math.sqrt(max(squares, 0.0) / (self._freedom - 1)) if self._freedom > 1 else None

    @property
    def noise_freedom(self) -> int:
        """Degrees of freedom behind `noise`."""
        return self._freedom

    # -- writing ------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Bring the columns up to date with one event; events must come in the journal's order."""
        match event:
            case CampaignStarted():
                self._start(event)
            case Selected():
                self._select(event)
            case Planned():
                self._plan(event)
            case Written():
                facts = self._known(event.experiment)
                facts.lines_added, facts.lines_removed = event.lines_added, event.lines_removed
                if event.failure is None:
                    self.digests.setdefault(event.digest, event.experiment)
            case Committed():
                self._known(event.experiment).commit = event.commit
            case Trained():
                facts = self._known(event.experiment)
                facts.seconds += event.seconds
                if isinstance(event.outcome, TrialReport):
                    facts.report = event.outcome
                    self.train_seconds += event.outcome.train_seconds
            case Scored():
                self._score(event)
            case Judged():
                self._judge(event)
            case Settled():
                facts = self._known(event.experiment)
                facts.main, facts.branch, facts.ended = event.main, event.branch, event.time
            case Requested(refused=None):
                self._obey(event)
            case _:
                pass

    def _start(self, event: CampaignStarted) -> None:
        self.metric, self.seed, self._stated_noise = event.metric, event.seed, event.noise
        self.root_commit, self.started = event.root_commit, event.time
        facts = self._add(ROOT, parent=-1, depth=0, time=event.time)
        facts.commit = event.root_commit
        self.digests[event.root_digest] = ROOT
        self.advances.append(ROOT)

    def _select(self, event: Selected) -> None:
        parent = event.options[0].node  # until the planner has chosen among the options
        self._add(event.experiment, parent=parent, depth=int(self.depth[parent]) + 1, time=event.time)
        self.attempts[parent] += 1
        self.in_flight[parent] += 1
        self.counts[IN_FLIGHT] += 1
        self.next_id = max(self.next_id, event.experiment + 1)

    def _plan(self, event: Planned) -> None:
        facts, node = self._known(event.experiment), event.experiment
        before = int(self.parent[node])
        for count in (self.attempts, self.in_flight):
            count[before] -= 1
            count[event.parent] += 1
        self.parent[node] = event.parent
        self.depth[node] = self.depth[event.parent] + 1
        facts.asked = event.asked
        if isinstance(event.outcome, Idea):
            facts.idea = event.outcome

    def _score(self, event: Scored) -> None:
        facts, node = self._known(event.experiment), event.experiment
        facts.seconds += event.seconds
        if isinstance(event.outcome, Failure):
            return
        before = self._counted(node, facts.values)
        facts.values = (*facts.values, event.outcome.value)
        facts.by = event.outcome.by
        if node == ROOT:
            self.root_leak = max(self.root_leak, event.outcome.leak or 0.0)
        now = self._counted(node, facts.values)
        self._squares += _squares(now) - _squares(before)
        self._freedom += max(len(now) - 1, 0) - max(len(before) - 1, 0)
        self.loss[node] = self.metric.loss(math.fsum(now) / len(now))
        self.trials[node] = len(now)

    def _judge(self, event: Judged) -> None:
        facts, node = self._known(event.experiment), event.experiment
        facts.failure, facts.reason = event.failure, event.reason
        state = _STATE[event.verdict]
        self.state[node] = state
        if node != ROOT:
            self.in_flight[self.parent[node]] -= 1
            self.counts[IN_FLIGHT] -= 1
            self.counts[state] += 1
        if state == KEPT and node != self.incumbent:
            self.incumbent = node
            self.advances.append(node)

    def _obey(self, event: Requested) -> None:
        """Close or reopen a node with all that hangs below it; other requests change no tree."""
        node, ask = event.request.node, event.request.ask
        if node is None or ask not in (Ask.CLOSE, Ask.REOPEN):
            return
        children, below = self.children(), [node]
        for parent in below:  # grows while it is walked
            below += children.get(parent, ())
        self.closed = self.closed | set(below) if ask is Ask.CLOSE else self.closed - set(below)

    def _counted(self, node: NodeId, values: tuple[float, ...]) -> tuple[float, ...]:
        """The trials that make the score: the screening trial drops out as soon as there is a confirming one, because
        it was picked for being good. The root was not picked, so all its trials count."""
        return values if node == ROOT or len(values) <= 1 else values[1:]

    def _known(self, node: NodeId) -> _Facts:
        facts = self._facts[node] if node < len(self._facts) else None
        if facts is None:
            raise ValueError(f"the journal speaks of experiment {node:04d} before it was begun")
        return facts

    def _add(self, node: NodeId, *, parent: NodeId, depth: int, time: float) -> _Facts:
        if node in self:
            raise ValueError(f"the journal begins experiment {node:04d} twice")
        self._reserve(node + 1)
        while len(self._facts) <= node:
            self._facts.append(None)
        facts = self._facts[node] = _Facts(time)
        self.state[node], self.parent[node], self.depth[node] = IN_FLIGHT, parent, depth
        return facts

    def _reserve(self, size: int) -> None:
        if size <= self._capacity:
            return
        self._capacity = max(64, size, 2 * self._capacity)
        for name, empty in _COLUMNS:
            old: npt.NDArray[Any] = getattr(self, name)
            new = np.full(self._capacity, empty, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


_COLUMNS = (
    ("state", ABSENT),
    ("parent", -1),
    ("depth", 0),
    ("attempts", 0),
    ("in_flight", 0),
    ("loss", math.nan),
    ("trials", 0),
)


def _squares(values: tuple[float, ...]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values)


def replay(events: Iterable[Event]) -> Tree:
    """The tree that a journal describes."""
    tree = Tree()
    for event in events:
        tree.apply(event)
    return tree
