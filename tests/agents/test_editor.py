"""The text-editor tool in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.agents.editor import LARGEST_FILE, Editor
from ratchetree.search.model import Failure, FailureKind, Patch, SourceFile
from ratchetree.search.patch import apply_patch

TEXT = "A = 1\nB = 2\n\n\ndef main():\n    return A + B\n"
SOURCES = (SourceFile(path="train.py", text=TEXT),)


def editor() -> Editor:
    return Editor(SOURCES)


def replace(old: str, new: str, path: str = "train.py") -> dict[str, str]:
    return {"command": "str_replace", "path": path, "old_str": old, "new_str": new}


def result(tool: Editor) -> str:
    patch = tool.patch()
    assert isinstance(patch, Patch)
    after = apply_patch(SOURCES, patch, editable=("train.py",))
    assert not isinstance(after, Failure)
    return after[0].text


@pytest.mark.parametrize("path", ["train.py", "./train.py", "/train.py"])
def test_edits_add_up_to_a_patch_that_applies(path: str) -> None:
    tool = editor()
    assert tool.use(replace("A = 1", "A = 3", path)) == ("done", False)
    assert tool.use({"command": "insert", "path": path, "insert_line": 2, "insert_text": "C = 4"}) == ("done", False)
    assert result(tool) == TEXT.replace("A = 1", "A = 3").replace("B = 2\n", "B = 2\nC = 4\n")


def test_a_file_may_be_written_anew() -> None:
    tool = editor()
    tool.use({"command": "create", "path": "train.py", "file_text": "A = 9\n"})
    assert result(tool) == "A = 9\n"


def test_lines_are_shown_with_their_numbers() -> None:
    assert editor().use({"command": "view", "path": "train.py", "view_range": [5, -1]}) == (
        "     5\tdef main():\n     6\t    return A + B",
        False,
    )
    assert editor().use({"command": "view", "path": "/"}) == ("train.py", False)


def test_an_edit_that_does_not_fit_is_answered_with_the_nearest_place() -> None:
    text, is_error = editor().use(replace("def main():\n    return A - B", "def main():\n    return 0"))
    assert is_error
    assert "does not occur" in text
    assert "-    return A - B" in text
    assert "+    return A + B" in text


@pytest.mark.parametrize("path", ["prepare.py", "../train.py", "/etc/passwd", "", ".git/config", "train.py\x00"])
def test_nothing_else_can_be_edited(path: str) -> None:
    tool = editor()
    text, is_error = tool.use(replace("A", "B", path))
    assert is_error
    assert "you may edit: train.py" in text
    outcome = tool.patch()
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.OUT_OF_BOUNDS
    tool.use(replace("A = 1", "A = 3"))
    assert isinstance(tool.patch(), Patch), "it thought better of it"


def test_a_patch_of_ten_megabytes_is_not_taken() -> None:
    tool = editor()
    text, is_error = tool.use({"command": "create", "path": "train.py", "file_text": "x" * 10_000_000})
    assert (is_error, f"{LARGEST_FILE:,}" in text) == (True, True)
    assert tool.sources == SOURCES


@pytest.mark.parametrize(
    "command",
    [
        None,
        "view",
        {},
        {"command": "undo_edit", "path": "train.py"},
        {"command": "str_replace", "path": "train.py"},
        {"command": "str_replace", "path": "train.py", "old_str": "", "new_str": "x"},
        {"command": "str_replace", "path": "train.py", "old_str": 1, "new_str": 2},
        {"command": "create", "path": "train.py", "file_text": ""},
        {"command": "create", "path": "train.py", "file_text": "A = '\ud800'"},
        {"command": "insert", "path": "train.py", "insert_line": 99, "insert_text": "x"},
        {"command": "insert", "path": "train.py", "insert_line": "1", "insert_text": "x"},
    ],
)
def test_input_that_makes_no_sense_is_answered_and_changes_nothing(command: Any) -> None:
    tool = editor()
    _, is_error = tool.use(command)
    assert is_error
    assert tool.sources == SOURCES
    assert isinstance(tool.patch(), Failure)


@given(
    commands=st.lists(
        st.fixed_dictionaries(
            {"command": st.sampled_from(["view", "str_replace", "insert", "create"]), "path": st.just("train.py")},
            optional={
                "old_str": st.sampled_from(["A", "A = 1", "B = 2\n", "zz"]) | st.text(max_size=5),
                "new_str": st.text(max_size=5),
                "insert_line": st.integers(-1, 9),
                "insert_text": st.text(max_size=5),
                "file_text": st.text(max_size=9),
                "view_range": st.lists(st.integers(-2, 9), max_size=3),
            },
        ),
        max_size=5,
    )
)
def test_whatever_is_done_the_patch_leads_to_the_files_as_they_are(commands: list[dict[str, Any]]) -> None:
    tool = editor()
    for command in commands:
        tool.use(command)
    patch = tool.patch()
    if isinstance(patch, Patch):
        assert apply_patch(SOURCES, patch, editable=("train.py",)) == tool.sources
