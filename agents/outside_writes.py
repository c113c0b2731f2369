"""What somebody changed in the workspace while a command-line agent ran without walls.

A comparison of two looks at the workspace's own files and git's refs. What the campaign itself does in the meantime is
known and no fault of the agent's: main moves and its files follow, nodes are pinned, branches are parked. It cannot
tell the agent from a person who edits a file at that moment, and it sees nothing outside the workspace.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

_OURS = ("refs/ratchetree/", "refs/notes/ratchetree", "refs/heads/main")
_PARKED = "refs/heads/parked/"
_OF_GIT = ("config", "hooks", "info", "packed-refs.lock", "HEAD")  # in .git: what the campaign does not change
_LARGEST_COMPARED = 4_000_000  # bytes

Stamp = tuple[int, int, int, int]
"""Modification and change time in ns, size, inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The workspace, as far as it is looked at."""

    folder: Path
    refs: Callable[[], Mapping[str, str]]  # full name -> commit
    carried: Callable[[str], str | None]  # the text that main carries at a path


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The workspace at one moment."""

    files: Mapping[str, Stamp]
    refs: Mapping[str, str]


def look(guarded: Guarded) -> Look:
    """What is there now."""
    git = guarded.folder / ".git"
    files = _stamps(guarded.folder, without=(".git", ".ratchetree"))
    for name in _OF_GIT:
        files |= _stamps(git / name, below=guarded.folder) if git.is_dir() else {}
    return Look(files=files, refs=dict(guarded.refs()))


def written_since(before: Look, guarded: Guarded) -> list[str]:
    """Paths and refs that were changed, added or removed by somebody else than the campaign, sorted."""
    now = look(guarded)
    paths = {path for path, _ in now.files.items() ^ before.files.items()}
    foreign = {path for path in paths if not _follows_main(path, guarded)}
    for name in now.refs.keys() | before.refs.keys():
        was, is_now = before.refs.get(name), now.refs.get(name)
        ours = name.startswith(_OURS) or (name.startswith(_PARKED) and was is None)
        if was != is_now and not ours:
            foreign.add(name)
    return sorted(foreign)


def _follows_main(path: str, guarded: Guarded) -> bool:
    """Whether a file is what main carries: then it was brought along when main moved."""
    file = guarded.folder / path
    if path.startswith(".git/"):
        return False
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _LARGEST_COMPARED:
        return False
    return file.read_text("utf-8", "surrogateescape") == guarded.carried(path)


def _stamps(start: Path, *, without: Collection[str] = (), below: Path | None = None) -> dict[str, Stamp]:
    """Every file below a folder (or the file itself), by its path; links are not followed."""
    found: dict[str, Stamp] = {}
    todo, base = [start], below or start
    while todo:
        path = todo.pop()
        try:
            said = path.lstat()
            entries = list(path.iterdir()) if stat.S_ISDIR(said.st_mode) else None
        except OSError:  # gone, or not to be read
            continue
        if entries is None:
            found[str(path.relative_to(base))] = (said.st_mtime_ns, said.st_ctime_ns, said.st_size, said.st_ino)
        else:
            names = (*without, "__pycache__") if path == start else ("__pycache__",)
            todo += [entry for entry in entries if entry.name not in names]
    return found
