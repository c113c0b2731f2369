"""Starting supervised runs from the campaign's event loop, and ending whatever an earlier campaign left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..search.errors import RatchetreeError

MARK = "RATCHETREE_WORKSPACE"
"""Environment variable that every process of a campaign carries: the workspace's path."""

RUN = "RATCHETREE_RUN"
"""Environment variable that every process of one run carries: the run's name."""

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_ALLOWED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One run for the supervisor."""

    command: tuple[str, ...]
    cwd: str
    env: dict[str, str]  # the whole environment of the run
    log: str  # file for its output
    kind: str  # of the budget: wall, cpu, tokens
    amount: float  # of the budget: seconds or tokens
    startup_seconds: float  # cap until it asks for the data
    wall_seconds: float  # cap from then on, whatever the budget's kind
    memory_mb: float  # cap of the whole process tree
    curve: str = ""  # file for its loss curve, tab-separated; empty = none
    processes: int = 256  # that it may have at once
    folders: tuple[str, ...] = ()  # that it can fill,
    disk_mb: float = 8192.0  # and how full all of them together may get
    confinement: dict[str, Any] = field(default_factory=dict)  # sandbox.Confinement as JSON; empty = none
    cpus: tuple[int, ...] = ()  # that it may use; empty = all
    data: str = ""  # file that is handed over on request; empty = nothing is, and the clock starts at once
    reply: dict[str, Any] = field(default_factory=dict)  # what is said with the data
    held: bool = False  # whether the data, and so the clock, waits for the campaign's word
    ended: str = ""  # file for the report, should nobody be there to hear it; empty = none
    key: str = ""  # what the run is, stored with that report
    reference: tuple[tuple[float, float], ...] | None = (
        None  # end it early if hopeless against this curve; None = never
    )


def timed(command: tuple[str, ...], folder: Path, *, env: dict[str, str], seconds: float, log: str = "log.txt") -> Spec:
    """A run that is no training: in the folder, so many seconds after its start it is ended."""
    return Spec(
        command=command,
        cwd=str(folder),
        env=env,
        log=str(folder / log),
        kind="wall",
        amount=seconds,
        startup_seconds=seconds,
        wall_seconds=seconds,
        memory_mb=float("inf"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a supervised run ended."""

    reason: str  # exit, startup, deadline, wall, memory, processes, disk, hopeless
    exit_code: int | None  # negative: killed by that signal
    startup_seconds: float
    train_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    steps: int
    tokens: int
    result: Any  # what the run said its result was; only a scorer's is believed
    clock_started: bool
    last_loss: float | None
    wait_share: float = 0.0  # of its working time that it waited for a CPU
    steal_share: float = 0.0  # of the clock's time that the host gave to others
    loops_per_second: float = 0.0  # of its CPU's calibration, the lower of two
    hopeless: str = ""  # why it was ended early


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a running run says now and then."""

    share: float  # of the budget used
    step: int
    loss: float | None


async def supervise(
    spec: Spec,
    *,
    listen: Callable[[Report], None] | None = None,
    may_train: Callable[[], Awaitable[object]] | None = None,
) -> Run | None:
    """Run it to its end; None if the run killed its own supervisor. When this coroutine is cancelled, or this whole
    process dies, the run and everything it started is ended. Raises RatchetreeError if it cannot be started.

    may_train: awaited when the run asks for its data, which it gets afterwards; its clock starts then.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        str(_SUPERVISOR),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={MARK: spec.env[MARK]},
        start_new_session=True,  # Ctrl-C in the terminal is for the campaign, which then decides
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(replace(spec, held=may_train is not None))).encode() + b"\n")
        await process.stdin.drain()

        async def hand_over() -> None:
            assert process.stdin is not None and may_train is not None
            await may_train()
            process.stdin.write(b"go\n")

        return await _follow(process.stdout, listen, hand_over, spec)
    finally:
        process.stdin.close()  # ends the run if it has not ended
        code = await asyncio.shield(process.wait())
        if code != 0:  # the supervisor was killed: what it watched is still there
            end_marked(**{name: spec.env[name] for name in (MARK, RUN)})


async def _follow(
    output: asyncio.StreamReader,
    listen: Callable[[Report], None] | None,
    hand_over: Callable[[], Awaitable[None]],
    spec: Spec,
) -> Run | None:
    async for line in output:
        message = json.loads(line)
        if "failed" in message:
            raise RatchetreeError(f"{' '.join(spec.command)} cannot be started: {message['failed']}")
        if "ended" in message:
            return Run(**message["ended"])
        if "asks" in message:
            await hand_over()
        if listen is not None and "share" in message:
            listen(Report(**message))
    return None


def remembered(ended: Path, key: str) -> Run | None:
    """The report of the very same run, made to its end for a campaign that was killed before it could hear it."""
    try:
        found = json.loads(ended.read_text())
        return Run(**found["ended"]) if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def allowed_environment(*, workspace: Path, scratch: str, run: str) -> dict[str, str]:
    """The environment of a run: an allow-list, never a copy, so that no key of the user's gets in. scratch: the run's
    own folder, as the run sees it."""
    environment = {name: os.environ[name] for name in _ALLOWED if name in os.environ}
    return environment | {
        MARK: str(workspace),
        RUN: run,
        "HOME": scratch,
        "TMPDIR": scratch,
        "USER": "trial",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }


def marked(**marks: str) -> list[int]:
    """Living processes whose environment carries all the marks, such as what a killed campaign left."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            if wanted <= set((entry / "environ").read_bytes().split(b"\0")) and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def end_marked(**marks: str) -> int:
    """Kill every process that carries all the marks; how many."""
    pids = marked(**marks)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)
