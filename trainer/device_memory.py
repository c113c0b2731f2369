"""A block of a card's memory that two processes share through a descriptor, as they would share a file's.

CUDA's older way names the memory by its process, which is nobody's where each has a namespace of its own. A descriptor
is handed over at the start of a process, and who was given none has no access. Source: the CUDA driver API, chapter
"Virtual Memory Management"; NVIDIA's own bindings to it (package cuda-bindings).

Nothing of the package is imported here: the model server has this file, and no other of ours, in its sandbox.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

PATTERN = 0xA5
"""What a probe writes."""


class DeviceMemoryError(Exception):
    """The driver cannot do it here; the message is one line."""


class DeviceMemory:
    """At least `size` bytes on the first card that the process sees. Everything raises DeviceMemoryError.

    descriptor: of a block that another process made, of the same size; it is closed. None: a new block.
    """

    def __init__(self, size: int, *, descriptor: int | None = None) -> None:
        self._undo: list[tuple[str, tuple[Any, ...]]] = []  # calls for the end, first to last done
        try:
            self._driver = driver = importlib.import_module("cuda.bindings.driver")
        except ImportError as error:
            raise DeviceMemoryError("cuda-bindings is not installed (pip install 'ratchetree[gpu]')") from error
        try:
            self._call("cuInit", 0)
            card = self._call("cuDeviceGet", 0)
            self._call("cuCtxSetCurrent", self._call("cuDevicePrimaryCtxRetain", card))  # torch's own
            self._undo.append(("cuDevicePrimaryCtxRelease", (card,)))
            self._kind = driver.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
            wanted = driver.CUmemAllocationProp()
            wanted.type = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
            wanted.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
            wanted.location.id = 0
            wanted.requestedHandleTypes = self._kind
            least = driver.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_MINIMUM
            unit = self._call("cuMemGetAllocationGranularity", wanted, least)
            self.size = -(-size // unit) * unit
            if descriptor is None:
                self._block = self._call("cuMemCreate", self.size, wanted, 0)
            else:
                self._block = self._call("cuMemImportFromShareableHandle", descriptor, self._kind)
            self._undo.append(("cuMemRelease", (self._block,)))
            self._address = self._call("cuMemAddressReserve", self.size, 0, 0, 0)
            self._undo.append(("cuMemAddressFree", (self._address, self.size)))
            self._call("cuMemMap", self._address, self.size, 0, self._block, 0)
            self._undo.append(("cuMemUnmap", (self._address, self.size)))
            access = driver.CUmemAccessDesc()
            access.location = wanted.location
            access.flags = driver.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
            self._call("cuMemSetAccess", self._address, self.size, [access], 1)
        except DeviceMemoryError:
            self.close()
            raise
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def descriptor(self) -> int:
        """For another process; the caller closes it."""
        return int(self._call("cuMemExportToShareableHandle", self._block, self._kind, 0))

    def take(self, source: int, size: int) -> None:
        """Copy so many bytes from an address on the card into the block; done when it returns."""
        self._call("cuMemcpyDtoD", self._address, source, size)
        self._call("cuCtxSynchronize")

    def give(self, target: int, size: int) -> None:
        """Copy so many bytes from the block to an address on the card; done when it returns."""
        self._call("cuMemcpyDtoD", target, self._address, size)
        self._call("cuCtxSynchronize")

    def fill(self, byte: int) -> None:
        """Write the byte everywhere."""
        self._call("cuMemsetD8", self._address, byte, self.size)
        self._call("cuCtxSynchronize")

    def read(self) -> bytes:
        """All of it."""
        copy = bytearray(self.size)
        self._call("cuMemcpyDtoH", copy, self._address, self.size)
        return bytes(copy)

    def close(self) -> None:
        """Let go of it; harmless when that is done. The memory is free when nobody holds it any more."""
        while self._undo:
            name, arguments = self._undo.pop()
            with contextlib.suppress(DeviceMemoryError):
                self._call(name, *arguments)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            error, *values = getattr(self._driver, name)(*arguments)
        except Exception as fault:  # what the bindings raise where there is no driver, or one without this call
            raise DeviceMemoryError(f"{name}: {str(fault) or type(fault).__name__}".splitlines()[0]) from fault
        if int(error) != 0:
            raise DeviceMemoryError(f"{name}: {getattr(error, 'name', error)}")
        return values[0] if values else None


def main() -> None:
    """The confined end of a probe: write the pattern into the block. Arguments: its descriptor, its size."""
    block = DeviceMemory(int(sys.argv[2]), descriptor=int(sys.argv[1]))
    block.fill(PATTERN)
    block.close()


if __name__ == "__main__":
    main()
