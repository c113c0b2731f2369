"""What the screens show of a campaign and the tree does not hold: settings, times, stages. Like the tree it is a replay
of the events, O(1) each."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable

from ..search.contracts import Account
from ..search.events import (
    CampaignResumed,
    CampaignStarted,
    CampaignStopped,
    Checked,
    Claimed,
    Committed,
    Event,
    Judged,
    Planned,
    Requested,
    Scored,
    Selected,
    Trained,
    Written,
)
from ..search.model import Ask, Failure, FailureKind, Idea, Machine, NodeId, Verdict
from ..search.settings import Settings
from ..search.spending import Spending
from ..search.tree import IN_FLIGHT, ROOT, Tree


class Chronicle:
    """A campaign's course. Read the attributes freely; only `observe` changes them."""

    def __init__(self) -> None:
        self.version = ""
        self.policy = ""
        self.preset = ""
        self.settings: Settings | None = None  # of the last session; None if another version wrote them
        self.machine: Machine | None = None
        self.sessions = 0  # starts and resumptions seen
        self.begun: float | None = None  # seconds since the epoch: when the last session began
        self.updated: float | None = None  # and the last event of all
        self.paused = False  # nothing new begins until somebody resumes it
        self.asked: Requested | None = None  # what somebody asked last, and what came of it
        self.stopped: str | None = None  # why the last session ended; None while it runs and after a crash
        self.finished = 0  # experiments judged, the root not counted
        self.failures: Counter[FailureKind] = Counter()
        self.stages: dict[NodeId, str] = {}  # what every experiment in flight is at
        self.spending = Spending()  # on model calls
        self.account = Account()  # of setback contracts
        self.contracts: list[NodeId] = []  # experiments whose idea announced a setback
        self.advances: list[tuple[int, float]] = []  # experiments judged before, and main's value from then on
        self.claim: Claimed | None = None  # the last one
        self.starved = 0  # runs that are void because the machine was taken from them
        self._ran = 0.0  # seconds of the sessions before the last
        self._searched = 0.0  # of them after the root was scored
        self._searching: float | None = None  # when the last session began to search
        self._last_verdict = 0.0

    @classmethod
    def read(cls, events: Iterable[Event]) -> tuple[Tree, Chronicle]:
        """The tree and the chronicle of a journal."""
        tree, chronicle = Tree(), cls()
        for event in events:
            tree.apply(event)
            chronicle.observe(tree, event)
        return tree, chronicle

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def ran_seconds(self) -> float:
        """How long all sessions ran, up to the last event."""
        return self._ran + (self.updated - self.begun if self.begun is not None and self.updated is not None else 0.0)

    @property
    def per_hour(self) -> float | None:
        """Experiments judged per hour of searching; None before the first verdict."""
        begun = self._searching
        seconds = self._searched + (max(0.0, self._last_verdict - begun) if begun is not None else 0.0)
        return self.finished * 3600 / seconds if self.finished and seconds > 0 else None

    @property
    def scorer(self) -> str:
        """Who measures, as a node's `by`: trusted, printed or synthetic."""
        if self.settings is None:
            return "trusted"
        return "synthetic" if self.settings.trainer.executor == "synthetic" else self.settings.task.scorer

    def main_over_time(self, tree: Tree, points: int) -> list[float]:
        """Main's value after every experiment judged, or at `points` of them evenly spread."""
        if not self.advances:
            return []
        judged = _judged(tree)
        points = min(points, judged + 1)
        at = [round(i * judged / max(1, points - 1)) for i in range(points)]
        steps = (max(0, bisect_right(self.advances, count, key=lambda step: step[0]) - 1) for count in at)
        return [self.advances[step][1] for step in steps]

    # -- writing ------------------------------------------------------------------------------------------------

    def observe(self, tree: Tree, event: Event) -> None:
        """Take in one event; `tree` has already applied it."""
        self.spending.observe(event)
        self.account.observe(tree, event)
        if isinstance(event, CampaignStarted | CampaignResumed):
            self._begin(tree, event)
        elif isinstance(event, CampaignStopped):
            self.stopped = event.reason
        elif isinstance(event, Judged):
            self._judge(tree, event)
        elif isinstance(event, Claimed):
            self.claim = event
        elif isinstance(event, Requested):
            self._hear(event)
        else:
            self._advance_stage(event)
        self.updated = event.time

    def _begin(self, tree: Tree, event: CampaignStarted | CampaignResumed) -> None:
        self._ran = self.ran_seconds
        if self._searching is not None:
            self._searched += max(0.0, (self.updated or 0.0) - self._searching)
        self._searching = None
        self.version, self.policy, self.preset = event.version, event.policy, event.preset
        self.machine, self.begun, self.stopped, self.paused = event.machine, event.time, None, False
        try:
            self.settings = Settings.model_validate_json(event.settings or "{}")
        except ValueError:  # the journal of another version: what it says of its limits is not needed to show it
            self.settings = None
        self.sessions += 1
        if isinstance(event, CampaignStarted):
            self.stages[ROOT] = "scoring the root"
        elif ROOT not in self.stages:
            self._searching = self._last_verdict = event.time
        if not self.advances and isinstance(event, CampaignResumed):
            self._catch_up(tree)

    def _catch_up(self, tree: Tree) -> None:
        """Whoever begins to watch with a resumption has not seen what was before."""
        latest = 0
        for node in tree.advances:
            latest = max(latest, node)
            if tree.trials[node]:
                self.advances.append((latest, tree.metric.value(float(tree.loss[node]))))
        for node in tree.ids():
            if tree.state[node] == IN_FLIGHT:
                self.stages[node] = "scoring the root" if node == ROOT else "resuming"

    def _hear(self, event: Requested) -> None:
        self.asked = event
        if event.refused is None and event.request.ask in (Ask.PAUSE, Ask.RESUME):
            self.paused = event.request.ask is Ask.PAUSE

    def _judge(self, tree: Tree, event: Judged) -> None:
        node = event.experiment
        self.stages.pop(node, None)
        if node == ROOT:
            self._searching = self._last_verdict = event.time
        else:
            self.finished += 1
            self._last_verdict = event.time
        if event.failure is not None:
            self.failures[event.failure.kind] += 1
        if event.verdict is Verdict.KEPT and tree.trials[node]:
            self.advances.append((_judged(tree), tree.metric.value(float(tree.loss[node]))))

    def _advance_stage(self, event: Event) -> None:
        match event:
            case Trained(outcome=Failure(kind=FailureKind.STARVED)):
                self.starved += 1
                stage = "training again"
            case Selected():
                stage = "planning"
            case Planned(outcome=Idea() as idea):
                stage = "writing"
                if idea.contract is not None:
                    self.contracts.append(event.experiment)
            case Written(failure=None):
                stage = "checking"
            case Checked(failure=None):
                stage = "committing"
            case Committed():
                stage = "training"
            case Written() | Checked() | Trained(outcome=Failure()):
                stage = "repairing"
            case Trained():
                stage = "scoring"
            case Scored():
                stage = "confirming"
            case _:
                return
        if event.experiment in self.stages or isinstance(event, Selected):
            self.stages[event.experiment] = stage if event.experiment != ROOT else "scoring the root"


def _judged(tree: Tree) -> int:
    return tree.experiments - tree.counts[IN_FLIGHT]
