"""Which parts of this machine every confined run may read: the system's programs and libraries, and its own Python."""

from __future__ import annotations

import functools
import os
import re
import sys
import sysconfig
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt/cuda", "/opt/rocm", "/nix/store")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "nsswitch.conf")
HARDWARE = ("/sys/devices/system/cpu", "/sys/devices/system/node")
GPU = ("/sys",)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
HIDDEN_MODULE = Path(__file__).with_name("hidden_module.py.txt")
"""Stands in for a file that a run must not read."""


@functools.cache
def python_places() -> tuple[str, ...]:
    """The running interpreter's own folders: its installation and its environment, but no user's home around them."""
    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    paths |= {str(Path(sys.executable).parent), str(Path(sys.executable).resolve().parent)}
    return outermost(path for path in paths if path not in ("/usr", "/usr/local", "/"))


@functools.cache
def other_pythons() -> tuple[str, ...]:
    """Standard libraries of other Pythons below /usr: their text may be what is held out."""
    own = [Path(place).resolve() for place in (sysconfig.get_path("stdlib"), sys.prefix, sys.base_prefix)]
    found = []
    for folder in ("/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/share"):
        for place in sorted(Path(folder).glob("python3*")) + sorted(Path(folder).glob("pypy*")):
            if place.is_dir() and not any(
                path == place or place in path.parents for path in own if path != Path("/usr")
            ):
                found.append(str(place))
    return tuple(found)


def gpu_devices(own: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Device files of NVIDIA and AMD cards. own: of the cards that a run has to itself; empty = all cards."""
    patterns = ("nvidia*", "nvidia-caps/*", "kfd", "dri/render*")
    found = (path for pattern in patterns for path in sorted(Path("/dev").glob(pattern)) if not path.is_dir())
    return without_others(tuple(map(str, found)), own)


def without_others(devices: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """The device files without those of other cards, as a container with some of the cards has them: what belongs to
    the driver as a whole stays."""
    return tuple(d for d in devices if not own or d in own or not re.fullmatch(r"/dev/nvidia\d+", d))


def existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are there."""
    return tuple(path for path in paths if Path(path).exists())


def outermost(paths: object) -> tuple[str, ...]:
    """The paths that lie in no other of them, sorted."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(str(p)) for p in paths}):  # type: ignore[attr-defined]
        if not any(path == outer or path.startswith(outer.rstrip("/") + "/") for outer in kept):
            kept.append(path)
    return tuple(kept)


def compiled(path: str) -> list[str]:
    """The byte code that Python keeps of a source file: constants and names of a hidden text are in it too."""
    source = Path(path)
    return [str(found) for found in source.parent.joinpath("__pycache__").glob(f"{source.stem}.*.pyc")]
