"""What an operator is: it lists the edits it could make on a file, and makes the one that a brief describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .source import ParsedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One concrete edit. The brief alone determines it, on any file it fits."""

    brief: str  # one line, "set MATRIX_LR = 0.025"; starts with the operator's verb
    title: str  # "raise MATRIX_LR 0.02 → 0.025"
    hypothesis: str  # why it may help
    mechanism: str  # how it works on the model or the training
    category: str  # optimizer, schedule, architecture, batch, regularisation, initialisation, simplify, ...
    weight: float  # how likely it is drawn before anything is known; > 0
    knob: str = ""  # proposals with the same knob move the same thing; empty = stands for itself
    step: float = 0.0  # how far and which way along the knob; 0 = no order
    structural: bool = False  # changes the shape of the model or the code rather than a number


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """Why an operator or a brief does not fit a file: one line that can be shown."""

    reason: str


class Operator(Protocol):
    """A family of edits. Pure: neither method changes anything."""

    verb: str  # the first word of its briefs

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every edit it could make here, in the file's order; never an empty list."""

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """The file's new text, different from the old one."""


def short(title: str, limit: int = 72) -> str:
    """The title, cut to what fits a line of the tree."""
    return title if len(title) <= limit else title[: limit - 1] + "…"
