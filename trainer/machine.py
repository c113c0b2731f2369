"""What this machine is: the fingerprint that every campaign records."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from ..search.model import Machine


def this_machine() -> Machine:
    """The machine as it is now; what cannot be found out is left empty or 0."""
    return Machine(
        host=platform.node(),
        cpu=_cpu_name(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=round(memory_mb() / 1024, 1),
        gpu=_gpu_names(),
        python=platform.python_version(),
        torch=_version("torch"),
        system=f"{platform.system()} {platform.release()}",
    )


def memory_mb() -> float:
    """Physical memory in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _gpu_names() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        said = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ", ".join(line.strip() for line in said.stdout.splitlines() if line.strip())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
