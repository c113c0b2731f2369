"""Text made harmless before it reaches a terminal, and pictures made of characters that the terminal has.

Titles, sentences and logs are written by models and by training scripts: whatever they hold is shown as plain text.
Nothing here knows what a node is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

Line = tuple[tuple[str, str], ...]
"""One row of a screen: pieces of text, each with the name of a rich style. Never wrapped; cut at the right edge."""

_SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)")
_STACKED = re.compile(
    r"([\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{2})[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)


class _Harmless(dict[int, str]):
    """What stands for a character on screen; filled as characters turn up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        match unicodedata.category(character):
            case "Cc" | "Zl" | "Zp" | "Zs":  # control characters and every kind of space
                shown = " "
            case "Cf":  # directions, joiners, invisible tags: they change how their neighbours read
                shown = ""
            case "Cs" | "Co" | "Cn":
                shown = "\N{REPLACEMENT CHARACTER}"
            case _:
                shown = "" if 0xFE00 <= code <= 0xFE0F else character  # variation selectors change widths
        self[code] = shown
        return shown


_HARMLESS = _Harmless()


def plain(text: str, limit: int | None = None) -> str:
    """Any text as one harmless line, cut to at most `limit` terminal cells with "…" at the cut."""
    return _cut(" ".join(_clean(text).split()), limit)


def plain_lines(text: str, limit: int | None = None) -> list[str]:
    """Any text as harmless lines that keep their indentation (tracebacks, diffs), each cut like `plain`."""
    return [_cut(_clean(line).rstrip(), limit) for line in text.expandtabs(4).splitlines()]


def _clean(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return _STACKED.sub(r"\1", _SEQUENCE.sub("", text).translate(_HARMLESS))


def _cut(text: str, limit: int | None) -> str:
    if limit is None or (len(text) <= limit and text.isascii()):
        return text
    head = text[: 3 * limit + 3]  # a cell holds a character and at most two marks
    if len(head) == len(text) and cell_len(text) <= limit:
        return text
    return set_cell_size(head, limit - 1).rstrip() + "…" if limit > 0 else ""


# One character for one, so that columns stay where they are.
_ASCII = str.maketrans("●○✗◌◀│├└─⋮┄…→×±−≤†‡·█░▁▂▃▄▅▆▇", "*ox.<||`-:.>>x~-<^#-#._.-~=+*")


def to_ascii(text: str) -> str:
    """The same number of cells in ASCII; what has no likeness becomes "?"."""
    text = text.translate(_ASCII)
    return text if text.isascii() else "".join(c if c.isascii() else "?" * cell_len(c) for c in text)


class Portable:
    """A renderable that falls back to ASCII on a terminal whose encoding cannot show more."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            if options.ascii_only and not segment.control:
                yield Segment(to_ascii(segment.text), segment.style)
            else:
                yield segment


Fact = tuple[str, str | Text]
"""A name and what is to be said of it."""


class Facts:
    """Names and what is to be said of them, side by side; a name that comes twice running is shown once."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts = list(facts)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left = max((len(name) for name, _ in self._facts), default=0) + 2
        before = ""
        for name, words in self._facts:
            text = words if isinstance(words, Text) else Text(words)
            for line in text.wrap(console, max(10, options.max_width - left)):
                line.rstrip()
                row = Text.assemble(("" if name == before else name).ljust(left) if line else "", line, end="\n")
                row.stylize("dim", 0, left)
                before = name
                yield Portable(row)


class Lines:
    """Rows as they are, as `Portable` as the rest: faster than rich's text, which a tree of 100,000 rows needs."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ascii_only, newline = options.ascii_only, Segment.line()
        for line in self._lines:
            room, blank = options.max_width, ""
            for text, style in line:
                if text.isspace():  # joined to what follows: a third fewer segments
                    blank += text
                    continue
                shown = blank + (to_ascii(text) if ascii_only else text)
                blank, width = "", len(shown) if shown.isascii() else cell_len(shown)
                if width > room:
                    shown, width = _cut(shown, room), room
                    shown = to_ascii(shown) if ascii_only else shown
                if shown:
                    yield Segment(shown, console.get_style(style) if style else None)
                room -= width
            yield newline
