"""Whatever a model writes is shown as harmless text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ratchetree.view.plain import Lines, plain, plain_lines, to_ascii


def test_hostile_text_becomes_one_harmless_line(hostile):
    assert {text: plain(text) for text in hostile} == hostile


@given(st.text(max_size=200), st.integers(0, 40))
def test_a_line_never_has_a_control_character_and_never_gets_wider_than_asked(text, limit):
    shown = plain(text, limit)
    assert cell_len(shown) <= limit
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("halve the batch", 15, "halve the batch"),
        ("halve the batch", 14, "halve the bat…"),
        ("halve the batch", 7, "halve…"),  # no blank before the cut
        ("大きいバッチ", 12, "大きいバッチ"),  # two cells each
        ("大きいバッチ", 6, "大き…"),
        ("x", 0, ""),
        ("x" * 10_000, 4, "xxx…"),
    ],
)
def test_the_cut_counts_terminal_cells(text, limit, shown):
    assert plain(text, limit) == shown


def test_lines_keep_their_indentation_and_lose_their_escapes():
    assert plain_lines("Traceback:\n  File \x1b[1mtrain.py\x1b[0m\n\tx = 1  \n") == [
        "Traceback:",
        "  File train.py",
        "    x = 1",
    ]


def test_ascii_takes_as_many_cells():
    assert to_ascii("├─● 0003 −0.5 ±0.1 ×3 … → größe 大") == "|-* 0003 -0.5 ~0.1 x3 > > gr??e ??"


def test_a_row_that_is_too_long_says_that_it_is_cut(show):
    assert show(Lines([(("abc", ""), ("   ", ""), ("defghi", "red"))]), width=9) == "abc   de…\n"
    assert show(Lines([(("abc", ""), ("   ", ""))]), width=9) == "abc\n"
