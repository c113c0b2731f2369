"""Where every node of a tree stands in a picture: main's line straight through the middle, everything else packed above
and below it, each branch in a row of its own. Integers only: `x` counts steps from the root, `y` rows from main's line.

Folded, long fans of leaves and long chains become one mark each ("+12"), so that a thousand discards do not hide the
ten that matter. No recursion: a ratchet builds chains of thousands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..search.model import NodeId
from ..search.tree import FAILED, IN_FLIGHT, PARKED, Tree

FAN = 6
"""Leaves at one node from which on the rest folds."""
SHOWN = 3  # of them stay, the best
CHAIN = 10
"""Nodes in a row without a branch from which on the middle folds."""
_ENDS = 2  # of it stay at both ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What stands for nodes that are not drawn."""

    at: NodeId  # the drawn node it hangs off
    nodes: tuple[NodeId, ...]
    x: int
    y: int


@dataclass(slots=True)
class Layout:
    """Positions of the nodes that are drawn, and the folds that stand for the others."""

    place: dict[NodeId, tuple[int, int]] = field(default_factory=dict)
    folds: list[Fold] = field(default_factory=list)


def lay_out(tree: Tree, *, fold: bool) -> Layout:
    """The whole tree's layout. O(nodes)."""
    if tree.root_commit is None:
        return Layout()
    trunk = tree.path(tree.incumbent)
    kids = tree.children()
    folded = _folds(tree, kids, set(trunk)) if fold else []
    place = _place(kids, trunk)
    layout = Layout(place={item: at for item, at in place.items() if item >= 0})
    for i, (at, nodes) in enumerate(folded):
        x, y = place[-i - 1]
        layout.folds.append(Fold(at=at, nodes=tuple(nodes), x=x, y=y))
    return layout


def _folds(tree: Tree, kids: dict[int, list[int]], trunk: set[int]) -> list[tuple[int, list[int]]]:
    """Contract `kids` in place: the i-th fold becomes the item -i-1. Returns (node it hangs off, nodes) of each."""
    state, loss = tree.state, tree.loss
    found: list[tuple[int, list[int]]] = []

    def quiet(item: int) -> bool:
        return state[item] in (PARKED, FAILED)

    for node, children in list(kids.items()):
        leaves = [c for c in children if c not in kids and c not in trunk and quiet(c) and not _promised(tree, c)]
        if len(leaves) > FAN:
            best = sorted(leaves, key=lambda c: (math.isnan(loss[c]), loss[c], c))
            hidden = set(best[SHOWN:])
            found.append((node, sorted(hidden)))
            kids[node] = [c for c in children if c not in hidden] + [-len(found)]
    inside: set[int] = set()
    for node in sorted(kids):
        if node < 0 or node in inside:
            continue
        chain = [node]
        while len(below := kids.get(chain[-1], [])) == 1 and _foldable(tree, below[0]):
            chain.append(below[0])
        inside.update(chain)
        if len(chain) > CHAIN:
            last = chain[-_ENDS]
            found.append((chain[_ENDS - 1], chain[_ENDS:-_ENDS]))
            for gone in chain[_ENDS:-_ENDS]:
                kids.pop(gone, None)
            kids[chain[_ENDS - 1]] = [-len(found)]
            kids[-len(found)] = [last]
    return found


def _foldable(tree: Tree, item: int) -> bool:
    return item >= 0 and tree.state[item] != IN_FLIGHT and not _promised(tree, item)


def _promised(tree: Tree, node: NodeId) -> bool:
    idea = tree.idea(node)
    return idea is not None and idea.contract is not None


def _place(kids: dict[int, list[int]], trunk: list[int]) -> dict[int, tuple[int, int]]:
    """Positions of all items, main's line first, then block by block to whichever side has room nearer to it."""
    on_trunk, line, at = set(trunk), [trunk[0]], trunk[0]
    while step := next((k for k in kids.get(at, ()) if k in on_trunk), None) or _through(kids, at, on_trunk):
        line.append(step)
        at = step
    place = {item: (x, 0) for x, item in enumerate(line)}
    used = ([0] * (len(line) + 1), [0] * (len(line) + 1))  # rows taken above and below, by column
    for x, item in enumerate(line):
        for child in sorted((k for k in kids.get(item, ()) if k not in place), key=lambda k: (k < 0, k)):
            block = _block(kids, child, x + 1)
            low: dict[int, int] = {}
            high: dict[int, int] = {}
            for column, row in block.values():
                low[column] = min(low.get(column, row), row)
                high[column] = max(high.get(column, row), row)
            reach = max(high)
            for side in used:
                side.extend([0] * (reach + 1 - len(side)))
            shifts = [max(side[c] + 1 - low[c] for c in low) for side in used]
            which = 0 if shifts[0] <= shifts[1] else 1
            for c in high:
                used[which][c] = max(used[which][c], shifts[which] + high[c])
            sign = -1 if which == 0 else 1
            for member, (column, row) in block.items():
                place[member] = (column, sign * (shifts[which] + row))
    return place


def _through(kids: dict[int, list[int]], at: int, on_trunk: set[int]) -> int | None:
    """The fold of main's own line below an item, if there is one."""
    for item in kids.get(at, ()):
        if item < 0 and any(below in on_trunk for below in kids.get(item, ())):
            return item
    return None


def _block(kids: dict[int, list[int]], top: int, x: int) -> dict[int, tuple[int, int]]:
    """One branch by itself: its first child goes straight on, every other one opens a row further out."""
    placed: dict[int, tuple[int, int]] = {}
    rows = 0
    stack = [(top, x, False)]
    while stack:
        item, column, opens = stack.pop()
        rows += opens
        placed[item] = (column, rows)
        below = sorted(kids.get(item, ()), key=lambda k: (k not in kids, k < 0, k))
        stack += [(child, column + 1, i > 0) for i, child in reversed(list(enumerate(below)))]
    return placed
