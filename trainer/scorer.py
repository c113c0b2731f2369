"""The trusted half of scoring: held-out tokens in, bits per byte out, and a check that only modelling earned them.

A process of its own, started for every trial. It asks the model server for logits and computes everything else itself:
log-softmax in float32, sums in float64, bytes from the tokens' own bytes. A training script's word counts for nothing.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..search.scrutiny import SCREEN_CUTS, TOLERANCE
from .probes import Findings, Ids, Nats, compare, decoys
from .server import ModelServer, ScoreError

ROWS = 16
"""Rows per question: [16, 256] tokens of a vocabulary of 2,048 are 34 MB of logits. Every question has as many, so that
a model cannot tell by the shape what it is asked for."""

CACHED = 1 << 19
"""Logits that one core works on at a time: 2 MB stay in its cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSpec:
    """One scoring: the tree to build the model from, the weights, the held-out part, and how the server is confined."""

    tree: str
    module: str  # the training script's module name
    weights: str
    tokens: str  # flat uint16 file
    token_bytes: str
    vocab_size: int
    seq_len: int
    servers: list[dict[str, Any]]  # of the decoys' and the rows' process: confinement (as JSON) and environment
    rows: str = ""  # file for the nats of every row, float64 [N]; empty = none
    cuts: int = 0  # places to probe; 0 = as at a first trial
    tolerance: float = 0.0  # nats; 0 = what an exact model needs


def bits_per_byte(nats: float, total_bytes: int) -> float:
    """Cross-entropy of the text in bits per byte: nats / (ln 2 * bytes)."""
    return nats / (math.log(2) * total_bytes)


def rows_of(tokens: npt.NDArray[np.uint16], length: int) -> Ids:
    """Consecutive windows [N, length + 1] with stride `length`: every token but the first is a target once; what does
    not fill a last row is left out."""
    count = (len(tokens) - 1) // length
    starts = np.arange(count)[:, None] * length
    rows: Ids = tokens[starts + np.arange(length + 1)].astype(np.int64)
    return rows


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
    if not np.isfinite(nats).all():
        raise ScoreError("not-finite: the model's logits give no finite loss")
    return nats.reshape(targets.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a scoring found."""

    value: float  # bits per byte
    findings: Findings


def score(spec: ScoreSpec, rng: np.random.Generator) -> Measured:
    """Bits per byte of the held-out part, with what the probes found. Raises ScoreError.

    rng: decides what is probed and in which order the rows are asked; the value does not depend on it."""
    tokens = np.fromfile(spec.tokens, dtype="<u2")
    token_bytes = np.load(spec.token_bytes, allow_pickle=False)
    rows = rows_of(tokens, spec.seq_len)
    asked = decoys(rows, spec.cuts or SCREEN_CUTS, ROWS, rng)
    order = rng.permutation(len(rows))
    filling = rng.choice(order, -len(order) % ROWS)
    full = np.concatenate([order, filling])  # every batch has as many rows,
    order = np.concatenate([full, full[:ROWS]])  # and the first is asked again
    with _server(spec, 1) as second:  # imports torch beside the first, but its model waits for the first one's end
        with _server(spec, 0) as first:
            answers = _ask(first, asked.ids[:, :-1], rows[asked.rows, 1:])
        seen = _ask(second, rows[order, :-1], rows[order, 1:])
    true, end = np.empty((len(rows), spec.seq_len)), len(order) - ROWS
    true[order[: len(rows)]] = seen[: len(rows)]
    findings = compare(asked, answers, true, repeated=(order[end:], seen[end:]), moved=(filling, seen[len(rows) : end]))
    complaint = findings.complaint(spec.tolerance or TOLERANCE)
    if complaint is not None:
        raise ScoreError(complaint)
    counted = token_bytes[rows[:, 1:]]
    by_row = np.where(counted > 0, true, 0.0).sum(axis=1, dtype=np.float64)
    if spec.rows:
        np.save(spec.rows, by_row)
    return Measured(value=bits_per_byte(float(by_row.sum()), int(counted.sum())), findings=findings)


def _ask(server: ModelServer, ids: Ids, targets: Ids) -> Nats:
    """Nats [N, T] of the targets; ids [N, T], whole batches."""
    threads = _threads()
    starts = range(0, len(ids), ROWS)
    answers = server.answers(np.ascontiguousarray(ids[start : start + ROWS]) for start in starts)
    return np.concatenate(
        [token_nats(logits, targets[i : i + ROWS], threads=threads) for i, logits in zip(starts, answers, strict=True)]
    )


def _server(spec: ScoreSpec, which: int) -> ModelServer:
    return ModelServer(
        tree=spec.tree,
        module=spec.module,
        weights=spec.weights,
        vocab_size=spec.vocab_size,
        rows=ROWS,
        length=spec.seq_len,
        threads=_threads(),
        **spec.servers[which],
    )


def _threads() -> int:
    """Those of the slot."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def main() -> None:
    """Read the spec from the first argument; tell the supervisor the result on the control channel, which the model
    server never gets hold of."""
    with socket.socket(fileno=int(os.environ["RATCHETREE_CONTROL"])) as control:
        try:
            measured = score(ScoreSpec(**json.loads(sys.argv[1])), np.random.default_rng())
            found = measured.findings
            result: dict[str, Any] = {"value": measured.value, "leak": round(found.leak, 9), "cuts": found.cuts}
        except (ScoreError, BrokenPipeError, ValueError) as error:
            result = {"error": str(error) or type(error).__name__}
        control.sendall(json.dumps({"result": result}).encode() + b"\n")


if __name__ == "__main__":
    main()
