"""How much of the machine a run really got, seen from outside: waiting for a CPU, stolen time, and the CPU's own speed.

Standard library only, for the supervisor. The rule that judges these numbers is `starvation.py`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

CALIBRATION_SECONDS = 0.01


def waited_seconds(pids: list[int]) -> float:
    """Time that all threads of these processes were ready to run and did not, so far; source: /proc/PID/schedstat."""
    total = 0
    for pid in pids:
        try:
            threads = list(Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            continue
        for thread in threads:
            try:
                total += int((thread / "schedstat").read_bytes().split()[1])
            except (OSError, IndexError):
                continue
    return total / 1e9


def stolen_seconds(cpus: tuple[int, ...]) -> float:
    """Time that the host of a virtual machine gave to others instead of these CPUs (all, if empty), so far."""
    try:
        lines = Path("/proc/stat").read_bytes().split(b"\n")
    except OSError:
        return 0.0
    wanted = {f"cpu{cpu}".encode() for cpu in cpus} or {b"cpu"}
    stolen = sum(
        int(fields[8]) for line in lines if (fields := line.split()) and fields[0] in wanted and len(fields) > 8
    )
    return stolen / os.sysconf("SC_CLK_TCK")


def busy_share(before: list[tuple[float, float]], after: list[tuple[float, float]]) -> float:
    """Share of the time between two readings of `cpu_times` in which the CPUs worked."""
    busy = sum(b[0] - a[0] for a, b in zip(before, after, strict=True))
    total = sum(b[1] - a[1] for a, b in zip(before, after, strict=True))
    return busy / total if total > 0 else 0.0


def cpu_times(cpus: tuple[int, ...]) -> list[tuple[float, float]]:
    """(busy, total) clock ticks of each CPU so far; empty where there is no /proc/stat."""
    try:
        lines = Path("/proc/stat").read_bytes().split(b"\n")
    except OSError:
        return []
    wanted = {f"cpu{cpu}".encode() for cpu in cpus} or {b"cpu"}
    found = []
    for line in lines:
        fields = line.split()
        if fields and fields[0] in wanted:
            ticks = [int(x) for x in fields[1:9]]
            found.append((float(sum(ticks) - ticks[3] - ticks[4]), float(sum(ticks))))
    return found


def loops_per_second() -> float:
    """Turns of a small loop per CPU second right now: falls when clock or caches are shared with somebody."""
    begun, turns, value = time.thread_time(), 0, 1
    while (used := time.thread_time() - begun) < CALIBRATION_SECONDS:
        for _ in range(500):
            value = value * 1103515245 + 12345 & 0x7FFFFFFF
        turns += 500
    return turns / used
