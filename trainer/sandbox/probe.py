"""Does a backend really confine here? A small hostile script is run in it, and everything it must and must not be able
to do is tried. Nothing is believed because a version number says so."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..confine import start
from .ports import Cell, Sandbox

PROBE_SECONDS = 60.0
_SECRET = "a file of the user's"
_SCRIPT = """
import ctypes, json, os, resource, socket, sys
secret, hidden, parent, handed, port, gpu = json.loads(sys.argv[1])
done = {}
def attempt(name, action):
    try:
        done[name] = action() is not False
    except BaseException:
        done[name] = False
def write(path):
    with open(path, "w") as file:
        file.write("x")
def reach(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(2)
        s.connect(address)
def chmod():
    before = os.stat(secret).st_mode
    os.chmod(secret, 0o600 if before & 0o777 != 0o600 else 0o644)
    return os.stat(secret).st_mode != before
def listening():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\\0ratchetree-probe-%d" % parent)
attempt("save what it learnt", lambda: write(os.path.join(os.environ["OUT"], "saved")))
attempt("use a scratch folder", lambda: write(os.path.join(os.environ["TMPDIR"], "scratch")))
attempt("use a descriptor that it was given", lambda: os.write(handed, b"x") == 1)
attempt("import from its own tree", lambda: __import__("own"))
attempt("read a file of the user's", lambda: open(secret).read() and True)
attempt("read a hidden file", lambda: b"held out" in open(hidden, "rb").read())
attempt("change its tree", lambda: write("own.py"))
attempt("write outside its folders", lambda: write("/var/tmp/ratchetree-probe-%d" % parent))
attempt("change a mode outside its folders", chmod)
attempt("read another process's environment", lambda: open(f"/proc/{parent}/environ", "rb").read() and True)
attempt("signal another process", lambda: os.kill(parent, 0) is None)
attempt("change a limit of another process", lambda: len(resource.prlimit(parent, resource.RLIMIT_CORE)) == 2)
attempt("use the network", lambda: reach(socket.AF_INET, ("127.0.0.1", port)) is None)
attempt("open an internet socket", lambda: socket.socket(socket.AF_INET).close() is None)
attempt("open a socket to the hypervisor", lambda: socket.socket(40, socket.SOCK_STREAM).close() is None)
attempt("reach another process's socket", lambda: listening() is None)
attempt("get a namespace of its own", lambda: ctypes.CDLL(None).unshare(0x10000000) == 0)
def initialise():
    return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
if gpu:
    attempt("initialise CUDA", initialise)
sys.stdout.write(json.dumps(done))
"""
ALLOWED = frozenset(
    {
        "save what it learnt",
        "use a scratch folder",
        "use a descriptor that it was given",
        "import from its own tree",
        "initialise CUDA",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing that was tried."""

    what: str
    wanted: bool  # whether a run must be able to do it
    could: bool

    @property
    def passed(self) -> bool:
        """Whether it came out as it must."""
        return self.could == self.wanted


def probe(backend: Sandbox, *, gpu: bool = False) -> list[Probe]:
    """Everything that was tried in the backend. Raises OSError if a run cannot even be started."""
    with tempfile.TemporaryDirectory(prefix="ratchetree-") as place, _listeners() as port:
        folder = Path(place).resolve()
        done = _attempts(backend, folder, port=port, gpu=gpu)
    return [Probe(what=what, wanted=what in ALLOWED, could=could) for what, could in done.items()]


def first_failure(backend: Sandbox) -> str | None:
    """Why the backend cannot be trusted here, in one line; None if every probe passed."""
    try:
        failed = [p for p in probe(backend) if not p.passed]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return f"a run cannot be started in it ({error})"
    return f"a run {'cannot' if failed[0].wanted else 'can'} {failed[0].what}" if failed else None


def _attempts(backend: Sandbox, folder: Path, *, port: int, gpu: bool) -> dict[str, bool]:
    for name in ("tree", "out", "scratch", "shared"):
        (folder / name).mkdir()
    (folder / "tree" / "own.py").write_text("")
    secret, hidden = folder / "secret", folder / "shared" / "held_out.py"
    secret.write_text(_SECRET)
    hidden.write_text("held out")
    cell = Cell(
        tree=str(folder / "tree"),
        out=str(folder / "out"),
        scratch=str(folder / "scratch"),
        readable=(str(folder / "shared"),),
        hidden=(str(hidden),),
        gpu=gpu,
    )
    confinement = backend.confine(cell)
    read, write = os.pipe()
    told = json.dumps([str(secret), str(hidden), os.getpid(), write, port, gpu])
    environment = {"OUT": confinement.out, "TMPDIR": confinement.scratch, "PATH": os.environ.get("PATH", os.defpath)}
    try:
        process = start(
            [sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, '.')\n{_SCRIPT}", told],
            confinement.as_json(),
            pass_fds=(write,),
            cwd=cell.tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, errors = process.communicate(timeout=PROBE_SECONDS)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(read)
        os.close(write)
        with contextlib.suppress(OSError):
            Path(f"/var/tmp/ratchetree-probe-{os.getpid()}").unlink()
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or [f"it ended with code {process.returncode}"]
        raise OSError(lines[-1])
    done: dict[str, bool] = json.loads(out)
    return done | {"save what it learnt": done["save what it learnt"] and (folder / "out" / "saved").exists()}


@contextlib.contextmanager
def _listeners() -> Iterator[int]:
    """A port on the loopback, and a socket of the kind that D-Bus and others listen on, whose name is no file."""
    with socket.create_server(("127.0.0.1", 0)) as internet, socket.socket(socket.AF_UNIX) as local:
        if sys.platform == "linux":
            local.bind(f"\0ratchetree-probe-{os.getpid()}")
            local.listen(4)
        yield int(internet.getsockname()[1])


def report(backend: Sandbox, *, gpu: bool) -> tuple[bool, str]:
    """(works, one line) for `ratchetree doctor`."""
    reason = backend.missing()
    if reason is not None:
        return False, reason
    try:
        tried = probe(backend, gpu=gpu)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return False, f"a run cannot be started in it ({error})"
    failed = [("cannot " if p.wanted else "can ") + p.what for p in tried if not p.passed]
    return not failed, f"a run {', '.join(failed)}" if failed else f"all {len(tried)} probes passed"


def has_gpu() -> bool:
    """Whether there is a card whose driver can be tried."""
    return shutil.which("nvidia-smi") is not None and Path("/dev/nvidiactl").exists()
