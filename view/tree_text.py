"""The tree of experiments in a terminal: the drawing with its columns, a heading and a legend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult

from ..search.contracts import Account
from ..search.model import ExpansionKind, Verdict
from ..search.tree import FAILED, IN_FLIGHT, KEPT, PARKED, ROOT, Node, Tree
from .drawing import UNFOLDED, FoldRow, NodeRow, Row, draw
from .numbers import Digits, count
from .plain import Line, Lines, plain
from .setbacks import Setback, setback
from .subtrees import Subtrees, Total

SIGNS = {Verdict.KEPT: "●", Verdict.PARKED: "○", Verdict.FAILED: "✗", None: "◌"}
"""What a verdict looks like; never colour alone."""
STYLES = {Verdict.KEPT: "bold green", Verdict.PARKED: "", Verdict.FAILED: "red", None: "cyan"}
MARKS = {"printed": "†", "synthetic": "‡"}
"""Behind a score that is no trusted measurement, by `Node.by`."""
MARK_WORDS = {
    "printed": "† self-reported: printed by the training script, not measured",
    "synthetic": "‡ synthetic: computed from a landscape, nothing was trained",
}


class TreeText:
    """The tree as something that rich prints at any width; `account`: for what came of setback contracts; `everything`
    unfolds it."""

    def __init__(self, tree: Tree, account: Account | None = None, *, everything: bool = False) -> None:
        self._tree = tree
        self._account = account or Account()
        self._everything = everything

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Lines(self._lines(options.max_width))

    def _lines(self, width: int) -> Iterator[Line]:
        if ROOT not in self._tree:
            yield (("no experiments yet: `ratchetree run` starts", ""),)
            return
        subtrees = Subtrees(self._tree)
        rows, folding = draw(self._tree, subtrees, everything=self._everything)
        table = _Table(self._tree, self._account, rows, width)
        yield from _flow(_summary(self._tree), width)
        yield ()
        yield from table.lines()
        yield ()
        yield from _flow(_legend(self._tree, table.marks, folded=folding is not UNFOLDED), width)


def _summary(tree: Tree) -> list[str]:
    digits, root, main = Digits.of(tree), tree.node(ROOT), tree.node(tree.incumbent)
    words = [f"{count(tree.experiments, 'experiment')}: {count_words(tree.counts)}" if tree.experiments else "the root"]
    if root.score and main.score and main.id != ROOT:
        before, after = root.score.mean, main.score.mean
        mark = MARKS.get(main.by, "")
        words.append(
            f"{plain(tree.metric.name, 40)} {digits.value(before)}{mark} → {digits.value(after)}{mark} "
            f"({digits.change(before, after)} {digits.better(before, after)})"
        )
    return words


def _legend(tree: Tree, marks: set[str], *, folded: bool) -> list[str]:
    better = "−" if tree.metric.direction == "min" else "+"
    return [
        *(f"{sign} {verdict or 'in flight'}" for verdict, sign in SIGNS.items()),
        "◀ main is here",
        f"vs: change of {plain(tree.metric.name, 40)}, {better} is better",
        "×n trials, ± their sd",
        *(MARK_WORDS[by] for by in MARKS if by in marks),
        *(["`ratchetree tree --all` shows what is folded"] if folded else []),
    ]


def _flow(pieces: Iterable[str], width: int) -> Iterator[Line]:
    """Pieces beside one another, as many as fit on a row."""
    row = ""
    for piece in pieces:
        if row and cell_len(row) + 3 + cell_len(piece) > width:
            yield ((row, "dim"),)
            row = ""
        row += f"   {piece}" if row else piece
    yield ((row, "dim"),)


def count_words(counts: list[int]) -> str:
    """ "5 kept, 16 parked, 1 failed" of counts by state."""
    names = ((KEPT, "kept"), (PARKED, "parked"), (FAILED, "failed"), (IN_FLIGHT, "in flight"))
    return ", ".join(f"{counts[state]:,} {name}" for state, name in names if counts[state])


# -- columns ------------------------------------------------------------------------------------------------------

_Cell = tuple[str, str]  # text and style
_EMPTY: _Cell = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    heading: str = ""
    gap: int  # blanks left of it
    left: bool = False  # aligned left


_COLUMNS = {
    "mean": _Column(gap=2),
    "sd": _Column(gap=1, left=True),
    "n": _Column(gap=1, left=True),
    "parent": _Column(heading="vs parent", gap=2),
    "word": _Column(gap=1, left=True),
    "main": _Column(heading="vs main", gap=2),
    "lines": _Column(heading="lines", gap=2),
}
_BY_IMPORTANCE = ("mean", "parent", "n", "main", "lines", "sd", "word")
_TITLE = 28  # cells that titles keep before a further column is shown
_LONG = 100  # and the most they get


class _Table:
    """Rows cut into columns; what does not fit beside a readable title is left out, least important first."""

    def __init__(self, tree: Tree, account: Account, rows: list[Row], width: int) -> None:
        self._tree, self._account, self._rows, self._width = tree, account, rows, width
        self._digits = Digits.of(tree)
        main = tree.node(tree.incumbent)
        self._main = main.score.mean if main.score else None
        self.marks: set[str] = set()  # scorers that the legend has to explain
        self._nodes = [tree.node(row.node) if isinstance(row, NodeRow) else None for row in rows]
        self._cells = [self._numbers(node) if node else {} for node in self._nodes]
        self._graph = max(len(row.guide) + len(_name(node)) for row, node in zip(rows, self._nodes, strict=True))
        self._choose_columns()

    def lines(self) -> Iterator[Line]:
        """The heading and the rows."""
        heading = {name: (column.heading, "dim") for name, column in _COLUMNS.items()}
        yield self._line(("".ljust(self._graph), ""), heading, ("what was tried", "dim"))
        for row, node, cells in zip(self._rows, self._nodes, self._cells, strict=True):
            guide = (row.guide, "dim")
            if isinstance(row, FoldRow):
                yield guide, (plain(self._fold_words(row), self._width - len(row.guide)), "dim")
            elif node:
                name = (_name(node).ljust(self._graph - len(row.guide)), STYLES[node.verdict])
                yield guide, *self._line(name, cells, *self._title(node))
                promised = setback(self._tree, node, self._account)
                if promised and isinstance(row, NodeRow):
                    words = setback_words(promised, self._digits)
                    yield (row.below, "dim"), (plain(words, self._width - len(row.below)), "yellow")

    def _choose_columns(self) -> None:
        titles = max((self._title_width(node) for node in self._nodes if node), default=0)
        self._room = self._width - self._graph - 2
        self._wide: dict[str, int] = {}
        for name in _BY_IMPORTANCE:
            wide = max((len(cells.get(name, _EMPTY)[0]) for cells in self._cells), default=0)
            needed = max(wide, len(_COLUMNS[name].heading)) + _COLUMNS[name].gap
            if wide and (name == "mean" or self._room - needed >= min(titles, _TITLE)):
                self._wide[name] = needed - _COLUMNS[name].gap
                self._room -= needed
        self._room = max(8, min(self._room, titles))

    def _title_width(self, node: Node) -> int:
        tag = self._tag(node)
        return cell_len(plain(node.title, _LONG)) + (len(tag) + 3 if tag else 0)

    def _line(self, name: _Cell, cells: dict[str, _Cell], *title: _Cell) -> Line:
        line = [name]
        for key in (key for key in _COLUMNS if key in self._wide and key != "lines"):
            line.append(self._aligned(key, cells))
        line += [("  ", ""), *title]
        if "lines" in self._wide and "lines" in cells:
            text, style = self._aligned("lines", cells)
            line.append((" " * (self._room - sum(cell_len(text) for text, _ in title)) + text, style))
        return tuple(line)

    def _aligned(self, key: str, cells: dict[str, _Cell]) -> _Cell:
        (text, style), column, wide = cells.get(key, _EMPTY), _COLUMNS[key], self._wide[key]
        return " " * column.gap + (text.ljust(wide) if column.left else text.rjust(wide)), style

    def _numbers(self, node: Node) -> dict[str, _Cell]:
        cells: dict[str, _Cell] = {}
        if node.lines_added or node.lines_removed:
            cells["lines"] = (f"+{node.lines_added} −{node.lines_removed}", "dim")
        if node.score is None:
            return cells
        if node.by in MARKS:
            self.marks.add(node.by)
        mean = node.score.mean
        cells["mean"] = (self._digits.value(mean) + MARKS.get(node.by, ""), STYLES[node.verdict])
        if node.score.sd is not None:
            cells["n"] = (f"×{node.score.n}", "dim")
            cells["sd"] = (f"±{self._digits.value(node.score.sd)}", "dim")
        if node.parent is not None and self._tree.trials[node.parent]:
            before = self._tree.metric.value(float(self._tree.loss[node.parent]))
            word = self._digits.better(before, mean)
            cells["parent"] = (self._digits.change(before, mean), _WORD_STYLES[word])
            cells["word"] = (word, _WORD_STYLES[word])
        if self._main is not None and node.id != self._tree.incumbent:
            word = self._digits.better(self._main, mean)
            cells["main"] = (self._digits.change(self._main, mean), _WORD_STYLES[word])
        return cells

    def _title(self, node: Node) -> tuple[_Cell, ...]:
        """What is special about the node, and its title, as wide as there is room."""
        tag = plain(self._tag(node), self._room)
        if not tag:
            return ((plain(node.title, self._room), ""),)
        return (tag, STYLES[node.verdict]), (" " + plain(f"· {node.title}", self._room - cell_len(tag) - 1), "")

    def _tag(self, node: Node) -> str:
        tags = ["◀ main"] if node.id == self._tree.incumbent else []
        tags += ["in flight"] if node.verdict is None and node.id != ROOT else []
        tags += [str(node.failure.kind)] if node.failure else []
        tags += [str(node.asked)] if node.asked in (ExpansionKind.REPAIR, ExpansionKind.TRANSPLANT) else []
        return ", ".join(tags)

    def _fold_words(self, row: FoldRow) -> str:
        beside = self._total_words(row.beside)
        if not row.along.size:
            return f"+{beside}"
        along = self._total_words(row.along)
        return f"{along}; beside them {beside}" if beside else along

    def _total_words(self, total: Total) -> str:
        """ "12 parked, 3 failed: best 2.1101 (0004), worst 2.3000"."""
        words = count_words(total.counts)
        if total.best < 0:
            return words
        best, worst = (
            self._digits.value(self._tree.metric.value(float(self._tree.loss[node])))
            for node in (total.best, total.worst)
        )
        mark = MARKS.get(self._tree.node(total.best).by, "")
        words += f": best {best}{mark} ({total.best:04d})"
        return words if total.worst == total.best else f"{words}, worst {worst}{mark}"


def setback_words(promised: Setback, digits: Digits) -> str:
    """What a setback contract promised and what came of it."""
    contract, value = promised.contract, digits.value
    used = f"({promised.used} of {contract.horizon})"
    words = f"setback {promised.state} " + (used if promised.paid_by is None else f"by {promised.paid_by:04d}")
    if promised.short is not None and promised.short > 0:
        words += f", {value(promised.short)} behind main"
    dip = "not measured" if promised.dip is None else value(max(0.0, promised.dip))
    return f"{words}, dip {dip} of ≤{value(contract.max_dip)}"


_WORD_STYLES = {"better": "green", "worse": "red", "equal": "dim"}


def _name(node: Node | None) -> str:
    return f"{SIGNS[node.verdict]} {node.id:04d}" if node else ""
