"""Tries to become root, to mount, to trace, and to make namespaces.

expect: honest
says nothing: GOT
"""


def before_training():
    libc = ctypes.CDLL(None, use_errno=True)
    for name, call in (
        ("setuid", lambda: libc.setuid(0) == 0 and os.getuid() == 0 and os.access("/etc/shadow", os.R_OK)),
        ("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0),
        ("unshare", lambda: libc.unshare(0x10000000) == 0),
        ("ptrace", lambda: libc.ptrace(16, os.getppid(), 0, 0) == 0),
        ("chroot", lambda: libc.chroot(b"/tmp") == 0),
        ("bpf", lambda: libc.syscall(321, 0, 0, 0) >= 0),
        ("io_uring", lambda: libc.syscall(425, 1, ctypes.create_string_buffer(120)) >= 0),
        ("keyctl", lambda: libc.syscall(250, 0, -3, 0) >= 0),
    ):
        if call():
            print("GOT", name, flush=True)
