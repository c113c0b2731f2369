"""Starting a command inside a confinement: what has to happen between fork and exec.

Standard library only, because the supervisor imports it and must start in milliseconds. What is confined, and how, was
decided by `sandbox/`; here it is carried out, without a decision of its own.
"""

from __future__ import annotations

import base64
import ctypes
import os
import resource
import signal
import subprocess
import sys
from typing import Any

SECCOMP_FD = "{seccomp}"
"""In a command: replaced by the number of a descriptor that holds the seccomp program."""

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 36, 38, 47
_CAPSET, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 126, 444, 445, 446
_CAP_DAC_READ_SEARCH = 2
_LIMITS = {
    "core": resource.RLIMIT_CORE,
    "file": resource.RLIMIT_FSIZE,
    "files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
}


def start(
    command: list[str],
    confinement: dict[str, Any],
    *,
    pass_fds: tuple[int, ...] = (),
    cpus: tuple[int, ...] = (),
    **how: Any,
) -> subprocess.Popen[Any]:
    """subprocess.Popen of the command in its confinement (`sandbox.Confinement` as JSON); it dies with this thread.

    Raises OSError if the confinement cannot be set up: then nothing has run.
    """
    program = base64.b64decode(confinement.get("seccomp", ""))
    prefix, descriptor = list(confinement.get("prefix", ())), None
    if SECCOMP_FD in prefix:
        descriptor = os.memfd_create("seccomp")
        os.write(descriptor, program)
        os.lseek(descriptor, 0, os.SEEK_SET)
        prefix[prefix.index(SECCOMP_FD)] = str(descriptor)
        pass_fds = (*pass_fds, descriptor)

    def before_exec() -> None:
        if cpus and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cpus)
        for name, limit in confinement.get("limits", {}).items():
            _limit(_LIMITS[name], limit)
        if "landlock" in confinement:
            _landlock(confinement["landlock"], uid=confinement["uid"], program=program)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # last: the kernel forgets it when the user changes

    try:
        return subprocess.Popen([*prefix, *command], pass_fds=pass_fds, preexec_fn=before_exec, **how)
    except subprocess.SubprocessError as error:  # raised between fork and exec
        raise OSError(f"the confinement of {command[0]} could not be set up") from error
    finally:
        if descriptor is not None:
            os.close(descriptor)


def prctl(option: int, *values: int) -> None:
    """prctl(2) where there is one; raises OSError."""
    if _LIBC is not None and _LIBC.prctl(option, *(ctypes.c_ulong(v) for v in (*values, 0, 0, 0, 0)[:4])) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def become_subreaper() -> None:
    """Orphans below this process come back to it, not to init."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """No process of the same user may read this one's memory or environment: it holds the keys."""
    prctl(_PR_SET_DUMPABLE, 0)


def _limit(which: int, limit: int) -> None:
    _, hard = resource.getrlimit(which)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))


# -- Landlock ----------------------------------------------------------------------------------------------------------


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def landlock_version() -> int:
    """The kernel's Landlock interface; 0 if it has none or it is off."""
    return max(0, _call(_LANDLOCK_CREATE, None, 0, 1)) if _LIBC is not None else 0


def _landlock(rules: dict[str, Any], *, uid: int | None, program: bytes) -> None:
    """Restrict this process for good. Order matters: rules need rights that the steps after them take away."""
    size = 8 if rules["version"] < 4 else 16 if rules["version"] < 6 else 24
    ruleset = _Ruleset(fs=rules["fs"], net=rules["net"], scoped=rules["scoped"])
    handle = _must(_call(_LANDLOCK_CREATE, ctypes.byref(ruleset), size, 0), "landlock_create_ruleset")
    for path, access in rules["beneath"]:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        beneath = _Beneath(access=access, parent=place)
        _must(_call(_LANDLOCK_ADD, handle, 1, ctypes.byref(beneath), 0), f"landlock_add_rule {path}")
        os.close(place)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _drop_rights(uid)
    _must(_call(_LANDLOCK_RESTRICT, handle, 0), "landlock_restrict_self")
    os.close(handle)
    _seccomp(program)


def _drop_rights(uid: int | None) -> None:
    """Give up every capability. As root also become a user that nobody else is, who may read what Landlock lets him."""
    if os.geteuid() == 0:
        for capability in range(64):
            if capability != _CAP_DAC_READ_SEARCH and _LIBC is not None:
                _LIBC.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)  # EINVAL beyond the kernel's last
    if uid is None:
        _capset(0)
        return
    prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _capset(1 << _CAP_DAC_READ_SEARCH)
    prctl(_PR_CAP_AMBIENT, 2, _CAP_DAC_READ_SEARCH)  # PR_CAP_AMBIENT_RAISE: kept across exec


def _capset(capabilities: int) -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(capabilities, capabilities, capabilities, 0, 0, 0)
    _must(_call(_CAPSET if os.uname().machine == "x86_64" else 91, header, data), "capset")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _seccomp(program: bytes) -> None:
    loaded = _Program(len(program) // 8, program)
    assert _LIBC is not None
    if _LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(loaded), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def _call(number: int, *arguments: Any) -> int:
    assert _LIBC is not None
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_LIBC.syscall(ctypes.c_long(number), *wide))


def _must(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result
