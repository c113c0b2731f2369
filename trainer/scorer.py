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
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..search.scrutiny import SCREEN_CUTS, TOLERANCE
from .device_memory import DeviceMemoryError
from .exchange import Exchange, InMemory, OnCard, ScoreError
from .probes import Findings, Ids, Nats, compare, decoys
from .server import ModelServer

ROWS = 16
"""Rows per question: [16, 256] tokens of a vocabulary of 2,048 are 34 MB of logits. Every question has as many, so that
a model cannot tell by the shape what it is asked for."""


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
    on_card: bool = False  # whether the logits stay on the card


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
    batches = [slice(start, start + ROWS) for start in range(0, len(ids), ROWS)]
    return np.concatenate(list(server.nats((np.ascontiguousarray(ids[some]), targets[some]) for some in batches)))


def _server(spec: ScoreSpec, which: int) -> ModelServer:
    place = exchange((ROWS, spec.seq_len, spec.vocab_size), on_card=spec.on_card)
    return ModelServer(place, tree=spec.tree, module=spec.module, weights=spec.weights, **spec.servers[which])


def exchange(shape: tuple[int, int, int], *, on_card: bool) -> Exchange:
    """For logits of that shape: on the card if that is wanted and can be."""
    if on_card:
        try:
            return OnCard(*shape)
        except DeviceMemoryError as error:  # such as a card that is full
            sys.stderr.write(f"the logits go through the machine's memory: {error}\n")
    return InMemory(*shape, threads=_threads())


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
