"""`ratchetree watch`: a campaign in the terminal of a remote machine; tree, detail, and what is in flight, kept up to
date while the campaign runs elsewhere. Reads only."""

from __future__ import annotations

import difflib
import time
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from ..search.errors import RatchetreeError
from ..search.model import NodeId
from ..search.tree import Tree
from .chronicle import Chronicle
from .drawing import FoldRow, NodeRow, Row, draw
from .node_text import diff_text, node_text
from .numbers import Digits
from .plain import plain, plain_lines
from .reading import Reading
from .status_text import brief_text
from .subtrees import Subtrees
from .tree_text import SIGNS, STYLES, count_words

POLL_SECONDS = 0.5
_LOG_LINES = 300
_IN_FLIGHT = 8  # experiments in flight that are listed


class WatchApp(App[None]):
    """Arrows walk the rows; what is under the cursor is shown at the right."""

    CSS = """
    #status { height: auto; max-height: 9; padding: 0 1; border-bottom: solid $primary-darken-2; }
    #rows { width: 3fr; height: 1fr; border: none; text-wrap: nowrap; text-overflow: ellipsis; }
    #side { width: 4fr; border-left: solid $primary-darken-2; padding: 0 1; }
    #flying { height: auto; max-height: 10; padding: 0 1; border-top: solid $primary-darken-2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("i", "show('idea')", "idea"),
        Binding("d", "show('diff')", "diff"),
        Binding("l", "show('log')", "log"),
        Binding("f", "fold", "fold"),
        Binding("g", "main", "main"),
        Binding("p", "parent", "parent"),
    ]

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._reading = reading
        self._tree, self._chronicle, self._number = Tree(), Chronicle(), 0
        self._generation = reading.generation
        self._everything = False
        self._what = "idea"

    def compose(self) -> ComposeResult:
        """Status above, rows and detail beside one another, what flies below."""
        yield Static(id="status")
        with Horizontal():
            yield OptionList(id="rows", markup=False)
            with VerticalScroll(id="side"):
                yield Static(id="detail")
        yield Static(id="flying")
        yield Footer()

    def on_mount(self) -> None:
        """Read what is there, then look twice a second."""
        self.title = self._reading.name
        self._refresh(force=True)
        self.set_interval(POLL_SECONDS, self._refresh)
        self.query_one("#rows").focus()

    # -- keeping up ------------------------------------------------------------------------------------------------

    def _refresh(self, *, force: bool = False) -> None:
        try:
            fresh = self._reading.changed() and self._read()
        except RatchetreeError as error:
            self.query_one("#status", Static).update(Text(str(error), "red"))
            return
        running = self._reading.running()
        status = brief_text(self._tree, self._chronicle, running=running, now=time.time())
        self.query_one("#status", Static).update(status)
        if fresh or force:
            self.query_one("#flying", Static).update(self._flying())
            self._redraw()

    def _read(self) -> bool:
        if self._reading.generation != self._generation:  # another campaign began here
            self._generation = self._reading.generation
            self._tree, self._chronicle, self._number = Tree(), Chronicle(), 0
        before = self._number
        for number, event in self._reading.since(self._number):
            self._tree.apply(event)
            self._chronicle.observe(self._tree, event)
            self._number = number
        return self._number != before

    def _redraw(self) -> None:
        rows = self.query_one("#rows", OptionList)
        chosen, options = self._chosen, list(self._options())
        rows.clear_options()
        rows.add_options(options)
        self._go(self._tree.incumbent if chosen is None else chosen)
        self._detail()

    def _options(self) -> list[Option]:
        if self._tree.root_commit is None:
            return []
        drawn, _ = draw(self._tree, Subtrees(self._tree), everything=self._everything)
        digits = Digits.of(self._tree)
        return [Option(self._row(row, digits), id=str(row.node) if isinstance(row, NodeRow) else None) for row in drawn]

    def _row(self, row: Row, digits: Digits) -> Text:
        line = Text(row.guide, "dim", no_wrap=True, overflow="ellipsis")
        if isinstance(row, FoldRow):
            counts = [a + b for a, b in zip(row.along.counts, row.beside.counts, strict=True)]
            return line.append(f"+ {count_words(counts)}", "dim")
        node = self._tree.node(row.node)
        line.append(f"{SIGNS[node.verdict]} {node.id:04d} ", STYLES[node.verdict])
        if node.score:
            line.append(f"{digits.value(node.score.mean)} ", "bold" if node.id == self._tree.incumbent else "")
        if node.id == self._tree.incumbent:
            line.append("◀ main ", "green")
        return line.append(plain(node.title, 100))

    def _flying(self) -> Text:
        stages = sorted(self._chronicle.stages.items())
        lines = [f"◌ {node:04d}  {stage:<12} {plain(self._tree.node(node).title, 80)}" for node, stage in stages]
        if len(lines) > _IN_FLIGHT:
            lines[_IN_FLIGHT:] = [f"  and {len(lines) - _IN_FLIGHT} more"]
        return Text("\n".join(lines) or "nothing is in flight", "dim", no_wrap=True)

    # -- the cursor -------------------------------------------------------------------------------------------------

    @property
    def _chosen(self) -> NodeId | None:
        rows = self.query_one("#rows", OptionList)
        option = rows.highlighted_option
        return int(option.id) if option is not None and option.id is not None else None

    def _go(self, node: NodeId) -> None:
        rows = self.query_one("#rows", OptionList)
        if any(option.id == str(node) for option in rows.options):
            rows.highlighted = rows.get_option_index(str(node))

    def on_option_list_option_highlighted(self, _: OptionList.OptionHighlighted) -> None:
        """The cursor moved."""
        self._detail()

    def _detail(self) -> None:
        node = self._chosen
        if node is not None:
            self.query_one("#detail", Static).update(self._words(node))

    def _words(self, node: NodeId) -> RenderableType:
        if self._what == "diff":
            return self._diff(node)
        if self._what == "log":
            lines = plain_lines(self._reading.log(node) or "it has no log", 400)[-_LOG_LINES:]
            return Group(*(Text(line) for line in lines))
        events, curve = self._reading.events_of(node), self._reading.curve(node)
        return node_text(self._tree, node, account=self._chronicle.account, events=events, curve=curve)

    def _diff(self, node_id: NodeId) -> RenderableType:
        node = self._tree.node(node_id)
        if node.parent is None or node.commit is None:
            return Text("there is nothing to compare it with", "dim")
        above = self._tree.node(node.parent).commit
        before, after = self._reading.files(above) if above else {}, self._reading.files(node.commit)
        lines: list[str] = []
        for path in sorted(before.keys() | after.keys()):
            old, new = before.get(path, "").splitlines(), after.get(path, "").splitlines()
            lines += difflib.unified_diff(old, new, path, path, lineterm="")
        return diff_text("\n".join(lines) or "no difference that is known")

    # -- keys -------------------------------------------------------------------------------------------------------

    def action_show(self, what: str) -> None:
        """Idea, diff or log at the right."""
        self._what = what
        self._detail()
        self.query_one("#side", VerticalScroll).scroll_home(animate=False)

    def action_fold(self) -> None:
        """Fold or unfold."""
        self._everything = not self._everything
        self._redraw()

    def action_main(self) -> None:
        """To where main is."""
        self._go(self._tree.incumbent)

    def action_parent(self) -> None:
        """To the parent."""
        node = self._chosen
        if node:
            self._go(int(self._tree.parent[node]))
