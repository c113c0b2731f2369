"""Which system calls a confined run may not make, as a BPF program; assembled by libseccomp, which knows the numbers.

Everything is allowed but what reaches beyond the sandbox: other processes, the network, namespaces, mounts, kernel keys
and objects. New kernels' calls that nobody here knows yet are the file and network rules' business.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import socket

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL_MASKED, _NOT_EQUAL = 7, 1
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW*: time, mount, cgroup, uts, ipc, user, pid, net

FORBIDDEN = (
    "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise "
    "mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr unshare setns "
    "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register "
    "add_key keyctl request_key open_by_handle_at name_to_handle_at fanotify_init quotactl "
    "init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct syslog vhangup "
    "settimeofday clock_settime clock_adjtime adjtimex stime iopl ioperm modify_ldt lookup_dcookie "
    "shmget semget msgget"  # memory that no limit counts
).split()

IGNORED = (
    "chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat futimesat "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"
).split()
"""Calls that Landlock lets through to any file of the user's. They seem to succeed and do nothing, because honest
scripts copy files with their modes."""


class _Argument(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


@functools.cache
def program(*, ignore_modes: bool) -> bytes:
    """The BPF program. ignore_modes: also for the calls in IGNORED. Raises OSError without libseccomp."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    try:
        for name in FORBIDDEN:
            _rule(library, context, _ERRNO | errno.EPERM, name)
        for name in IGNORED if ignore_modes else ():
            _rule(library, context, _ERRNO, name)
        # glibc falls back to clone(2), whose flags can be looked at
        _rule(library, context, _ERRNO | errno.ENOSYS, "clone3")
        for bit in range(32):
            if _NEW_NAMESPACES >> bit & 1:
                flag = 1 << bit
                _rule(library, context, _ERRNO | errno.EPERM, "clone", _Argument(0, _EQUAL_MASKED, flag, flag))
        unix = _Argument(0, _NOT_EQUAL, int(socket.AF_UNIX), 0)
        _rule(library, context, _ERRNO | errno.EAFNOSUPPORT, "socket", unix)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _rule(library: ctypes.CDLL, context: ctypes.c_void_p, action: int, name: str, *arguments: _Argument) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == -1:  # this libseccomp does not know it, and an older kernel neither
        return
    array = (_Argument * max(1, len(arguments)))(*arguments)
    done = library.seccomp_rule_add_array(
        context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(arguments)), array
    )
    if done != 0:
        raise OSError(-done, f"seccomp rule for {name}")


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    file = os.memfd_create("seccomp")
    try:
        if (done := library.seccomp_export_bpf(context, file)) != 0:
            raise OSError(-done, "seccomp program")
        return os.pread(file, 1 << 20, 0)
    finally:
        os.close(file)
