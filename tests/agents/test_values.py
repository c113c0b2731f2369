"""A change of a value finds its place by the value's name."""

from __future__ import annotations

import pytest

from ratchetree.agents.merging import merged, no_merge
from ratchetree.agents.values import carried
from ratchetree.search.model import SourceFile, Sources

BASE = '''"""ä"""
DEPTH = 4


class Config:
    width: int = 96  # ü
    heads: int = 3


def optimizers(model, lr=0.02, *, decay=0.1):
    return AdamW(model.parameters(), lr=lr, betas=(0.8, 0.95), fused=True)


def main(steps=10):
    x = DEPTH
    x = x + 1
    rate = schedule(steps, end=0.1)
    return x * rate
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DEPTH = 4", "DEPTH = 6"),
        ("width: int = 96", "width: int = 128"),
        ("lr=0.02", "lr=0.04"),
        ("decay=0.1", "decay=0.0"),
        ("betas=(0.8, 0.95)", "betas=(0.9, 0.99)"),
        ("end=0.1", "end=0.0"),
        ("schedule(steps, end=0.1)", "cosine(steps, end=0.1)"),
    ],
)
def test_a_value_is_found_wherever_it_has_moved(old: str, new: str) -> None:
    ours = BASE.replace("DEPTH = 4\n", "").replace("class Config", "A = 'ö'\nDEPTH = 4\n\n\nclass Config")
    ours = ours.replace("heads: int = 3", "heads: int = 4").replace("fused=True", "fused=False, eps=1e-10")
    theirs = BASE.replace(old, new)
    assert carried(base=BASE, theirs=theirs, ours=ours) == (theirs, ours.replace(old, new))


def test_two_values_are_no_conflict_but_two_expressions_are() -> None:
    theirs = BASE.replace("DEPTH = 4", "DEPTH = 6").replace("schedule(steps, end=0.1)", "cosine(steps)")
    ours = BASE.replace("DEPTH = 4", "DEPTH = 5").replace("schedule(steps, end=0.1)", "linear(steps)")
    base, here = carried(base=BASE, theirs=theirs, ours=ours)
    assert here == ours.replace("DEPTH = 5", "DEPTH = 6")
    assert base == BASE.replace("DEPTH = 4", "DEPTH = 6")


@pytest.mark.parametrize("text", ["def f(:\n", "A = 1\r\n", "x = " + "(" * 500, ""])
def test_what_cannot_be_read_is_left_to_others(text: str) -> None:
    assert carried(base=text, theirs=BASE, ours=BASE) == (text, BASE)


def test_names_that_are_given_values_twice_are_not_told_by_their_names() -> None:
    theirs = BASE.replace("x = x + 1", "x = x + 2")
    assert carried(base=BASE, theirs=theirs, ours=BASE) == (BASE, BASE)


def test_a_knob_that_both_lines_turned_takes_the_value_that_is_brought_in_any_scope() -> None:
    theirs = BASE.replace("width: int = 96", "width: int = 128").replace("betas=(0.8, 0.95)", "betas=(0.9, 0.95)")
    ours = BASE.replace("width: int = 96", "width: int = 64").replace("betas=(0.8, 0.95)", "betas=(0.8, 0.99)")

    def files(text: str) -> Sources:
        return (SourceFile(path="train.py", text=text),)

    assert merged(base=files(BASE), theirs=files(theirs), ours=files(ours), merge=no_merge) == files(theirs)
