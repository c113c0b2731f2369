"""What changed in a workspace while an agent without walls ran, and who can be blamed for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ratchetree.agents.outside_writes import Guarded, look, written_since

REFS = {"refs/heads/main": "a", "refs/heads/parked/0001-x": "b", "refs/heads/mine": "c", "refs/ratchetree/0001": "b"}
CARRIED = {"train.py": "A = 2\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git" / "hooks").mkdir(parents=True)
    (tmp_path / ".git" / "config").write_text("[core]\n")
    (tmp_path / ".ratchetree").mkdir()
    (tmp_path / "train.py").write_text("A = 1\n")
    (tmp_path / "prepare.py").write_text("x = 1\n")
    return tmp_path


def nothing(folder: Path) -> None:
    pass


def what_a_campaign_does(folder: Path) -> None:
    (folder / "train.py").write_text("A = 2\n")  # main moved
    (folder / ".ratchetree" / "journal.db").write_text("more")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "train.pyc").write_text("x")


def links(folder: Path) -> None:
    (folder / "train.py").unlink()
    (folder / "train.py").symlink_to("/etc/hosts")


@pytest.mark.parametrize(
    ("change", "refs", "found"),
    [
        (nothing, {}, []),
        (
            what_a_campaign_does,
            {"refs/heads/main": "d", "refs/ratchetree/0002": "d", "refs/heads/parked/0002-y": "d"},
            [],
        ),
        (lambda folder: (folder / "train.py").write_text("A = 3\n"), {}, ["train.py"]),
        (lambda folder: (folder / "prepare.py").unlink(), {}, ["prepare.py"]),
        (links, {}, ["train.py"]),
        (lambda folder: (folder / "new").mkdir() or (folder / "new" / "x.py").write_text(""), {}, ["new/x.py"]),
        (lambda folder: (folder / ".git" / "hooks" / "pre-commit").write_text("evil"), {}, [".git/hooks/pre-commit"]),
        (nothing, {"refs/heads/parked/0001-x": "z"}, ["refs/heads/parked/0001-x"]),
        (nothing, {"refs/heads/mine": "z", "refs/heads/new": "z"}, ["refs/heads/mine", "refs/heads/new"]),
    ],
)
def test_the_campaigns_own_work_is_told_from_everybody_elses(
    folder: Path, change: Callable[[Path], object], refs: dict[str, str], found: list[str]
) -> None:
    names = dict(REFS)
    guarded = Guarded(folder=folder, refs=lambda: names, carried=CARRIED.get)
    before = look(guarded)
    change(folder)
    names |= refs
    assert written_since(before, guarded) == found
