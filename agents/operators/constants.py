"""Move one number: raise or lower a constant, within what its name allows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from ..families import Family
from ..knobs import Knob, apply_set, find_knobs, number_of, set_brief
from ..meaning import family_of
from ..proposal import NotApplicable, Proposal
from ..scales import Company, Number, number_text
from ..source import MODULE, ParsedFile


class Constants:
    """`set NAME = VALUE` for every number whose name says what it is (or is written in capitals)."""

    verb = "set"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """A few neighbours of each number."""
        found = [p for knob, family in numbers(file) for p in _moves(file, knob, family)]
        return found or NotApplicable("no numeric constant whose name says what it means")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Write the new value in place of the old one."""
        return apply_set(file, brief)


@lru_cache(maxsize=16)
def numbers(file: ParsedFile) -> tuple[tuple[Knob, Family], ...]:
    """Every number that may be moved, with what it means."""
    found: list[tuple[Knob, Family]] = []
    for knob in find_knobs(file).values():
        value = number_of(knob)
        family = family_of(knob.name, value) if value is not None and knob.read else None
        if family is not None and (family.category != "constant" or knob.place == MODULE):
            found.append((knob, family))
    return tuple(found)


def company_of(file: ParsedFile, knob: Knob) -> Company:
    """The numbers beside a knob that it must fit."""
    by_family: dict[str, Number] = {}
    shares = 0.0
    for other, family in numbers(file):
        value = number_of(other)
        if other.place == knob.place and other.address != knob.address and value is not None:
            by_family.setdefault(family.name, value)
            if family.name in ("warm-up", "warm-down"):
                shares += value
    whole = {name: int(by_family[name]) if name in by_family else None for name in _WHOLE}
    return Company(
        width=whole["width"],
        heads=whole["heads"],
        key_heads=whole["key/value heads"],
        head_dim=whole["head size"],
        shares=float(shares),
    )


_WHOLE = ("width", "heads", "key/value heads", "head size")


def _moves(file: ParsedFile, knob: Knob, family: Family) -> Iterator[Proposal]:
    value = number_of(knob)
    if value is None or value == 0:  # switching on is another operator's business, and so is switching off
        return
    around = [v for v in family.scale.around(value, company_of(file, knob)) if v != 0]
    if family.name == "sequence length" and _is_bounded_outside(file):
        around = [v for v in around if v < value]
    ranked = [(0.6**rank, new) for rank, new in _ranked(around, value)]
    for share, new in ranked:
        higher = new > value
        yield Proposal(
            brief=set_brief({knob.address: new}),
            title=f"{'raise' if higher else 'lower'} {knob.address} {number_text(value)} → {number_text(new)}",
            hypothesis=family.raising if higher else family.lowering,
            mechanism=family.mechanism,
            category=family.category,
            weight=family.weight * share / sum(share for share, _ in ranked),
            knob=knob.address,
            step=_distance(value, new),
            structural=family.structural,
        )


def _ranked(around: list[Number], value: Number) -> Iterator[tuple[int, Number]]:
    """Neighbours with how many others lie between them and the value."""
    below, above = [v for v in around if v < value], [v for v in around if v > value]
    yield from ((len(below) - 1 - i, v) for i, v in enumerate(below))
    yield from enumerate(above)


def _distance(value: Number, new: Number) -> float:
    return math.log(new / value) if value > 0 and new > 0 else float(new - value)


def _is_bounded_outside(file: ParsedFile) -> bool:
    """Whether the model's length comes from elsewhere (`task.seq_len`), so that longer rows would not fit it."""
    own = {k.name for k in find_knobs(file).values()}
    return any(
        name not in own and (family := family_of(name, 2)) is not None and family.name == "sequence length"
        for name in file.attributes
    )
