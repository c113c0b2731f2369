"""What was tried and what came of it, by idea: the search's protection against walking in circles.

Like the tree it is a replay of the events, costs O(1) per event, and says nothing about what to do next. In our study,
not repeating failed ideas was worth more than any choice of policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from .events import Event, Judged, Planned
from .model import Idea, NodeId, Verdict
from .tree import Tree


@dataclass(slots=True)
class Record:
    """How often an idea (or a category of ideas) was tried, on any parent."""

    tried: int = 0  # judged, with or without a score
    improved: int = 0  # scored better than their own parent
    kept: int = 0
    failed: int = 0
    in_flight: int = 0


class Memory:
    """Records by brief, by category, and the briefs tried on each node."""

    def __init__(self) -> None:
        self.briefs: dict[str, Record] = {}
        self.categories: dict[str, Record] = {}
        self._tried_on: dict[NodeId, set[str]] = {}
        self._ideas: dict[NodeId, tuple[NodeId, Idea]] = {}  # in flight: experiment -> (parent, idea)

    def brief(self, brief: str) -> Record:
        """The record of one idea; all zeros for one that was never tried."""
        return self.briefs.get(brief) or Record()

    def tried_on(self, node: NodeId) -> frozenset[str]:
        """Briefs of all ideas ever proposed on the node, those in flight included."""
        return frozenset(self._tried_on.get(node, ()))

    def observe(self, tree: Tree, event: Event) -> None:
        """Take in one event; `tree` has already applied it."""
        if isinstance(event, Planned) and isinstance(event.outcome, Idea):
            self._ideas[event.experiment] = (event.parent, event.outcome)
            self._tried_on.setdefault(event.parent, set()).add(event.outcome.brief)
            for record in self._records(event.outcome):
                record.in_flight += 1
        elif isinstance(event, Judged) and event.experiment in self._ideas:
            parent, idea = self._ideas.pop(event.experiment)
            improved = bool(tree.loss[event.experiment] < tree.loss[parent])  # False where there is no score (NaN)
            for record in self._records(idea):
                record.in_flight -= 1
                record.tried += 1
                record.improved += improved
                record.kept += event.verdict is Verdict.KEPT
                record.failed += event.verdict is Verdict.FAILED

    def _records(self, idea: Idea) -> tuple[Record, Record]:
        return (
            self.briefs.setdefault(idea.brief, Record()),
            self.categories.setdefault(idea.category, Record()),
        )
