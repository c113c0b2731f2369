"""Where every node of a tree stands on a screen, row by row, and which are folded.

Main's line is the trunk, flush left; everything else hangs off it. A subtree is drawn as a line too, its heaviest, with
what branches off indented once more, so that indentation grows with the logarithm of the size at most, never with the
depth. Long fans and long lines fold: the gentlest folding that fits on about a screen is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from ..search.model import NodeId
from ..search.tree import IN_FLIGHT, Tree
from .subtrees import Subtrees, Total


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """How much of a tree is drawn."""

    branches: int  # shown at one node; the rest is summed up in one row
    trunk: int  # nodes shown of main's line
    line: int  # nodes shown of any other line
    depth: int  # how deep branches off branches are drawn


_ANY = 10**9
UNFOLDED = Folding(branches=_ANY, trunk=_ANY, line=_ANY, depth=_ANY)
FOLDINGS = (  # gentlest first; the last fits every tree
    UNFOLDED,
    Folding(branches=6, trunk=50, line=16, depth=6),
    Folding(branches=4, trunk=40, line=10, depth=4),
    Folding(branches=3, trunk=30, line=8, depth=3),
    Folding(branches=2, trunk=24, line=6, depth=2),
    Folding(branches=1, trunk=20, line=4, depth=1),
    Folding(branches=0, trunk=20, line=4, depth=0),
)
ROWS = 60
"""Rows that a folded tree may take."""
_FLYING = 8  # experiments in flight that are shown at one node, however much is folded


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node with the lines left of it."""

    guide: str
    below: str  # the lines left of a further row about it
    node: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRow:
    """What stands for nodes that are not shown."""

    guide: str
    beside: Total  # branches
    along: Total = field(default_factory=Total)  # nodes of the line itself


Row = NodeRow | FoldRow


def draw(tree: Tree, subtrees: Subtrees, *, everything: bool = False) -> tuple[list[Row], Folding]:
    """All rows from top to bottom, and how they were folded; `everything` folds nothing."""
    if everything:
        return list(_Drawing(tree, subtrees, UNFOLDED).rows()), UNFOLDED
    rows: list[Row] = []
    folding = UNFOLDED
    for folding in FOLDINGS:
        rows = list(islice(_Drawing(tree, subtrees, folding).rows(), ROWS + 1))
        if len(rows) <= ROWS:
            break
    return rows, folding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    nodes: list[NodeId]  # each the parent of the next
    outer: str = ""  # guide of what it hangs off
    joint: str = ""  # how it hangs there; empty for the trunk
    level: int = 0

    @property
    def inner(self) -> str:
        """The guide of everything below its first node."""
        return self.outer + {"": "", "├─": "│ ", "└─": "  "}[self.joint]


class _Drawing:
    def __init__(self, tree: Tree, subtrees: Subtrees, folding: Folding) -> None:
        self._trunk = _Line(nodes=tree.path(tree.incumbent))
        self._known = subtrees
        self._folding = folding

    def rows(self) -> Iterator[Row]:
        """Top to bottom; a stack of half-drawn lines instead of recursion."""
        lines = [self._draw(self._trunk)]
        while lines:
            item = next(lines[-1], None)
            if item is None:
                lines.pop()
            elif isinstance(item, _Line):
                lines.append(self._draw(item))
            else:
                yield item

    def _draw(self, line: _Line) -> Iterator[Row | _Line]:
        """The nodes of one line, and after each the branches that leave it there."""
        nodes = line.nodes
        first, last = self._folded(line)
        for i, node in enumerate(nodes):
            if i == first:
                yield self._fold_along(line, first, last)
            if first <= i < last:
                continue
            below = line.inner + ("│ " if self._children(node) else "  ")
            yield NodeRow(guide=line.inner if i else line.outer + line.joint, below=below, node=node)
            yield from self._branches(line, node, follower=nodes[i + 1] if i + 1 < len(nodes) else None)

    def _folded(self, line: _Line) -> tuple[int, int]:
        """The stretch of a line that is folded: from the first index up to the last, not included."""
        length, shown = len(line.nodes), self._folding.line if line.joint else self._folding.trunk
        if length <= shown:
            return length, length
        head = shown // 4
        return head, length - (shown - head - 1)

    def _fold_along(self, line: _Line, first: int, last: int) -> FoldRow:
        folded, on_the_line = line.nodes[first:last], set(line.nodes[first : last + 1])
        beside = [child for node in folded for child in self._children(node) if child not in on_the_line]
        return FoldRow(
            guide=line.inner + "⋮ ", along=self._known.total((), alone=folded), beside=self._known.total(beside)
        )

    def _branches(self, line: _Line, node: NodeId, *, follower: NodeId | None) -> Iterator[Row | _Line]:
        shown, rest = self._chosen([child for child in self._children(node) if child != follower], line.level)
        for child in shown:
            ends = follower is None and not rest and child == shown[-1]
            joint = "└─" if ends else "├─"
            yield _Line(nodes=self._line_from(child), outer=line.inner, joint=joint, level=line.level + 1)
        if rest:
            joint = "└─" if follower is None else "├─"
            yield FoldRow(guide=f"{line.inner}{joint}┄ ", beside=self._known.total(rest))

    def _chosen(self, branches: list[NodeId], level: int) -> tuple[list[NodeId], list[NodeId]]:
        """Which branches are shown, ascending, and the others; one node alone is not worth folding."""
        room = self._folding.branches if level < self._folding.depth else 0
        room = max(room, min(_FLYING, sum(self._known.state(branch) == IN_FLIGHT for branch in branches)))
        if len(branches) <= room:
            return branches, []
        ranked = sorted(branches, key=self._interest)
        if len(branches) == room + 1 and self._known.size(ranked[-1]) == 1:
            return branches, []
        return sorted(ranked[:room]), ranked[room:]

    def _interest(self, node: NodeId) -> tuple[bool, bool, float, int, NodeId]:
        """What is worth a row: what runs, what moved main, what scored well, what led on."""
        known = self._known
        return (not known.in_flight(node), known.first_kept(node) < 0, known.best_loss(node), -known.size(node), node)

    def _line_from(self, node: NodeId) -> list[NodeId]:
        """Down the heaviest child, as long as something hangs off it or it is the only one."""
        line = [node]
        while children := self._children(line[-1]):
            heaviest = max(children, key=lambda child: (self._known.size(child), -child))
            if len(children) > 1 and self._known.size(heaviest) == 1:
                break
            line.append(heaviest)
        return line

    def _children(self, node: NodeId) -> list[NodeId]:
        return self._known.children.get(node, [])
