"""Text of unknown origin, before it reaches a terminal, a model or the journal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.search.plain_text import without_controls


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07 a\u202eb\u200bc\x00\x08d", "red  abcd"),
        ("10%\r20%\r30%\nnext\r\n", "30%\nnext\n"),
        ("\x9b31mred\x9b0m \x9d0;title\x9cplain", "red plain"),
        ("a\x1bPq#0;2;0;0;0\x1b\\b \x1b_payload\x1b\\c", "ab c"),
        ("soft\u00adhyphen, tag \U000e0041, lone \ud800, bom \ufeff", "softhyphen, tag , lone , bom "),
        ("tab\there\n\n  indented ü 漢字 🙂", "tab\there\n\n  indented ü 漢字 🙂"),
    ],
)
def test_what_a_terminal_would_obey_or_nobody_sees_is_gone(text: str, plain: str) -> None:
    assert without_controls(text) == plain


@given(st.text())
def test_doing_it_again_changes_nothing(text: str) -> None:
    once = without_controls(text)
    assert without_controls(once) == once
    assert "\x1b" not in once
    assert "\r" not in once
