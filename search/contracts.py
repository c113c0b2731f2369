"""Setback contracts: what was promised, and what came of it. One bookkeeper for the policy, the views and the lab.

A line opens with a scored experiment whose idea carried a contract and that did not move main. What goes on from it
belongs to the line. An announced further step, or a new best of the line, renews the line's patience (without that, a
valley of four steps takes thirty times as long, see our study); `horizon` experiments without either close it. A line
has paid off when main moves to one of its nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from .events import Event, Judged, Planned, Selected
from .model import Expansion, ExpansionKind, Idea, NodeId, SetbackContract, Verdict
from .tree import ROOT, Tree

LineState = Literal["open", "paid off", "closed"]


@dataclass(slots=True)
class Line:
    """One contract's line of experiments."""

    opened_by: NodeId
    fork: NodeId  # the node it set out from
    contract: SetbackContract
    tip: NodeId  # where it goes on
    best: NodeId  # its node with the lowest loss
    state: LineState = "open"
    used: int = 0  # experiments since its patience was last renewed
    spent: int = 0  # experiments in all
    flying: int = 0  # of them in flight
    paid_by: NodeId | None = None  # the node that main moved to
    gain: float = 0.0  # what that brought main, in losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """A campaign's contracts in five numbers."""

    opened: int = 0
    paid_off: int = 0
    closed: int = 0
    spent: int = 0  # experiments that went on from one
    gain: float = 0.0  # what they brought main


@dataclass(slots=True)
class Account:
    """Every line ever opened. O(1) per event."""

    lines: dict[NodeId, Line] = field(default_factory=dict)  # by the experiment that opened it
    open: dict[NodeId, Line] = field(default_factory=dict)
    line_of: dict[NodeId, NodeId] = field(default_factory=dict)  # experiment -> the line it belongs to
    unit: float = 1.0
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])  # lines gone on from; of them paid off; closed
    _brought: dict[NodeId, tuple[Expansion, ...]] = field(default_factory=dict)  # transplants, not yet planned
    _contracts: dict[NodeId, SetbackContract] = field(default_factory=dict)  # in flight

    def observe(self, tree: Tree, event: Event) -> None:
        """Take in one event; `tree` has already applied it."""
        if isinstance(event, Selected):
            if event.options[0].kind is ExpansionKind.TRANSPLANT:
                self._brought[event.experiment] = event.options
        elif isinstance(event, Planned):
            line = self.open.get(self.line_of.get(self._origin(event), -1))
            if line is not None:
                self.line_of[event.experiment] = line.opened_by
                self.counts[0] += not (line.spent or line.flying)
                line.flying += 1
            if isinstance(event.outcome, Idea) and event.outcome.contract is not None:
                self._contracts[event.experiment] = event.outcome.contract
        elif isinstance(event, Judged) and event.experiment != ROOT:
            self._judged(tree, event)

    def sums(self) -> Sums:
        """The account in five numbers; lines that nothing went on from are not counted as opened."""
        opened, paid_off, closed = self.counts
        lines = self.lines.values()
        return Sums(
            opened=opened,
            paid_off=paid_off,
            closed=closed,
            spent=sum(line.spent for line in lines),
            gain=self.unit * sum(line.gain for line in lines),
        )

    def scaled(self, unit: float) -> Account:
        """The same account with gains in another unit."""
        return replace(self, unit=unit)

    def _judged(self, tree: Tree, event: Judged) -> None:
        node, contract = event.experiment, self._contracts.pop(event.experiment, None)
        line = self.lines.get(self.line_of.get(node, -1))
        if line is not None:
            line.flying -= 1
            line.spent += 1
            if line.state == "open":
                self._go_on(tree, event, line, contract)
        elif contract is not None and event.verdict is Verdict.PARKED:
            line = Line(node, int(tree.parent[node]), contract, tip=node, best=node)
            self.lines[node] = self.open[node] = line
            self.line_of[node] = node
            if self._too_deep(tree, node, contract):
                self._close(line, "closed")

    def _go_on(self, tree: Tree, event: Judged, line: Line, contract: SetbackContract | None) -> None:
        node = event.experiment
        if event.verdict is Verdict.KEPT:
            line.paid_by = node
            line.gain = float(tree.loss[event.against] - tree.loss[node])
            self._close(line, "paid off")
            return
        line.used += 1
        if event.verdict is Verdict.PARKED:
            if tree.loss[node] < tree.loss[line.best]:
                line.tip, line.best, line.used = node, node, 0
            elif contract is not None and not self._too_deep(tree, node, contract):
                line.tip, line.contract, line.used = node, contract, 0
            elif tree.loss[node] < tree.loss[line.tip]:
                line.tip = node
        if line.used >= line.contract.horizon:
            self._close(line, "closed")

    def _too_deep(self, tree: Tree, node: NodeId, contract: SetbackContract) -> bool:
        return bool(tree.loss[node] - tree.loss[tree.incumbent] > contract.max_dip)

    def _close(self, line: Line, state: LineState) -> None:
        line.state = state
        self.open.pop(line.opened_by, None)
        if line.spent:
            self.counts[1 if state == "paid off" else 2] += 1

    def _origin(self, event: Planned) -> NodeId:
        """The node whose line the experiment belongs to: its parent, or where a transplant comes from."""
        options = self._brought.pop(event.experiment, ())
        if event.asked is ExpansionKind.TRANSPLANT:
            for option in options:
                if option.node == event.parent and option.source is not None:
                    return option.source
        return event.parent
