"""Everything a running campaign knows, as one replay: tree, memory, policy, and the lives of experiments in flight.

`apply` is the only way in, used for a fresh event and for an old one alike, which is what makes a resumed campaign the
same campaign.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .events import CampaignStarted, Event, Requested, Scored, Selected, Settled, Trained, experiment_of
from .life import Life, is_void
from .memory import Memory
from .model import Ask, NodeId, Request, ScoreReport
from .ports import Policy
from .spending import Spending
from .tree import ROOT, Tree


@dataclass(slots=True)
class State:
    """One replay of the journal, brought up to date event by event."""

    policy: Policy
    tree: Tree = field(default_factory=Tree)
    memory: Memory = field(default_factory=Memory)
    spending: Spending = field(default_factory=Spending)
    lives: dict[NodeId, Life] = field(default_factory=dict)  # not settled, by id
    number: int = 0  # of the last event
    started: CampaignStarted | None = None
    requests: set[str] = field(default_factory=set)  # ids of all that were journalled
    promoted: list[Request] = field(default_factory=list)  # to be expanded next, in this order
    owed: dict[NodeId, int] = field(default_factory=dict)  # trials that were asked for and have not been run
    tried: dict[NodeId, int] = field(default_factory=dict)  # trials of settled nodes, by their highest number + 1

    def apply(self, number: int, event: Event) -> None:
        """Take in one event with its number in the journal."""
        self.number = number
        if isinstance(event, CampaignStarted):
            self.started = event
        self.tree.apply(event)
        self.memory.observe(self.tree, event)
        self.policy.observe(self.tree, event)
        self.spending.observe(event)
        if isinstance(event, Requested):
            self._ask(event)
        elif isinstance(event, Selected) and self.promoted and event.options[0].node == self.promoted[0].node:
            del self.promoted[0]
        if isinstance(event, Scored):
            self._count_beside(event)
        experiment = ROOT if isinstance(event, CampaignStarted) else experiment_of(event)
        if experiment is None:
            return
        if isinstance(event, Settled):
            life = self.lives.pop(experiment)
            self.tried[experiment] = max(life.trained, default=-1) + 1
            return
        if experiment in self.tried:  # a further trial of a node whose experiment is over
            if isinstance(event, Trained) and not is_void(event):
                self.tried[experiment] = event.trial + 1
                self.owed[experiment] = max(0, self.owed.get(experiment, 0) - 1)
            return
        self.lives.setdefault(experiment, Life(id=experiment)).apply(number, event)

    def _count_beside(self, event: Scored) -> None:
        """Tell every experiment that has begun to measure of a trial of another."""
        if isinstance(event.outcome, ScoreReport):
            for life in self.lives.values():
                if life.trained and life.id != event.experiment:
                    life.beside[event.experiment] = life.beside.get(event.experiment, 0) + 1

    def _ask(self, event: Requested) -> None:
        request = event.request
        self.requests.add(request.id)
        if event.refused is not None or request.node is None:
            return
        if request.ask is Ask.PROMOTE:
            self.promoted.append(request)
        elif request.ask is Ask.REPEAT:
            self.owed[request.node] = self.owed.get(request.node, 0) + request.trials
