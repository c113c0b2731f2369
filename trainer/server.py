"""The model server as the scorer sees it: another process, in a sandbox of its own, that turns ids into logits."""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .confine import start
from .probes import Ids

LONGEST_REPLY = 65536
"""Bytes of one line: what says more is no reply."""


class ScoreError(Exception):
    """The saved model cannot be scored; the message is one line for the Failure."""


class ModelServer:
    """A function from ids [rows, length] to logits [rows, length, vocab_size], in a process of its own.

    The process imports torch at once, and builds the model when it is first asked. So one server's slow start costs no
    time while another answers, and yet their models never run at once: each could tell the other what it was asked.
    """

    def __init__(
        self,
        *,
        tree: str,
        module: str,
        weights: str,
        vocab_size: int,
        rows: int,
        length: int,
        confinement: dict[str, Any],
        environment: dict[str, str],
        threads: int = 1,
    ) -> None:
        self._shape = [rows, length, vocab_size]
        self._threads = threads
        self._mine = np.empty(self._shape, np.float32)
        size = max(rows * length * vocab_size * 4, rows * length * 8)
        self._file = _shared(size)
        self._memory = mmap.mmap(self._file, size)
        program = Path(__file__).with_name("model_server.py")
        self._process = start(
            [sys.executable, "-P", str(program), module, weights, str(self._file)],
            confinement,
            pass_fds=(self._file,),
            cwd=tree,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._memory.close()
        os.close(self._file)

    def answers(self, batches: Iterable[Ids]) -> Iterator[npt.NDArray[np.float32]]:
        """The logits of every batch in order; while the caller works on one the server computes the next.

        They are valid until the next ones are asked for. Call it once. Raises ScoreError if the model cannot be built
        and loaded, a shape is wrong, or the server is gone.
        """
        self._send({"go": True})
        if not self._reply().get("ready"):
            raise ScoreError("build: the model server did not start")
        with ThreadPoolExecutor(self._threads) as pool:
            held = False
            for ids in batches:
                self._ask(ids)
                if held:
                    yield self._mine
                self._take(pool)
                held = True
            if held:
                yield self._mine

    def _ask(self, ids: Ids) -> None:
        self._memory[: ids.nbytes] = ids.tobytes()
        rows, length, vocab_size = self._shape
        self._send({"rows": rows, "length": length, "vocab_size": vocab_size})

    def _take(self, pool: ThreadPoolExecutor) -> None:
        """Copy the logits: the other process could change what it has answered."""
        shape = self._reply().get("shape")
        if shape != self._shape:
            raise ScoreError(f"the model returned shape {str(shape)[:100]}, not {self._shape}")
        answered = np.frombuffer(self._memory, np.float32, math.prod(self._shape)).reshape(self._shape)
        copies = [pool.submit(np.copyto, mine, row) for mine, row in zip(self._mine, answered, strict=True)]
        for copy in copies:  # a gigabyte for the gpt-gpu task: one core takes longer for it than the card for the model
            copy.result()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline(LONGEST_REPLY)
        if not line:
            code = self._process.wait()
            raise ScoreError(f"build: the model could not be built and loaded (the server ended with code {code})")
        answer = json.loads(line)
        return answer if isinstance(answer, dict) else {}


def _shared(size: int) -> int:
    """Memory that both processes see and neither can shrink under the other."""
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
