"""Everything a running campaign knows, as one replay: tree, memory, policy, and the lives of experiments in flight.

`apply` is the only way in, used for a fresh event and for an old one alike, which is what makes a resumed campaign the
same campaign.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .events import CampaignStarted, Event, Requested, Settled, experiment_of
from .life import Life
from .memory import Memory
from .model import NodeId
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
            self.requests.add(event.request.id)
        experiment = ROOT if isinstance(event, CampaignStarted) else experiment_of(event)
        if experiment is None:
            return
        if isinstance(event, Settled):
            del self.lives[experiment]
            return
        self.lives.setdefault(experiment, Life(id=experiment)).apply(number, event)
