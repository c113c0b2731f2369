"""The parent of one run: it owns the clock, the data and the deadline, and leaves no survivor.

A program of its own, started by `processes.py` for every smoke run, trial and scoring: standard library only, so that
it starts in milliseconds. It reads one JSON object (`Spec`) from standard input, which stays open: when the campaign
dies, however it dies, the pipe closes and everything here is ended. It writes JSON lines to standard output: reports
while the run goes on, and one `{"ended": ...}`.

On Linux it is a child subreaper, so that grandchildren and daemons come back to it and can be killed; CPU time and
memory are those of the whole process tree. Elsewhere the process group has to do, and CPU time is known at the end
only. It carries out a confinement (`confine.py`) and watches what no kernel limits: memory, processes, disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import confine, hopeless, pressure
else:  # it is started by its path, without the package
    sys.path.insert(0, str(Path(__file__).parent))
    import confine
    import hopeless
    import pressure

POLL_SECONDS = 0.05
REPORT_SECONDS = 0.25
WATCH_SECONDS = 0.5  # between two looks at waiting times and folder sizes
LOG_HEAD_BYTES = 1_000_000  # kept from the start of the output
LOG_TAIL_BYTES = 200_000  # and from its end
CURVE_POINTS = 600  # of the loss curve; thinned out evenly when there are more
_LOSS = re.compile(rb"step\D{0,3}(\d+).*?loss\D{0,3}(-?[0-9.]+(?:e[-+]?\d+)?|nan|-?inf)", re.IGNORECASE)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MB = resource.getpagesize() / 2**20


class Supervisor:
    """One run. `spec` is `processes.Spec` as JSON."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes]
        self.began = time.monotonic()
        self.asked: float | None = None  # when it asked for the data
        self.held = bool(spec["held"])  # whether the data is not handed over yet
        self.clock_began: float | None = None  # when the data was handed over
        self.cpu_before = 0.0  # CPU time used until then
        self.cpu_reaped = 0.0  # of processes that are gone
        self.peak_mb = 0.0
        self.steps = self.tokens = 0
        self.result: Any = None  # what a scorer found
        self.exit_code: int | None = None
        self.log = _Log(Path(spec["log"]))
        self.curve: list[tuple[float, int, float]] = []
        self._stride = 1
        self._seen = 0
        self._told = 0.0
        self._watched = 0.0
        self._cpu = 0.0
        self.processes = 0  # living, at the last look
        self.wait_share = 0.0  # of the working time, waiting for a CPU
        self._waited_before = self._stolen_before = 0.0  # when the clock began
        self.speeds: list[float] = []  # loops per CPU second, when the clock began and at the end
        self._line = b""
        self._control_text = b""
        reference = spec["reference"]
        self._watcher = None if reference is None else hopeless.Watch(reference, spec["amount"])
        self.hopeless = ""  # why it was ended early

    def run(self) -> str:
        """Start the command and stay with it; why it ended: exit, startup, deadline, wall, memory, processes, disk,
        hopeless, abandoned."""
        confine.become_subreaper()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        output, output_end = os.pipe()
        self.process = confine.start(
            self.spec["command"],
            self.spec["confinement"],
            pass_fds=(theirs.fileno(),),
            cpus=tuple(self.spec["cpus"]),
            cwd=self.spec["cwd"],
            env={**self.spec["env"], "RATCHETREE_CONTROL": str(theirs.fileno())},
            stdin=subprocess.DEVNULL,
            stdout=output_end,
            stderr=output_end,
            start_new_session=True,
        )
        theirs.close()
        os.close(output_end)
        ours.setblocking(False)
        if not self.spec["data"]:
            self.asked = time.monotonic()
            self._start_clock()
        self._sources = {sys.stdin.fileno(), output, ours.fileno()}
        self._control, self._output = ours, output
        if hasattr(os, "pidfd_open"):  # wakes up when the command ends
            self._sources.add(os.pidfd_open(self.process.pid))
        reason = None
        while reason is None:
            ready, _, _ = select.select(list(self._sources), [], [], POLL_SECONDS)
            reason = self._serve(set(ready)) or self._check()
        self._kill_all()
        self._drain()
        if self.clock_began is not None:
            self._measure_speed()
        return reason

    def report(self, reason: str) -> dict[str, Any]:
        """What is reported at the end."""
        now = time.monotonic()
        began = self.clock_began
        return {
            **self._pressure(),
            "reason": reason,
            "exit_code": self.exit_code,
            "startup_seconds": round((now if self.asked is None else self.asked) - self.began, 3),
            "train_seconds": round(0.0 if began is None else now - began, 3),
            "cpu_seconds": round(0.0 if began is None else max(self._cpu, self.cpu_reaped) - self.cpu_before, 3),
            "peak_memory_mb": round(self.peak_mb, 1),
            "steps": self.steps,
            "tokens": self.tokens,
            "result": self.result,
            "clock_started": began is not None,
            "hopeless": self.hopeless,
            "last_loss": self.curve[-1][2] if self.curve and abs(self.curve[-1][2]) != float("inf") else None,
        }

    # -- while it runs ------------------------------------------------------------------------------------------

    def _serve(self, ready: set[int]) -> str | None:
        if sys.stdin.fileno() in ready:
            if not os.read(sys.stdin.fileno(), 4096):
                self._reap()
                return "abandoned" if self.exit_code is None else "exit"
            self.held = False  # whatever was said: there is one thing to say
            self._hand_over()
        if self._output in ready:
            self._read_output()
        if self._control.fileno() in ready:
            self._read_control()
        return None

    def _check(self) -> str | None:
        now = time.monotonic()
        self._reap()
        pids = _descendants(os.getpid())
        self._measure(pids)
        if self.exit_code is not None:
            return "exit"
        if self.hopeless:
            return "hopeless"
        if self.peak_mb > self.spec["memory_mb"]:
            return "memory"
        if self.processes > self.spec["processes"]:
            return "processes"
        if now - self._watched > WATCH_SECONDS and self._watch(pids, now):
            return "disk"
        if self.clock_began is None:
            late = self.asked is None and now - self.began > self.spec["startup_seconds"]
            return "startup" if late else None
        elapsed = now - self.clock_began
        used = {"wall": elapsed, "cpu": self._cpu - self.cpu_before}.get(self.spec["kind"], float(self.tokens))
        share = used / self.spec["amount"]
        if now - self._told > REPORT_SECONDS:
            self._told = now
            loss = self.curve[-1] if self.curve else None
            _say({"share": round(min(share, 1.0), 4), "step": self.steps, "loss": loss and loss[2]})
        if share > 1 and self.spec["kind"] != "tokens":  # tokens are counted where they are handed out
            return "deadline"
        return "wall" if elapsed > self.spec["wall_seconds"] else None

    def _watch(self, pids: list[int], now: float) -> bool:
        """Look at what changes slowly; whether the folders that it may fill are too full."""
        self._watched = now
        if self.clock_began is not None:
            waited = max(0.0, pressure.waited_seconds(pids) - self._waited_before)
            worked = max(0.0, self._cpu - self.cpu_before)
            self.wait_share = waited / (waited + worked) if worked > 0 else 0.0
        allowed_bytes: float = self.spec["disk_mb"] * 2**20
        return sum(map(_size, self.spec["folders"])) > allowed_bytes

    def _pressure(self) -> dict[str, float]:
        """What the run had to suffer while the clock ran."""
        cpus = tuple(self.spec["cpus"])
        seconds = time.monotonic() - self.clock_began if self.clock_began is not None else 0.0
        stolen = pressure.stolen_seconds(cpus) - self._stolen_before
        return {
            "wait_share": round(self.wait_share, 4),
            "steal_share": round(stolen / (seconds * max(1, len(cpus))), 4) if seconds > 0 and stolen > 0 else 0.0,
            # The better of two looks: one may meet a neighbour's moment on the same core, which says little.
            "loops_per_second": round(max(self.speeds, default=0.0)),
        }

    def _measure_speed(self) -> None:
        """On the run's own CPUs."""
        cpus = self.spec["cpus"]
        ours = os.sched_getaffinity(0) if cpus and hasattr(os, "sched_getaffinity") else None
        if ours is not None:
            os.sched_setaffinity(0, cpus)
        self.speeds.append(pressure.loops_per_second())
        if ours is not None:
            os.sched_setaffinity(0, ours)

    def _start_clock(self) -> None:
        self._measure_speed()
        pids = _descendants(os.getpid())
        self._measure(pids)
        self._waited_before = pressure.waited_seconds(pids)
        self._stolen_before = pressure.stolen_seconds(tuple(self.spec["cpus"]))
        self.cpu_before = self._cpu
        self.clock_began = time.monotonic()
        _say({"clock": round(self.clock_began - self.began, 3)})

    def _read_control(self) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._sources.discard(self._control.fileno())
            return
        *lines, self._control_text = (self._control_text + data)[-65536:].split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
                self._hear(message if isinstance(message, dict) else {})
            except (ValueError, TypeError, OverflowError):
                continue  # a script may say what it likes

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("ask") == "data" and self.asked is None:
            self.asked = time.monotonic()
            if self.held:
                _say({"asks": True})
            self._hand_over()
        self.steps = max(self.steps, int(message.get("steps", 0)))
        self.tokens = max(self.tokens, int(message.get("tokens", 0)))
        self.result = message.get("result", self.result)

    def _hand_over(self) -> None:
        """Give it the data and start the clock, once it has asked and nothing holds that up."""
        if self.held or self.asked is None or self.clock_began is not None:
            return
        data = _sealed(self.spec["data"])
        self._start_clock()
        reply = json.dumps(self.spec["reply"]).encode() + b"\n"
        with contextlib.suppress(OSError):  # it is gone
            socket.send_fds(self._control, [reply], [data])
        os.close(data)

    def _read_output(self) -> None:
        try:
            data = os.read(self._output, 65536)
        except OSError:
            data = b""
        if not data:
            self._sources.discard(self._output)
            return
        self.log.write(data)
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[-4096:]
        for line in lines:
            found = _LOSS.search(line[:4096])
            if found:
                with contextlib.suppress(ValueError):  # 1.2.3 is no number
                    self._add_point(int(found[1][:12]), float(found[2]))

    def _add_point(self, step: int, loss: float) -> None:
        began = self.clock_began if self.clock_began is not None else self.began
        self._seen += 1
        if self._watcher is not None and self.clock_began is not None:
            self.hopeless = self.hopeless or self._watcher.add(time.monotonic() - began, loss) or ""
        if self._seen % self._stride == 0 and loss == loss:
            self.curve.append((round(time.monotonic() - began, 2), step, loss))
        if len(self.curve) > CURVE_POINTS:
            del self.curve[::2]
            self._stride *= 2

    # -- the process tree ---------------------------------------------------------------------------------------

    def _measure(self, pids: list[int]) -> None:
        """CPU seconds and memory of the whole tree, as far as /proc tells."""
        self.processes = len(pids)
        cpu, memory = self.cpu_reaped, 0.0
        for pid in pids:
            seconds, megabytes = _usage(pid)
            cpu += seconds
            memory += megabytes
        self._cpu = max(self._cpu, cpu)
        self.peak_mb = max(self.peak_mb, memory)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.cpu_reaped += usage.ru_utime + usage.ru_stime
            if pid == self.process.pid:
                self.exit_code = _exit_code(status, wrapped=bool(self.spec["confinement"].get("prefix")))
                self.process.returncode = self.exit_code

    def _kill_all(self) -> None:
        """SIGKILL, again and again, until nothing is left that descends from here."""
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            if self.exit_code is None:
                _kill(-self.process.pid)
                _kill(self.process.pid)
            pids = _descendants(os.getpid())
            for pid in pids:
                _kill(pid, signal.SIGSTOP)  # a fork bomb cannot outrun what is stopped
            self._measure(pids)  # the time of what dies with its namespace is not handed on
            for pid in pids:
                _kill(pid)
            self._reap()
            if self.exit_code is not None and not _descendants(os.getpid()):
                return
            time.sleep(0.002)

    def _drain(self) -> None:
        while self._output in self._sources and select.select([self._output], [], [], 0)[0]:
            self._read_output()
        while self._control.fileno() in self._sources and select.select([self._control], [], [], 0)[0]:
            self._read_control()
        self.log.close()
        if self.spec["curve"]:
            lines = (f"{seconds}\t{step}\t{loss:g}\n" for seconds, step, loss in self.curve)
            Path(self.spec["curve"]).write_text("seconds\tstep\tloss\n" + "".join(lines))


