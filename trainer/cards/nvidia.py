"""NVIDIA's management library behind the seam (package nvidia-ml-py, module pynvml): read only, no rights needed."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from .driver import Card, DriverError, Reading, Resident

MB = 2**20
# nvmlClocksEventReasons of nvml.h; what is left out (idle, clocks that somebody set) does not slow a trial by surprise.
REASONS = {0x04: "power", 0x08: "hardware", 0x20: "heat", 0x40: "heat", 0x80: "brake"}


def find() -> NvidiaDriver | None:
    """The driver library, or None where there is no card, no driver or no package."""
    try:
        return NvidiaDriver(importlib.import_module("pynvml"))
    except (ImportError, DriverError):
        return None


class NvidiaDriver:
    """Implements Driver. library: the module pynvml, or what behaves like it."""

    def __init__(self, library: Any) -> None:
        self._library = library
        with self._asking():
            library.nvmlInit()

    def cards(self) -> tuple[Card, ...]:
        """All cards that the driver shows."""
        lib = self._library
        with self._asking():
            handles = [lib.nvmlDeviceGetHandleByIndex(i) for i in range(lib.nvmlDeviceGetCount())]
            return tuple(
                Card(
                    uuid=_text(lib.nvmlDeviceGetUUID(handle)),
                    name=_text(lib.nvmlDeviceGetName(handle)),
                    device=f"/dev/nvidia{lib.nvmlDeviceGetMinorNumber(handle)}",
                    memory_mb=lib.nvmlDeviceGetMemoryInfo(handle).total / MB,
                )
                for handle in handles
            )

    def reading(self, uuid: str) -> Reading:
        """One reading takes about a millisecond."""
        lib = self._library
        with self._asking():
            handle = lib.nvmlDeviceGetHandleByUUID(uuid)
            return Reading(
                clock_mhz=lib.nvmlDeviceGetClockInfo(handle, lib.NVML_CLOCK_SM),
                top_clock_mhz=lib.nvmlDeviceGetMaxClockInfo(handle, lib.NVML_CLOCK_SM),
                power_watts=lib.nvmlDeviceGetPowerUsage(handle) / 1000,
                temperature_c=lib.nvmlDeviceGetTemperature(handle, lib.NVML_TEMPERATURE_GPU),
                busy=lib.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
                memory_mb=self._used(handle) / MB,
                slowed=self._slowed(handle),
            )

    def residents(self, uuid: str) -> tuple[Resident, ...]:
        """Compute processes; a container's driver may show none of them, or pids of the host."""
        lib = self._library
        with self._asking():
            running = lib.nvmlDeviceGetComputeRunningProcesses(lib.nvmlDeviceGetHandleByUUID(uuid))
            return tuple(Resident(pid=p.pid, memory_mb=(p.usedGpuMemory or 0) / MB) for p in running)

    def _used(self, handle: Any) -> float:
        """Bytes in use. The second version of the call does not count what the driver keeps for itself."""
        lib = self._library
        try:
            return float(lib.nvmlDeviceGetMemoryInfo(handle, version=lib.nvmlMemory_v2).used)
        except (AttributeError, TypeError, lib.NVMLError):
            return float(lib.nvmlDeviceGetMemoryInfo(handle).used)

    def _slowed(self, handle: Any) -> frozenset[str]:
        lib = self._library
        ask = getattr(lib, "nvmlDeviceGetCurrentClocksEventReasons", None)
        ask = ask or lib.nvmlDeviceGetCurrentClocksThrottleReasons  # its name in older packages
        bits = ask(handle)
        return frozenset(reason for bit, reason in REASONS.items() if bits & bit)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._library.NVMLError as error:
            raise DriverError(f"the NVIDIA driver does not answer: {error}") from error


def _text(said: str | bytes) -> str:
    """Older packages answer in bytes."""
    return said.decode() if isinstance(said, bytes) else said
