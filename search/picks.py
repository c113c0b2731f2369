"""The planner's pick against the policy's own: how often they differed, and what came of either. Pure.

A planner that is shown several expansions may take another than the policy's first. The counterfactual is what the node
that it passed over brought to all experiments that did go on from it; where there is none, the pick is not covered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .events import Event, Judged, Planned, Selected
from .model import Expansion, NodeId, Verdict
from .tree import Tree


@dataclass(slots=True)
class Tally:
    """What came of some experiments."""

    judged: int = 0
    improved: int = 0  # scored better than their own parent
    kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PickReport:
    """A campaign's picks. Only experiments with two or more options count."""

    agreed: Tally  # the planner took the policy's first
    overruled: Tally  # it took another
    covered: int  # overruled experiments whose passed-over node was expanded as well
    passed_over_improved: float  # of these, how many would have improved, by what that node brought to others
    passed_over_kept: float
    covered_improved: int  # of these, how many of the planner's own improved
    covered_kept: int

    def sentence(self) -> str:
        """For people."""
        picks = self.agreed.judged + self.overruled.judged
        if not picks:
            return "The planner was never given a choice (search.choice = 1), so there is no pick to judge."
        text = (
            f"The planner took the policy's first choice in {self.agreed.judged} of {picks} experiments "
            f"({self.agreed.kept} kept) and another in {self.overruled.judged} ({self.overruled.kept} kept)."
        )
        if not self.covered:
            return text
        return text + (
            f" {self.covered} nodes that it passed over were expanded all the same: {self.covered_improved} "
            f"of its own picks improved on their parent, {self.passed_over_improved:.1f} would have on those nodes; "
            f"kept {self.covered_kept} against {self.passed_over_kept:.1f}."
        )


@dataclass(slots=True)
class Picks:
    """The account, O(1) per event."""

    _first: dict[NodeId, Expansion] = field(default_factory=dict)  # the policy's, of experiments with a choice
    _agreed: dict[NodeId, bool] = field(default_factory=dict)  # planned, not judged yet
    _tallies: dict[bool, Tally] = field(default_factory=lambda: {True: Tally(), False: Tally()})
    _on: dict[NodeId, Tally] = field(default_factory=dict)  # of everything that went on from a node
    _overruled: list[tuple[NodeId, bool, bool]] = field(default_factory=list)  # passed over; improved, kept instead

    def observe(self, tree: Tree, event: Event) -> None:
        """Take in one event; `tree` has already applied it."""
        if isinstance(event, Selected) and len(event.options) > 1:
            self._first[event.experiment] = event.options[0]
        elif isinstance(event, Planned) and event.experiment in self._first:
            first = self._first[event.experiment]
            self._agreed[event.experiment] = (event.parent, event.asked) == (first.node, first.kind)
        elif isinstance(event, Judged) and event.experiment:
            self._judged(tree, event)

    def report(self) -> PickReport:
        """O(experiments that were overruled)."""
        covered = [(self._on[node], improved, kept) for node, improved, kept in self._overruled if node in self._on]
        return PickReport(
            agreed=self._tallies[True],
            overruled=self._tallies[False],
            covered=len(covered),
            passed_over_improved=sum(on.improved / on.judged for on, _, _ in covered),
            passed_over_kept=sum(on.kept / on.judged for on, _, _ in covered),
            covered_improved=sum(improved for _, improved, _ in covered),
            covered_kept=sum(kept for _, _, kept in covered),
        )

    def _judged(self, tree: Tree, event: Judged) -> None:
        node = event.experiment
        parent = int(tree.parent[node])
        improved = bool(tree.loss[node] < tree.loss[parent])  # False where there is no score (NaN)
        kept = event.verdict is Verdict.KEPT
        tallies = [self._on.setdefault(parent, Tally())]
        agreed = self._agreed.pop(node, None)
        if agreed is not None:
            tallies.append(self._tallies[agreed])
            first = self._first.pop(node)
            if not agreed and first.node != parent:
                self._overruled.append((first.node, improved, kept))
        for tally in tallies:
            tally.judged += 1
            tally.improved += improved
            tally.kept += kept


def planner_picks(events: Iterable[Event]) -> PickReport:
    """The account of a recorded campaign."""
    tree, picks = Tree(), Picks()
    for event in events:
        tree.apply(event)
        picks.observe(tree, event)
    return picks.report()
