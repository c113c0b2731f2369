"""Where a model server's logits cross over to the trusted scorer: the machine's memory, or the card's.

Whatever crosses is copied before it is worked on: the other process could change it after it has answered.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from .device_memory import DeviceMemory
from .probes import Ids, Nats

if TYPE_CHECKING:
    import torch

CACHED = 1 << 19
"""Logits that one core works on at a time: 2 MB stay in its cache."""

ON_CARD = 1 << 25
"""Logits that a card works on at a time: 134 MB beside those that crossed."""


class ScoreError(Exception):
    """The saved model cannot be scored; the message is one line for the Failure."""


class Exchange(Protocol):
    """For questions of one shape: ids [rows, length] in, logits [rows, length, vocab_size] out."""

    shape: tuple[int, int, int]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the server inherits."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the server is told of it, see `model_server.serve`."""

    def prepare(self) -> None:
        """What takes time and can be done while the server builds its model."""

    def put(self, ids: Ids) -> None:
        """A question."""

    def take(self) -> None:
        """Copy the answer."""

    def nats(self, targets: Ids) -> Nats:
        """Nats [rows, length] of every target, by the answer that was taken last, while the server may already answer
        the next question. Raises ScoreError for logits that give no finite number."""

    def close(self) -> None:
        """Let go of the memory."""


class _Shared:
    """Memory that both processes see and neither can shrink under the other."""

    def __init__(self, size: int) -> None:
        self.file = _file(size)
        self.memory = mmap.mmap(self.file, size)

    def put(self, ids: Ids) -> None:
        """At its beginning."""
        self.memory[: ids.nbytes] = ids.tobytes()

    def close(self) -> None:
        """Harmless when it is done."""
        if not self.memory.closed:
            self.memory.close()
            os.close(self.file)


class InMemory:
    """Implements Exchange in the machine's memory."""

    def __init__(self, rows: int, length: int, vocab_size: int, *, threads: int) -> None:
        self.shape = (rows, length, vocab_size)
        self._shared = _Shared(max(rows * length * vocab_size * 4, rows * length * 8))
        self._mine = np.empty(self.shape, np.float32)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """One file."""
        return (self._shared.file,)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its number."""
        return (str(self._shared.file),)

    def prepare(self) -> None:
        """Nothing."""

    def put(self, ids: Ids) -> None:
        """Where the logits come back to."""
        self._shared.put(ids)

    def take(self) -> None:
        """By all threads: one core takes longer for a gigabyte (the gpt-gpu task) than a card for the model."""
        answered = np.frombuffer(self._shared.memory, np.float32, math.prod(self.shape)).reshape(self.shape)
        copies = [self._pool.submit(np.copyto, mine, row) for mine, row in zip(self._mine, answered, strict=True)]
        for copy in copies:
            copy.result()

    def nats(self, targets: Ids) -> Nats:
        """By all threads."""
        return token_nats(self._mine, targets, threads=self._threads)

    def close(self) -> None:
        """Harmless when it is done."""
        self._pool.shutdown()
        self._shared.close()


class OnCard:
    """Implements Exchange with logits that never leave the card: into a block that the scorer owns. Ids go through the
    machine's memory, as they are few. Raises DeviceMemoryError where the driver cannot do it."""

    def __init__(self, rows: int, length: int, vocab_size: int) -> None:
        self.shape = (rows, length, vocab_size)
        self._bytes = math.prod(self.shape) * 4
        self._block = DeviceMemory(self._bytes)
        self._descriptor = self._block.descriptor()
        self._ids = _Shared(rows * length * 8)
        self._mine: torch.Tensor | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The ids' file, and what stands for the block."""
        return (self._ids.file, self._descriptor)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Their numbers, and the block's bytes."""
        return (str(self._ids.file), str(self._descriptor), str(self._bytes))

    def prepare(self) -> None:
        """Seconds for the import."""
        import torch

        torch.cuda.is_available()

    def put(self, ids: Ids) -> None:
        """As in memory."""
        self._ids.put(ids)

    def take(self) -> None:
        """A copy on the card."""
        import torch

        if self._mine is None:  # not before it is needed: the other server's model may be on the card as well
            self._mine = torch.empty(self.shape, device="cuda" if torch.cuda.is_available() else "cpu")
        self._block.give(self._mine.data_ptr(), self._bytes)

    def nats(self, targets: Ids) -> Nats:
        """By the card, in float32."""
        assert self._mine is not None
        return nats_by_torch(self._mine, targets)

    def close(self) -> None:
        """Harmless when it is done."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self._mine = -1, None
            self._ids.close()
            self._block.close()


def token_nats(logits: npt.NDArray[np.float32], targets: Ids, *, threads: int = 1) -> Nats:
    """Nats of every target; logits [B, T, V], targets [B, T]. Raises ScoreError for logits that give no finite number.

    In blocks of tokens that stay in the cache, each thread with a buffer of its own: 2.5 times as fast as the whole
    batch at once. What a token gives depends neither on the block nor on the threads.
    """
    wanted, flat = targets.reshape(-1, 1), logits.reshape(-1, logits.shape[-1])
    nats, block = np.empty(len(flat)), max(1, CACHED // logits.shape[-1])

    def work(starts: range) -> None:
        buffer = np.empty((block, logits.shape[-1]), np.float32)
        with np.errstate(all="ignore"):  # what is not finite is found at the end
            for start in starts:
                rows = flat[start : start + block]
                shifted, top = buffer[: len(rows)], rows.max(axis=-1)
                np.exp(np.subtract(rows, top[:, None], out=shifted), out=shifted)
                chosen = np.take_along_axis(rows, wanted[start : start + block], axis=-1)[:, 0]
                nats[start : start + block] = np.log(shifted.sum(axis=-1)) + top - chosen

    if threads == 1:
        work(range(0, len(flat), block))
    else:
        with ThreadPoolExecutor(threads) as pool:  # numpy's loops run beside one another
            list(pool.map(work, (range(k * block, len(flat), threads * block) for k in range(threads))))
    return _finite(nats).reshape(targets.shape)


def nats_by_torch(logits: torch.Tensor, targets: Ids) -> Nats:
    """What `token_nats` gives, where the logits are: float32 [B, T, V] on any device."""
    import torch

    flat = logits.reshape(-1, logits.shape[-1])
    wanted = torch.from_numpy(targets.reshape(-1, 1)).to(flat.device)
    block = max(1, ON_CARD // logits.shape[-1])
    parts = []
    for some in (slice(start, start + block) for start in range(0, len(flat), block)):
        parts.append(torch.logsumexp(flat[some], 1) - flat[some].gather(1, wanted[some])[:, 0])
    nats: Nats = torch.cat(parts).double().cpu().numpy()
    return _finite(nats).reshape(targets.shape)


def _finite(nats: Nats) -> Nats:
    if not np.isfinite(nats).all():
        raise ScoreError("not-finite: the model's logits give no finite loss")
    return nats


def _file(size: int) -> int:
    """A descriptor of memory that nobody can shrink."""
    if not hasattr(os, "memfd_create"):
        import tempfile

        handle, path = tempfile.mkstemp()
        Path(path).unlink()
        os.ftruncate(handle, size)
        return handle
    file = os.memfd_create("logits", os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return file
