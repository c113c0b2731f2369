"""The trusted half of scoring: held-out tokens in, bits per byte out.

A process of its own, started for every trial. It asks the model server for logits and computes everything else itself:
log-softmax in float32, sums in float64, bytes from the tokens' own bytes. A training script's word counts for nothing.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

ROWS = 16
"""Rows per question: [16, 256] tokens of a vocabulary of 2,048 are 34 MB of logits."""


class ScoreError(Exception):
    """The saved model cannot be scored; the message is one line for the Failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSpec:
    """One scoring: the tree to build the model from, the weights, the held-out part."""

    tree: str
    module: str  # the training script's module name
    weights: str
    tokens: str  # flat uint16 file
    token_bytes: str
    vocab_size: int
    seq_len: int


def bits_per_byte(nats: float, total_bytes: int) -> float:
    """Cross-entropy of the text in bits per byte: nats / (ln 2 * bytes)."""
    return nats / (math.log(2) * total_bytes)


def rows_of(tokens: npt.NDArray[np.uint16], length: int) -> npt.NDArray[np.int64]:
    """Consecutive windows [N, length + 1] with stride `length`: every token but the first is a target once; what does
    not fill a last row is left out."""
    count = (len(tokens) - 1) // length
    starts = np.arange(count)[:, None] * length
    rows: npt.NDArray[np.int64] = tokens[starts + np.arange(length + 1)].astype(np.int64)
    return rows


def row_nats(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Nats of the counted targets of each row; logits [B, T, V], targets and counted [B, T]. Raises ScoreError for
    logits that give no finite number.

    Row by row in one buffer: 2 MB stay in the cache, which is 2.5 times as fast as the whole batch at once.
    """
    nats = np.empty(len(logits))
    shifted = np.empty(logits.shape[1:], np.float32)
    with np.errstate(all="ignore"):  # what is not finite is found at the end
        for i, (row, target) in enumerate(zip(logits, targets, strict=True)):
            top = row.max(axis=-1)
            np.exp(np.subtract(row, top[:, None], out=shifted), out=shifted)
            chosen = np.take_along_axis(row, target[:, None], axis=-1)[:, 0]
            surprise = np.log(shifted.sum(axis=-1)) + top - chosen
            nats[i] = surprise[counted[i]].sum(dtype=np.float64)
    if not np.isfinite(nats).all():
        raise ScoreError("not-finite: the model's logits give no finite loss")
    return nats


class ModelServer:
    """The other process, as a function from ids [B, T] to logits [B, T, V]."""

    def __init__(self, spec: ScoreSpec) -> None:
        self._vocab_size = spec.vocab_size
        size = max(ROWS * spec.seq_len * spec.vocab_size * 4, ROWS * spec.seq_len * 8)
        self._file = os.memfd_create("logits") if hasattr(os, "memfd_create") else _temporary_file()
        os.ftruncate(self._file, size)
        self._memory = mmap.mmap(self._file, size)
        server = Path(__file__).with_name("model_server.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(server), spec.module, spec.weights, str(self._file)],
            cwd=spec.tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "RATCHETREE_CONTROL"},
            pass_fds=(self._file,),
            text=True,
        )

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._memory.close()
        os.close(self._file)

    def wait_until_ready(self) -> None:
        """The model is built and its weights are loaded. Raises ScoreError if not."""
        if not self._reply().get("ready"):
            raise ScoreError("build: the model server did not start")

    def logits(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Ask for one batch. Raises ScoreError if the shape is wrong or the server is gone."""
        rows, length = ids.shape
        self._memory[: ids.nbytes] = ids.tobytes()
        self._requests.write(json.dumps({"rows": rows, "length": length, "vocab_size": self._vocab_size}) + "\n")
        self._requests.flush()
        shape = self._reply().get("shape")
        if shape != [rows, length, self._vocab_size]:
            raise ScoreError(f"the model returned shape {shape}, not {[rows, length, self._vocab_size]}")
        count = rows * length * self._vocab_size
        # A copy: the other process could change what it has answered.
        return np.frombuffer(self._memory, np.float32, count).reshape(rows, length, self._vocab_size).copy()

    @property
    def _requests(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise ScoreError(f"build: the model could not be built and loaded (the server ended with code {code})")
        answer = json.loads(line)
        return answer if isinstance(answer, dict) else {}


def score(spec: ScoreSpec) -> float:
    """Bits per byte of the held-out part. Raises ScoreError."""
    tokens = np.fromfile(spec.tokens, dtype="<u2")
    token_bytes = np.load(spec.token_bytes, allow_pickle=False)
    rows = rows_of(tokens, spec.seq_len)
    nats = 0.0
    with ModelServer(spec) as server:
        server.wait_until_ready()
        for start in range(0, len(rows), ROWS):
            batch = rows[start : start + ROWS]
            targets = batch[:, 1:]
            logits = server.logits(np.ascontiguousarray(batch[:, :-1]))
            nats += float(row_nats(logits, targets, token_bytes[targets] > 0).sum())
    return bits_per_byte(nats, int(token_bytes[rows[:, 1:]].sum()))


def _temporary_file() -> int:
    import tempfile

    handle, path = tempfile.mkstemp()
    Path(path).unlink()
    return handle


def main() -> None:
    """Read the spec from the first argument; tell the supervisor the result on the control channel, which the model
    server never gets hold of."""
    try:
        result: dict[str, Any] = {"value": score(ScoreSpec(**json.loads(sys.argv[1])))}
    except (ScoreError, BrokenPipeError, ValueError) as error:
        result = {"error": str(error) or type(error).__name__}
    with socket.socket(fileno=int(os.environ["RATCHETREE_CONTROL"])) as control:
        control.sendall(json.dumps({"result": result}).encode() + b"\n")


if __name__ == "__main__":
    main()
