"""Landlock, seccomp and a user of its own: for machines where namespaces are forbidden, such as most containers.

Weaker than namespaces: names and sizes of files can be seen, memory and disk are watched from outside instead of
limited. As root a run gets a user id that nobody else has, so that it can signal nobody and own nothing.
Source: the kernel's userspace-api/landlock.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from ..confine import landlock_version
from .places import DEVICES, ETC, GPU, HARDWARE, SYSTEM, compiled, existing, gpu_devices, other_pythons, python_places
from .ports import Cell, Confinement
from .seccomp import program

_EXECUTE, _WRITE, _READ, _LIST = 1, 1 << 1, 1 << 2, 1 << 3
_FILE_RIGHTS = {1: _EXECUTE | _WRITE | _READ, 3: 1 << 14, 5: 1 << 15}  # by the version that brought them
_FOLDER_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_LOOK = _EXECUTE | _READ | _LIST
_FIRST_UID = 1_500_000_000  # above every range that systems hand out


class Landlock:
    """Implements Sandbox."""

    level = "landlock"

    def missing(self) -> str | None:
        """The kernel must know Landlock, at a version that also protects what is truncated."""
        version = landlock_version()
        if version < 3:
            return f"the kernel offers Landlock version {version}; 3 is needed (Linux 6.2)"
        try:
            program(namespaces=False)
        except OSError as error:
            return f"libseccomp cannot be used ({error})"
        return None

    def confine(self, cell: Cell) -> Confinement:
        """Rules for everything that may be opened; as root, folders to write into are given to the run's own user."""
        version = landlock_version()
        uid = _FIRST_UID + secrets.randbelow(500_000_000) if os.geteuid() == 0 else None
        writable = tuple(path for path in (cell.out, cell.scratch) if path)
        if uid is not None:
            for path in writable:
                os.chown(path, uid, uid)
        hidden = {str(Path(p).resolve()) for path in cell.hidden for p in (path, *compiled(path))}
        hidden |= set(other_pythons())
        etc = tuple(f"/etc/{name}" for name in ETC)
        readable = (*SYSTEM, *etc, *HARDWARE, *python_places(), *cell.readable, cell.tree, *(GPU if cell.gpu else ()))
        readable += ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory")
        rules = [rule for path in existing(readable) for rule in _readable(str(Path(path).resolve()), hidden)]
        rules += [[path, _EXECUTE | _WRITE | _READ] for path in existing(DEVICES)]
        rules += [[path, _upto(version, _FILE_RIGHTS)] for path in (gpu_devices(cell.devices) if cell.gpu else ())]
        rules += [[path, _upto(version, _FOLDER_RIGHTS) & ~_EXECUTE | _READ] for path in writable]
        limits = {"core": 0, "file": cell.file_mb << 20, "files": 4096}
        return Confinement(
            level=self.level,
            seccomp=base64.b64encode(program(namespaces=False)).decode(),
            landlock={
                "version": version,
                "fs": _upto(version, _FOLDER_RIGHTS),
                "net": 3 if version >= 4 else 0,
                "scoped": 3 if version >= 6 else 0,
                "beneath": rules,
            },
            uid=uid,
            limits=limits | ({"processes": cell.processes} if uid is not None else {}),
            tree=cell.tree,
            out=cell.out,
            scratch=cell.scratch,
        )


def _upto(version: int, rights: dict[int, int]) -> int:
    total = 0
    for since, some in rights.items():
        total |= some if since <= version else 0
    return total


def _readable(path: str, hidden: set[str]) -> list[list[object]]:
    """Rules that let `path` be read but for the hidden files: a folder that holds some is opened entry by entry."""
    if path in hidden:
        return []
    if not Path(path).is_dir():
        return [[path, _EXECUTE | _READ]]
    if not any(secret.startswith(f"{path}/") for secret in hidden):
        return [[path, _LOOK]]
    rules: list[list[object]] = [[path, _LIST]]
    for entry in sorted(Path(path).iterdir()):
        if not entry.is_symlink() or entry.exists():
            rules += _readable(str(entry), hidden)
    return rules
