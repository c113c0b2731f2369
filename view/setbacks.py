"""What came of setback contracts, for the screens. The account of `search/contracts.py`, which the policies act on, is
the one truth; nothing is counted again here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..search.contracts import Account
from ..search.model import NodeId, SetbackContract, Verdict
from ..search.tree import Node, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """A setback contract and what came of its line so far."""

    contract: SetbackContract
    state: Literal["open", "paid off", "closed", "failed"]
    used: int  # experiments since the line's patience was last renewed; `contract.horizon` of them close it
    spent: int  # experiments that went on from it, in all
    dip: float | None  # how much worse than its parent it is, metric's unit; negative: it never dipped
    paid_by: NodeId | None  # the node of the line that main moved to
    short: float | None  # how much worse than main the best of its line is now


def setback(tree: Tree, node: Node, account: Account) -> Setback | None:
    """What came of the node's contract; None if its idea promised none. A further step under contract shares its line
    with the node that opened it."""
    if node.idea is None or node.idea.contract is None:
        return None
    line = account.lines.get(account.line_of.get(node.id, -1))
    state: Literal["open", "paid off", "closed", "failed"] = line.state if line else "open"
    paid_by, best = (line.paid_by, line.best) if line else (None, node.id)
    if node.verdict is Verdict.KEPT:
        state, paid_by = "paid off", node.id
    elif node.verdict is Verdict.FAILED:
        state = "failed"
    return Setback(
        contract=node.idea.contract,
        state=state,
        used=line.used if line else 0,
        spent=line.spent if line else 0,
        dip=_behind(tree, node.id, node.parent),
        paid_by=paid_by,
        short=_behind(tree, best if paid_by is None else paid_by, tree.incumbent),
    )


def _behind(tree: Tree, node: NodeId, other: NodeId | None) -> float | None:
    """How much worse the node is than the other; None where one of them has no score."""
    if other is None:
        return None
    difference = float(tree.loss[node]) - float(tree.loss[other])
    return difference if math.isfinite(difference) else None