class _Log:
    """The output's beginning and its end; what a script prints in between without measure is dropped."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._room = LOG_HEAD_BYTES
        self._tail = b""
        self._dropped = 0

    def write(self, data: bytes) -> None:
        head, rest = data[: self._room], data[self._room :]
        if head:
            self._file.write(head)
            self._file.flush()
            self._room -= len(head)
        if rest:
            self._tail += rest
            if len(self._tail) > 2 * LOG_TAIL_BYTES:
                self._dropped += len(self._tail) - LOG_TAIL_BYTES
                self._tail = self._tail[-LOG_TAIL_BYTES:]

    def close(self) -> None:
        if self._dropped:
            self._file.write(b"\n[... %d bytes left out ...]\n" % self._dropped)
        self._file.write(self._tail[-LOG_TAIL_BYTES:])
        self._file.close()


def _exit_code(status: int, *, wrapped: bool) -> int:
    """Negative for a signal, also where a wrapper reports it as 128 + signal, as shells do."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if wrapped and code > 128 else code


def _sealed(path: str) -> int:
    """A descriptor of the file's content that nobody can change: a run that reopens it for writing, or changes its
    mode, reaches a copy in memory whose seals forbid both."""
    if not hasattr(os, "memfd_create"):
        return os.open(path, os.O_RDONLY)
    copy, source = os.memfd_create("data", os.MFD_ALLOW_SEALING), os.open(path, os.O_RDONLY)
    try:
        left = os.fstat(source).st_size
        while left > 0 and (sent := os.sendfile(copy, source, None, left)) > 0:
            left -= sent
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, seals)
        return os.open(f"/proc/self/fd/{copy}", os.O_RDONLY)
    finally:
        os.close(source)
        os.close(copy)


