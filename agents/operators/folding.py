"""Fold a switch away: write its present value in where it is read, and remove the code that can no longer run.

The model does not change, the file gets shorter: what the ratchet calls a win. Only the top-level statements that read
the switch are rewritten; their comments and formatting stay.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..knobs import Knob, find_knobs, value_text
from ..meaning import is_protected
from ..proposal import NotApplicable, Proposal
from ..source import MODULE, ParsedFile, Span


class Fold:
    """`fold NAME = VALUE`."""

    verb = "fold"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every switch whose present value decides a test."""
        found = [
            Proposal(
                brief=f"fold {knob.address} = {value_text(knob.value)}",
                title=f"fold {knob.address} = {value_text(knob.value)} into the code",
                hypothesis="The switch is settled: without it, and without the code it keeps from running, the file "
                "says the same in fewer lines.",
                mechanism="removes a constant, the tests on it and the branches not taken; the model stays the same",
                category="simplify",
                weight=0.6,
            )
            for knob in find_knobs(file).values()
            if _is_settled(file, knob)
        ]
        return found or NotApplicable("no boolean, zero or named choice that decides a test")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Rewrite the statements that read the switch and remove its definition."""
        match = re.fullmatch(r"fold (\w+) = (.+)", brief)
        if match is None:
            return NotApplicable(f"not of the form 'fold NAME = VALUE': {brief[:80]!r}")
        name, value = match.groups()
        knob = find_knobs(file).get(name)
        if knob is None or not _is_settled(file, knob):
            return NotApplicable(f"{name} is no switch in this file that decides a test and nothing else")
        if value_text(knob.value) != value:
            return NotApplicable(f"{name} is {knob.text} here, not {value}")
        from ..dead_code import Unreadable, folded  # 150 ms to import, and most campaigns fold late or never

        try:
            return file.replaced(
                (span, folded(text, name, value) if text else "") for span, text in _pieces(file, knob)
            )
        except Unreadable as error:
            return NotApplicable(f"libcst cannot read the file: {error}")


def _is_settled(file: ParsedFile, knob: Knob) -> bool:
    """A constant of the module, bound once, whose value settles some test, on lines that are rewritten as a whole."""
    switch = isinstance(knob.value, bool | str) or knob.value == 0
    decides = knob.name in file.deciding and not file.dynamic and not is_protected(knob.name)
    alone = knob.place == MODULE and knob.name == knob.address and file.stores[knob.name] == 1
    return (
        switch
        and decides
        and alone
        and not any(
            isinstance(n, ast.Name) and n.id == knob.name
            for statement in file.tree.body
            if not file.is_alone_on_its_lines(statement)
            for n in ast.walk(statement)
        )
    )


def _pieces(file: ParsedFile, knob: Knob) -> Iterator[tuple[Span, str]]:
    """The top-level statements that read the switch, and its definition, which goes: an empty text."""
    for statement in file.tree.body:
        start, end = file.lines_of(statement)
        if start <= knob.span[0] < end:
            yield file.removal(statement), ""
        elif any(isinstance(n, ast.Name) and n.id == knob.name for n in ast.walk(statement)):
            yield (start, end), file.data[start:end].decode()
