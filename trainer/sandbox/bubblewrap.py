"""Namespaces through bubblewrap, the strongest backend: a run has its own file system, processes, network and users.

Source: bubblewrap's manual. A launch costs 6-14 ms.
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

from ..confine import SECCOMP_FD
from .places import (
    ETC,
    GPU,
    HARDWARE,
    HIDDEN_MODULE,
    SYSTEM,
    compiled,
    existing,
    gpu_devices,
    other_pythons,
    python_places,
)
from .ports import SCRATCH_MB, Cell, Confinement
from .seccomp import program

TREE, OUT, SCRATCH = "/trial", "/out", "/tmp"


class Bubblewrap:
    """Implements Sandbox."""

    level = "bubblewrap"

    def missing(self) -> str | None:
        """Without the program there is nothing to try."""
        if shutil.which("bwrap") is None:
            return "bwrap is not installed (Debian, Ubuntu, Fedora: the package bubblewrap)"
        try:
            program(namespaces=True)
        except OSError as error:
            return f"libseccomp cannot be used ({error})"
        return None

    def confine(self, cell: Cell) -> Confinement:
        """Everything is built anew for the run: nothing of the machine is there that is not named."""
        command = [
            shutil.which("bwrap") or "bwrap",
            *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
            *("--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "trial"),
            *("--proc", "/proc", "--dev", "/dev"),
        ]
        command += self._machine(gpu=cell.gpu, devices=cell.devices)
        size = str(SCRATCH_MB << 20)
        command += ["--size", size, "--tmpfs", SCRATCH, "--size", size, "--tmpfs", "/dev/shm"]
        for path in (*python_places(), *cell.readable):
            command += ["--ro-bind", path, path]
        for path in cell.hidden:
            command += ["--ro-bind-try", str(HIDDEN_MODULE), path]
            for code in compiled(path):
                command += ["--ro-bind-try", "/dev/null", code]
        command += ["--ro-bind", cell.tree, TREE]
        if cell.out:
            command += ["--bind", cell.out, OUT]
        command += ["--remount-ro", "/", "--chdir", TREE, "--seccomp", SECCOMP_FD, "--"]
        return Confinement(
            level=self.level,
            prefix=tuple(command),
            seccomp=base64.b64encode(program(namespaces=True)).decode(),
            limits={"core": 0, "file": cell.file_mb << 20, "files": 4096},
            tree=TREE,
            out=OUT if cell.out else "",
            scratch=SCRATCH,
        )

    @staticmethod
    def _machine(*, gpu: bool, devices: tuple[str, ...]) -> list[str]:
        binds: list[str] = []
        for path in existing(SYSTEM):
            link = Path(path)
            binds += ["--symlink", str(link.readlink()), path] if link.is_symlink() else ["--ro-bind", path, path]
        for path in existing(tuple(f"/etc/{name}" for name in ETC) + HARDWARE + (GPU if gpu else ())):
            binds += ["--ro-bind", path, path]
        for path in gpu_devices(devices) if gpu else ():
            binds += ["--dev-bind", path, path]
        for path in other_pythons():
            binds += ["--tmpfs", path]
        return binds
