"""Other people's text, before a model sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.agents.fencing import clean, one_line


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07plain", "red plain"),
        ("10 %\r20 %\r30 %\nnext\r\n", "30 %\nnext\n"),
        ("a\u202eb\u2066c\u200bd\ufeffe\U000e0041f", "abcdef"),
        ("bell\x07 null\x00 tab\t", "bell null tab\t"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("key sk-ant-api03-AAAAAAAAAAAAAAAAAAAA end", "key [redacted] end"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwx", "Authorization: [redacted]"),
        (
            "hf_abcdefghijklmnopqrstuvwx AKIAABCDEFGHIJKLMNOP",
            "[redacted] [redacted]",
        ),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", "[redacted]"),
    ],
)
def test_what_does_not_belong_is_gone(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_a_storm_of_carriage_returns_is_one_line() -> None:
    assert clean("\r".join(f"{i} %" for i in range(200_000)), 1000) == "199999 %"


def test_what_is_too_long_keeps_its_beginning_and_most_of_its_end() -> None:
    text = clean("begin " + "x" * 10_000_000 + " end", 300)
    assert text.startswith("begin ")
    assert text.endswith(" end")
    assert len(text) < 400


@given(st.text(), st.integers(10, 100))
def test_cleaning_is_bounded_printable_and_does_nothing_the_second_time(text: str, limit: int) -> None:
    once = clean(text, limit)
    assert len(once) <= limit + 60
    assert all(c.isprintable() or c in "\n\t" or ord(c) > 0x9F for c in once)
    assert clean(once, len(once)) == once
    assert len(one_line(text, limit)) <= limit
    assert "\n" not in one_line(text, limit)
