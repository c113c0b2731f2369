"""Walls around a command-line agent: it may write its own tree and what the user lists, and nothing else.

Less than a trial's sandbox, because such an agent needs the network, its own programs and its login. What it must not
reach is the workspace: main, the journal, git, other experiments. Two kinds, strongest first: namespaces through
bubblewrap (the workspace is not there at all; what it forks dies with it), and Landlock (no file of the workspace can
be opened). What comes out is how to start a command, in the words of whoever starts it; nothing is started here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Confinement = dict[str, Any]
"""How a command is started: {"prefix": [...]} of the command, or {"landlock": {...}, "uid": None, "seccomp": ...}."""

PRIVATE = (Path("/tmp"), Path("/run"))  # other people's files, and sockets that reach beyond any wall
_NEEDED = ("/etc/resolv.conf", "/run/current-system", "/run/wrappers")  # of what lies there, names and programs
_ALLOW_ALL = base64.b64encode(bytes.fromhex("060000000000ff7f")).decode()  # BPF: return ALLOW
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"))
_EXECUTE, _WRITE, _READ, _LIST = 1, 1 << 1, 1 << 2, 1 << 3
_EVERYTHING = (1 << 15) - 1  # Landlock's rights over a folder, version 3
_FILE = _EXECUTE | _WRITE | _READ | 1 << 14  # those that a file can have
_SCOPED = 3  # no signals to processes outside, no abstract sockets of theirs; version 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one run of an agent happens. All paths are absolute, without links."""

    tree: Path  # where it works
    home: Path  # for what it leaves behind
    readable: tuple[Path, ...] = ()  # what it needs of the hidden
    writable: tuple[Path, ...] = ()  # what the user lists
    hidden: tuple[Path, ...] = ()  # folders that it must not look into


def by_bubblewrap(place: Place, *, bwrap: str = "bwrap") -> Confinement:
    """The whole file system read-only, without the hidden folders; a process namespace of its own."""
    command = [
        *(bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-cgroup-try"),
        *("--die-with-parent", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    ]
    for folder in PRIVATE:
        command += ["--tmpfs", str(folder)]
    for path in _NEEDED:
        target = Path(path).resolve()
        if _within(target, PRIVATE):
            command += ["--ro-bind-try", str(target), str(target)]
    for folder in place.hidden:
        command += ["--tmpfs", str(folder)]
    for shown in place.readable:
        command += ["--ro-bind", str(shown), str(shown)]
    for own in (place.tree, place.home, *place.writable):
        command += ["--bind", str(own), str(own)]
    for folder in place.hidden:  # what it writes there would be lost: let it be told
        command += ["--remount-ro", str(folder)]
    return {"prefix": [*command, "--chdir", str(place.tree), "--"]}


def by_landlock(place: Place, *, version: int) -> Confinement:
    """Everything may be read but the hidden folders, and only its own may be written."""
    rules = [[str(path), _EXECUTE | _READ | (_LIST if path.is_dir() else 0)] for path in _outside(place.hidden)]
    rules += [[str(path), _READ | (_LIST if path.is_dir() else 0)] for path in place.readable]
    shared = [path for path in (Path("/tmp"), *map(Path, _DEVICES)) if path.exists()]
    for path in (place.tree, place.home, *place.writable, *shared):
        if not any(path == folder or path in folder.parents for folder in place.hidden):
            rules.append([str(path), _EVERYTHING if path.is_dir() else _FILE])
    landlock = {
        "version": version,
        "fs": _EVERYTHING,
        "net": 0,
        "scoped": _SCOPED if version >= 6 else 0,
        "beneath": rules,
    }
    return {"landlock": landlock, "uid": None, "seccomp": _ALLOW_ALL}


def _outside(hidden: tuple[Path, ...]) -> list[Path]:
    """The largest folders and files that hold none of the hidden: Landlock only knows what is allowed."""
    found, todo = [], [Path("/")]
    while todo:
        path = todo.pop()
        if path in hidden or path.is_symlink():  # where a link leads is allowed, or not, under its own name
            continue
        if any(path in folder.parents for folder in hidden):
            todo += path.iterdir()
        else:
            found.append(path)
    return sorted(found)


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path == folder or folder in path.parents for folder in folders)
