"""Patches: what applies, what does not and why."""

from hypothesis import given
from hypothesis import strategies as st

from ratchetree.search.model import Edit, Failure, FailureKind, Patch, SourceFile, Sources
from ratchetree.search.patch import (
    apply_patch,
    check_syntax,
    count_lines,
    edits_between,
    hunks,
    name_of_change,
    settings_in,
)

TEXT = "A = 1\nB = 2\n\n\ndef f():\n    return A\n\n\ndef g():\n    return A\n"
SOURCES: Sources = (SourceFile(path="train.py", text=TEXT),)


def apply(*edits: Edit) -> Sources | Failure:
    return apply_patch(SOURCES, Patch(edits=edits), editable=["train.py"])


def failure(*edits: Edit) -> Failure:
    result = apply(*edits)
    assert isinstance(result, Failure)
    return result


def test_an_edit_replaces_the_one_place_that_matches() -> None:
    patched = apply(Edit(path="train.py", old="B = 2", new="B = 3"))
    assert patched == (SourceFile(path="train.py", text=TEXT.replace("B = 2", "B = 3")),)


def test_edits_apply_in_order_on_what_the_earlier_ones_left() -> None:
    patched = apply(Edit(path="train.py", old="B = 2", new="B = 3"), Edit(path="train.py", old="B = 3", new="C = 4"))
    assert not isinstance(patched, Failure)
    assert "C = 4" in patched[0].text


def test_text_that_occurs_twice_is_refused() -> None:
    found = failure(Edit(path="train.py", old="    return A\n", new="    return B\n"))
    assert found.kind is FailureKind.NO_PATCH
    assert "occurs more than once" in found.message


def test_places_that_overlap_are_two_places() -> None:
    sources = (SourceFile(path="train.py", text="b\nb\nb\n"),)
    found = apply_patch(sources, Patch(edits=(Edit(path="train.py", old="b\nb\n", new="c\n"),)), editable=["train.py"])
    assert isinstance(found, Failure)


def test_text_that_does_not_occur_is_answered_with_the_nearest_block() -> None:
    found = failure(Edit(path="train.py", old="def g():\n    return  A", new=""))
    assert found.kind is FailureKind.NO_PATCH
    assert "does not occur" in found.message
    assert "nearest, line 9" in found.detail
    assert "+    return A" in found.detail


def test_a_patch_that_changes_nothing_is_no_patch() -> None:
    assert failure(Edit(path="train.py", old="B = 2", new="B = 2")).message == "the patch changes nothing"
    assert failure().message == "the patch changes nothing"


def test_other_files_are_out_of_bounds() -> None:
    for path in ("prepare.py", "../train.py", "/etc/passwd", "./train.py", "train.py/../prepare.py"):
        found = failure(Edit(path=path, old="", new="x"))
        assert found.kind is FailureKind.OUT_OF_BOUNDS, path
        assert "train.py" in found.message


def test_an_empty_old_text_replaces_the_whole_file() -> None:
    patched = apply(Edit(path="train.py", old="", new="x = 1\n"))
    assert patched == (SourceFile(path="train.py", text="x = 1\n"),)


def test_syntax_errors_name_the_line() -> None:
    broken = (SourceFile(path="train.py", text="x = 1\ndef f(:\n"),)
    found = check_syntax(broken)
    assert found is not None
    assert found.kind is FailureKind.SYNTAX
    assert "train.py, line 2" in found.message
    assert check_syntax(SOURCES) is None
    assert check_syntax((SourceFile(path="train.py", text="x = '\0'"),)) is not None


def test_lines_are_counted_as_a_diff_counts_them() -> None:
    after = (SourceFile(path="train.py", text=TEXT.replace("B = 2\n", "B = 3\nC = 4\n").replace("def g", "def h")),)
    assert count_lines(SOURCES, after) == (3, 2)
    assert count_lines(SOURCES, SOURCES) == (0, 0)


lines = st.lists(st.sampled_from(["a", "b", "a = 1", "", "    x", "é"]), max_size=12)


@given(before=lines, after=lines, end=st.booleans())
def test_edits_between_two_texts_apply_to_exactly_the_second(before: list[str], after: list[str], end: bool) -> None:
    old, new = "\n".join(before) + "\n" * end, "\n".join(after)
    edits = edits_between("train.py", old, new)
    patched = apply_patch((SourceFile(path="train.py", text=old),), Patch(edits=edits), editable=["train.py"])
    if old == new:
        assert isinstance(patched, Failure)
    else:
        assert patched == (SourceFile(path="train.py", text=new),)


def test_counting_lines_of_a_large_repetitive_file_is_quick_because_equal_ends_are_cut_off() -> None:
    before = (SourceFile(path="train.py", text="x = 1\n" * 20_000),)
    after = (SourceFile(path="train.py", text="x = 1\n" * 10_000 + "y = 2\n" + "x = 1\n" * 10_000),)
    assert count_lines(before, after) == (1, 0)


def patch(*edits: tuple[str, str]) -> Patch:
    return Patch(edits=tuple(Edit(path="train.py", old=old, new=new) for old, new in edits))


def test_the_same_change_has_one_name_whatever_lies_around_it_and_in_whatever_order() -> None:
    one = patch(("a\nB = 2  # two\nc\n", "a\nB = 3  # three\nc\n"), ("    return A\n", "    return B\n"))
    other = patch(("def g():\n    return A\n", "def g():\n    return  B\n"), ("B = 2\n", "B = 3\n"))
    assert name_of_change(one) == name_of_change(other) is not None
    assert name_of_change(one) != name_of_change(patch(("B = 2\n", "B = 4\n"), ("return A", "return B")))


def test_comments_and_layout_are_no_change_and_whole_files_have_no_name() -> None:
    assert hunks(patch(("B = 2  # two\n", "B  =  2  # three\n"))) == ()
    assert name_of_change(patch(("B = 2  # two\n", "B = 2\n"))) is None
    assert hunks(patch(("", "B = 2\n"))) is None
    assert hunks(patch(("x = '#1'\n", "x = '#2'\n"))) != ()


def test_constants_that_a_patch_sets_are_read_off_it() -> None:
    two = settings_in(patch(("A = 1\nB: float = 0.5  # half\n", "A = 2\nB: float = 0.6  # half\n"), ("f()", "g()")))
    assert [(s.name, s.before, s.after, s.alone) for s in two] == [("A", "1", "2", False), ("B", "0.5", "0.6", False)]
    [one] = settings_in(patch(("x\nRATE=1e-3 # low\n", "x\nRATE=2e-3 # high\n")))
    assert (one.name, one.before, one.after, one.alone) == ("RATE", "1e-3", "2e-3", True)
    assert settings_in(patch(("A = 1\n", "A = 2\nC = 3\n"))) == ()
    assert settings_in(patch(("    a = 1\n", "    a = 2\n"))) == (), "no constant of the top level"
    assert settings_in(patch(("A == 1\n", "A == 2\n"))) == ()
