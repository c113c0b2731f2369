"""The catalogue: edits that make sense in many training scripts, found in the file at hand. No model, real edits.

`OPERATORS` is the one list of them. What they offer on a file is kept for the last files seen, because a search goes on
from the same node many times.
"""

from __future__ import annotations

from functools import lru_cache

from ..proposal import NotApplicable, Operator, Proposal
from ..source import parse
from .constants import Constants
from .coupled import Coupled
from .deletion import Drop, DropUnused
from .features import Features
from .folding import Fold
from .insertion import AddKeyword, ClipGradients
from .schedule import Schedule
from .swaps import Swap
from .wiring import Normalise, Parallel, Unwrap

OPERATORS: dict[str, Operator] = {
    "constants": Constants(),  # raise or lower a number
    "coupled": Coupled(),  # move numbers together that belong together
    "features": Features(),  # switch a feature on or off
    "swap": Swap(),  # exchange an activation, norm, optimizer or initialiser
    "schedule": Schedule(),  # change the shape of the learning rate's decay
    "add-keyword": AddKeyword(),  # pass a keyword that was left at its default
    "clip": ClipGradients(),  # bound the gradients
    "normalise": Normalise(),  # norm queries and keys
    "unwrap": Unwrap(),  # take a norm or a dropout out
    "parallel": Parallel(),  # run residual branches side by side
    "drop": Drop(),  # remove a statement
    "prune": DropUnused(),  # remove what nothing uses
    "fold": Fold(),  # settle a switch and remove the code it keeps from running
}

VERBS: dict[str, Operator] = {operator.verb: operator for operator in OPERATORS.values()}
"""Who applies a brief, by its first word."""


@lru_cache(maxsize=64)
def proposals(text: str) -> tuple[Proposal, ...]:
    """Every edit that some operator offers on the file, no brief twice; nothing for a file that does not parse."""
    found: dict[str, Proposal] = {}
    for offered in _offers(text).values():
        for proposal in [] if isinstance(offered, NotApplicable) else offered:
            found.setdefault(proposal.brief, proposal)
    return tuple(found.values())


@lru_cache(maxsize=16)
def apply(text: str, brief: str) -> str | NotApplicable:
    """The file with the edit that the brief describes."""
    operator, file = VERBS.get(brief.partition(" ")[0]), parse(text)
    if operator is None:
        return NotApplicable(f"unknown verb in {brief[:80]!r}; known: {', '.join(VERBS)}")
    if file is None:
        return NO_PYTHON
    try:
        return operator.apply(file, brief)
    except RecursionError:
        return TOO_DEEP


def explain(text: str) -> dict[str, int | str]:
    """What each operator makes of the file: how many edits it offers, or why it has none. To be shown to people."""
    offers = _offers(text)
    return {name: o.reason if isinstance(o, NotApplicable) else len(o) for name, o in offers.items()}


NO_PYTHON = NotApplicable("the file is no valid Python")
TOO_DEEP = NotApplicable("an expression of the file is nested too deeply to look at")


def _offers(text: str) -> dict[str, list[Proposal] | NotApplicable]:
    file = parse(text)
    if file is None:
        return dict.fromkeys(OPERATORS, NO_PYTHON)
    found: dict[str, list[Proposal] | NotApplicable] = {}
    for name, operator in OPERATORS.items():
        try:
            found[name] = operator.proposals(file)
        except RecursionError:
            found[name] = TOO_DEEP
    return found


__all__ = ["OPERATORS", "VERBS", "NotApplicable", "Operator", "Proposal", "apply", "explain", "proposals"]
