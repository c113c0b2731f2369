"""The words of confinement: what a run needs (`Cell`), what a backend makes of it (`Confinement`), and the seam."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

SCRATCH_MB = 1024
"""Size of a run's scratch folder where the backend can limit it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one run of model-written code may see and do. Everything that is not named here is out of its reach."""

    tree: str  # exported files, read only; where it runs
    out: str = ""  # folder for what it saves; empty = it saves nothing
    scratch: str = ""  # its HOME and TMPDIR
    readable: tuple[str, ...] = ()  # further files and folders, read only
    hidden: tuple[str, ...] = ()  # files among them that it must not read
    memory_mb: float = 0.0  # cap of all its processes together; 0 = none
    file_mb: int = 4096  # largest file that it may write
    processes: int = 256  # it may have at once, where the backend can limit them
    gpu: bool = False
    devices: tuple[str, ...] = ()  # device files of its cards; empty = all of the machine's


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """How to start a command confined, for `confine.start`, which takes this as JSON."""

    level: str  # the backend's name, recorded with every trial and score
    prefix: tuple[str, ...] = ()  # of the command
    seccomp: str = ""  # BPF program, base64
    landlock: dict[str, Any] | None = None
    uid: int | None = None  # to run as; None = the campaign's own
    limits: dict[str, int] = field(default_factory=dict)  # by `confine`'s names, in bytes or numbers
    tree: str = ""  # where the run sees its tree,
    out: str = ""  # what it saves,
    scratch: str = ""  # and its scratch folder

    def as_json(self) -> dict[str, Any]:
        """The part that the supervisor and the scorer need to start the command."""
        said: dict[str, Any] = {"prefix": list(self.prefix), "seccomp": self.seccomp, "limits": self.limits}
        if self.landlock is not None:
            said |= {"landlock": self.landlock, "uid": self.uid}
        return said


class Sandbox(Protocol):
    """One way to confine a run."""

    @property
    def level(self) -> str:
        """Its name in settings, journal and screens."""

    def missing(self) -> str | None:
        """Why it cannot be used here, in one line; None if nothing is known to be missing (a probe must still pass)."""

    def confine(self, cell: Cell) -> Confinement:
        """How to start a run in that cell."""
