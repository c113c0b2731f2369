"""Other people's diffs, and git's three-way merge of one file."""

from __future__ import annotations

import difflib

import pytest

from ratchetree.search.errors import WrongUse
from ratchetree.search.model import SourceFile
from ratchetree.storage.patches import apply_diff, merge_text

TEXT = "A = 1\nB = 2\n\n\ndef main():\n    return A\n"
SOURCES = (SourceFile(path="model/net.py", text="x = 1\n"), SourceFile(path="train.py", text=TEXT))


def diff(before: str, after: str, path: str = "train.py", *, prefix: bool = True) -> str:
    old, new = (f"a/{path}", f"b/{path}") if prefix else (path, path)
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), old, new))


def test_a_diff_becomes_the_new_files() -> None:
    both = diff(TEXT, TEXT.replace("B = 2", "B = 3")) + diff("x = 1\n", "x = 2\n", "model/net.py")
    net, train = apply_diff(SOURCES, both)
    assert (net.text, train.text) == ("x = 2\n", TEXT.replace("B = 2", "B = 3"))
    assert apply_diff(SOURCES, both.rstrip("\n")) == (net, train), "editors lose the last line break"


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ("", "does not apply"),
        ("hello", "does not apply"),
        (diff("a\n", "b\n"), "does not apply"),
        (diff("x = 1\n", "x = 2\n", "prepare.py"), "does not apply"),
        (diff("a\n", "b\n", "../../etc/passwd"), "does not apply"),
        ("diff --git a/n.py b/n.py\nnew file mode 100644\n--- /dev/null\n+++ b/n.py\n@@ -0,0 +1 @@\n+x = 1\n", "n.py"),
        ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n", "l"),
        ("diff --git a/train.py b/x.py\nsimilarity index 100%\nrename from train.py\nrename to x.py\n", "train.py"),
    ],
    ids=["empty", "words", "other text", "forbidden", "outside", "new file", "link", "rename"],
)
def test_a_diff_that_cannot_be_is_one_line(patch: str, says: str) -> None:
    with pytest.raises(WrongUse, match=says) as caught:
        apply_diff(SOURCES, patch)
    assert "\n" not in str(caught.value)


def test_a_merge_without_conflicts_has_both_changes() -> None:
    ours, theirs = TEXT.replace("A = 1", "A = 5"), TEXT.replace("return A", "return A + B")
    assert merge_text(TEXT, ours, theirs) == ours.replace("return A", "return A + B")
    assert merge_text(TEXT, ours, TEXT.replace("A = 1", "A = 6")) is None
