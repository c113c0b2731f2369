"""What was tried and what came of it, by idea: the search's protection against walking in circles.

Like the tree it is a replay of the events, costs O(1) per event, and says nothing about what to do next. In our study,
not repeating failed ideas was worth more than any choice of policy. It holds facts of the journal, never what a model
said of its own work.
"""

from __future__ import annotations

from dataclasses import dataclass

from .events import Event, Judged, Planned, Written
from .model import Failure, FailureKind, Idea, NodeId, Patch, SetbackContract, Verdict
from .patch import Setting, name_of_change, settings_in
from .tree import ROOT, Tree


@dataclass(slots=True)
class Record:
    """How often an idea (or a category of ideas) was tried, on any parent."""

    tried: int = 0  # judged, with or without a score
    improved: int = 0  # scored better than their own parent
    kept: int = 0
    failed: int = 0
    in_flight: int = 0
    gained: float = 0.0  # the largest improvement over a parent, as a loss: >= 0
    last: NodeId | None = None  # the newest of them


@dataclass(slots=True)
class Debt:
    """A setback contract, and what has become of it so far."""

    contract: SetbackContract
    used: int = 0  # experiments begun below the node
    paid: bool = False  # one of them was kept


class Memory:
    """Records by brief, by category and by operator, the briefs tried on each node, what patches changed, contracts,
    and how long main has stood still."""

    def __init__(self) -> None:
        self.briefs: dict[str, Record] = {}
        self.categories: dict[str, Record] = {}
        self.operators: dict[str, Record] = {}
        self.failures: dict[FailureKind, int] = {}
        self.debts: dict[NodeId, Debt] = {}
        self.settings: dict[str, dict[NodeId, Setting]] = {}  # by constant: which experiments gave it which value
        self.dry = 0  # experiments judged since main last moved
        self._tried_on: dict[NodeId, set[str]] = {}
        self._children: dict[NodeId, list[NodeId]] = {}
        self._ideas: dict[NodeId, tuple[NodeId, Idea]] = {}  # in flight: experiment -> (parent, idea)
        self._changes: dict[str, list[NodeId]] = {}  # by the change's name: experiments, ascending
        self._patched: dict[NodeId, Patch] = {}  # in flight: what was written last
        self._lines: dict[NodeId, NodeId] = {}  # node -> the nearest node above it (or itself) that opened a contract

    def brief(self, brief: str) -> Record:
        """The record of one idea; all zeros for one that was never tried."""
        return self.briefs.get(brief) or Record()

    def tried_on(self, node: NodeId) -> frozenset[str]:
        """Briefs of all ideas ever proposed on the node, those in flight included."""
        return frozenset(self._tried_on.get(node, ()))

    def children(self, node: NodeId) -> list[NodeId]:
        """Experiments planned on the node, ascending in the order of their planning."""
        return self._children.get(node, [])

    def made(self, patch: Patch) -> list[NodeId]:
        """Experiments whose patch makes the same change as this one, on whatever node, ascending."""
        name = name_of_change(patch)
        return self._changes.get(name, []) if name is not None else []

    @property
    def in_flight(self) -> dict[NodeId, tuple[NodeId, Idea]]:
        """Ideas that are not judged yet, with their parents."""
        return self._ideas

    @property
    def open_debts(self) -> dict[NodeId, Debt]:
        """Contracts that were neither paid off nor used up."""
        return {node: debt for node, debt in self.debts.items() if not debt.paid and debt.used < debt.contract.horizon}

    def observe(self, tree: Tree, event: Event) -> None:
        """Take in one event; `tree` has already applied it."""
        if isinstance(event, Planned) and isinstance(event.outcome, Idea):
            self._plan(event.experiment, event.parent, event.outcome)
        elif isinstance(event, Written) and event.patch is not None and event.failure is None:
            self._write(event.experiment, event.patch)
        elif isinstance(event, Judged):
            self._judge(tree, event)

    def _plan(self, node: NodeId, parent: NodeId, idea: Idea) -> None:
        self._ideas[node] = (parent, idea)
        self._tried_on.setdefault(parent, set()).add(idea.brief)
        self._children.setdefault(parent, []).append(node)
        line = self._lines.get(parent)
        if line is not None:
            self.debts[line].used += 1
        if idea.contract is not None:
            self.debts[node] = Debt(contract=idea.contract)
            line = node
        if line is not None:
            self._lines[node] = line
        for record in self._records(idea):
            record.in_flight += 1
            record.last = node

    def _write(self, node: NodeId, patch: Patch) -> None:
        self._forget(node)  # this one repairs it
        self._patched[node] = patch
        if (name := name_of_change(patch)) is not None:
            self._changes.setdefault(name, []).append(node)
        for setting in settings_in(patch):
            self.settings.setdefault(setting.name, {})[node] = setting

    def _forget(self, node: NodeId) -> None:
        before = self._patched.pop(node, None)
        if before is not None:
            if (name := name_of_change(before)) is not None:
                self._changes[name].remove(node)
            for setting in settings_in(before):
                self.settings[setting.name].pop(node, None)

    def _judge(self, tree: Tree, event: Judged) -> None:
        starved = event.failure is not None and event.failure.kind is FailureKind.STARVED  # it was never really tried
        if event.experiment != ROOT and not starved:
            self.dry = 0 if event.verdict is Verdict.KEPT else self.dry + 1
        if isinstance(event.failure, Failure):
            self.failures[event.failure.kind] = self.failures.get(event.failure.kind, 0) + 1
        if starved:
            self._forget(event.experiment)
        self._patched.pop(event.experiment, None)
        if event.experiment not in self._ideas:
            return
        parent, idea = self._ideas.pop(event.experiment)
        if event.verdict is Verdict.KEPT and event.experiment in self._lines:
            self.debts[self._lines[event.experiment]].paid = True
        gained = float(tree.loss[parent] - tree.loss[event.experiment])
        improved = gained > 0  # False where there is no score (NaN)
        if starved:
            self._tried_on[parent].discard(idea.brief)
        for record in self._records(idea):
            record.in_flight -= 1
            if starved:
                continue
            record.tried += 1
            record.improved += improved
            record.gained = max(record.gained, gained) if improved else record.gained
            record.kept += event.verdict is Verdict.KEPT
            record.failed += event.verdict is Verdict.FAILED

    def _records(self, idea: Idea) -> list[Record]:
        records = [
            self.briefs.setdefault(idea.brief, Record()),
            self.categories.setdefault(idea.category, Record()),
        ]
        return [*records, self.operators.setdefault(idea.operator, Record())] if idea.operator else records
