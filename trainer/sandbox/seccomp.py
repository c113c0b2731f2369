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
    "shmget semget msgget mq_open"  # memory that no limit counts
).split()

IGNORED = (
    "chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat futimesat "
    "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"
).split()
"""Calls that Landlock lets through to any file of the user's. They seem to succeed and do nothing, because honest
scripts copy files with their modes."""


ANOTHERS = {  # by call: its arguments that must have this value, or it would reach beyond the calling process
    "prlimit64": {0: 0},
    "sched_setaffinity": {0: 0},
    "sched_setscheduler": {0: 0},
    "sched_setparam": {0: 0},
    "sched_setattr": {0: 0},
    "setpriority": {0: 0, 1: 0},  # PRIO_PROCESS, the caller
    "ioprio_set": {0: 1, 1: 0},  # IOPRIO_WHO_PROCESS, the caller
}
"""Calls that change a setting of another process of the same user. What a run writes there, its heirs could read: a
model that was asked the decoys could tell the next one which rows they were."""


class _Argument(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


@functools.cache
def program(*, namespaces: bool) -> bytes:
    """The BPF program. namespaces: the run has its own files and processes; if not, calls that reach the machine's are
    stopped too. Raises OSError without libseccomp."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    try:
        for name in FORBIDDEN:
            _rule(library, context, _ERRNO | errno.EPERM, name)
        if not namespaces:
            for name in IGNORED:
                _rule(library, context, _ERRNO, name)
            for name, own in ANOTHERS.items():
                for number, value in own.items():
                    _rule(library, context, _ERRNO | errno.EPERM, name, _Argument(number, _NOT_EQUAL, value, 0))
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
