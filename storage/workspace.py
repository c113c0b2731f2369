"""Making a workspace: a task's files in a git repository of their own, with the first commit on main."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.resources.abc import Traversable
from pathlib import Path

from ..search.errors import RatchetreeError, WrongUse
from .repository import check_git, safe_environment

STATE_FOLDER = ".ratchetree"
"""Journal, checkpoints, lock and trial folders live here; git never sees it."""


def make_workspace(folder: Path, template: Traversable, *, slots: int) -> None:
    """Fill the new or empty folder with the template's files and commit them. Raises WrongUse if it is in use."""
    check_git()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongUse(f"{folder} exists and is not an empty folder: give a new one")
    folder.mkdir(parents=True, exist_ok=True)
    for source in template.iterdir():
        if source.is_file() and not source.name.endswith(".pyc"):
            text = source.read_text(encoding="utf-8")
            if source.name == "ratchetree.toml":
                text = re.sub(r"(?m)^slots(\s*)=(\s*)\d+", rf"slots\g<1>=\g<2>{slots}", text)
            (folder / source.name).write_text(text, encoding="utf-8")
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", f"A workspace for the task {template.name}")


def _git(folder: Path, *arguments: str) -> None:
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _WHO}
    environment = {**os.environ, **safe_environment(), **who}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["?"]
        raise RatchetreeError(f"git {arguments[0]} failed in {folder}: {lines[-1]}")


_WHO = (("NAME", "ratchetree"), ("EMAIL", "ratchetree@localhost"))
