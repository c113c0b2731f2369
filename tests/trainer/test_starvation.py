"""When a trial is void because its machine was taken from it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from ratchetree.search.model import FailureKind
from ratchetree.trainer.pressure import busy_share, cpu_times, loops_per_second, stolen_seconds, waited_seconds
from ratchetree.trainer.processes import Run
from ratchetree.trainer.starvation import LEAST_SECONDS, TOLERANCES, starved

RUN = Run(
    reason="exit",
    exit_code=0,
    startup_seconds=1.0,
    train_seconds=20.0,
    cpu_seconds=20.0,
    peak_memory_mb=1.0,
    steps=1,
    tokens=1,
    result=None,
    clock_started=True,
    last_loss=None,
    loops_per_second=1000.0,
)


def test_an_undisturbed_trial_stands() -> None:
    assert starved(RUN, kind="cpu", reference=1000.0) is None
    assert starved(RUN, kind="wall", reference=0.0) is None  # nothing to compare with


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("cpu", {"wait_share": 0.21}, "waited 21%"),
        ("wall", {"wait_share": 0.06}, "waited 6%"),
        ("cpu", {"steal_share": 0.3}, "host took 30%"),
        ("wall", {"loops_per_second": 400.0}, "40% of its speed"),
    ],
)
def test_waiting_stolen_time_and_a_slow_cpu_make_it_void(kind: str, change: dict[str, float], says: str) -> None:
    failure = starved(replace(RUN, **change), kind=kind, reference=1000.0)  # type: ignore[arg-type]
    assert failure is not None
    assert failure.kind is FailureKind.STARVED
    assert says in failure.message


def test_a_budget_of_tokens_and_a_run_too_short_to_tell_are_never_void() -> None:
    hungry = replace(RUN, wait_share=0.9)
    assert starved(hungry, kind="tokens", reference=1000.0) is None
    assert starved(replace(hungry, train_seconds=LEAST_SECONDS / 2), kind="cpu", reference=1000.0) is None
    assert set(TOLERANCES) == {"wall", "cpu"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it on Linux only")
def test_waiting_is_seen_from_outside() -> None:
    """Two processes on one CPU: each waits while the other works."""
    code = (
        "import os, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); t = time.thread_time\nwhile 1: t()"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    try:
        pids = [process.pid for process in both]
        deadline = time.monotonic() + 60
        while waited_seconds(pids) < 0.2 and time.monotonic() < deadline:
            pass
        assert waited_seconds(pids) >= 0.2
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert waited_seconds([pids[0]]) == 0.0  # it is gone


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it on Linux only")
def test_busy_cpus_are_told_from_idle_ones() -> None:
    before = cpu_times(())
    begun = time.thread_time()
    while time.thread_time() - begun < 0.3:
        pass
    assert 0.0 < busy_share(before, cpu_times(())) <= 1.0
    assert busy_share(before, before) == 0.0
    assert stolen_seconds(()) >= 0.0
    assert loops_per_second() > 0