def _size(folder: str) -> int:
    """Bytes that all files below a folder take; links are not followed."""
    total, todo = 0, [folder]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:  # it may be gone again
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _descendants(root: int) -> list[int]:
    """All living processes below `root`, without it; empty where there is no /proc."""
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            threads = list(Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            continue
        for thread in threads:
            try:
                children = [int(x) for x in (thread / "children").read_bytes().split()]
            except OSError:
                continue
            found += children
            todo += children
    return found


def _usage(pid: int) -> tuple[float, float]:
    """(CPU seconds with reaped children, resident MB) of one process; zeros if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0, 0.0
    ticks = sum(int(fields[i]) for i in (11, 12, 13, 14))
    return ticks / _TICKS, int(fields[21]) * _PAGE_MB


def _kill(pid: int, how: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, how)


def _say(message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the campaign is gone; the closed standard input ends this run
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def main() -> None:
    """Read the spec, supervise, report."""
    text = b""
    while not text.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 65536)
        if not piece:
            return
        text += piece
    supervisor = Supervisor(json.loads(text))
    try:
        reason = supervisor.run()
    except OSError as error:  # the command or its folder is not there
        _say({"failed": str(error)})
        return
    report = supervisor.report(reason)
    undecided = supervisor.spec["held"] and supervisor.clock_began is None  # the campaign may give it another try
    if supervisor.spec["ended"] and reason != "abandoned" and not undecided:
        _remember(Path(supervisor.spec["ended"]), {"key": supervisor.spec["key"], "ended": report})
    _say({"ended": report})


def _remember(path: Path, report: dict[str, Any]) -> None:
    """Keep the report on disk: should the campaign be killed right now, the run need not be made again."""
    half = path.with_suffix(".half")
    half.write_text(json.dumps(report))
    half.replace(path)


if __name__ == "__main__":
    main()
