"""The model server as the scorer sees it: another process, in a sandbox of its own, that turns ids into logits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .confine import start
from .exchange import Exchange, ScoreError
from .probes import Ids, Nats

LONGEST_REPLY = 65536
"""Bytes of one line: what says more is no reply."""


class ModelServer:
    """A function from ids [rows, length] and targets [rows, length] to nats, whose model is in a process of its own.

    The process imports torch at once, and builds the model when it is first asked. So one server's slow start costs no
    time while another answers, and yet their models never run at once: each could tell the other what it was asked.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        tree: str,
        module: str,
        weights: str,
        confinement: dict[str, Any],
        environment: dict[str, str],
    ) -> None:
        self._exchange = exchange
        program = Path(__file__).with_name("model_server.py")
        self._process = start(
            [sys.executable, "-P", str(program), module, weights, *exchange.arguments],
            confinement,
            pass_fds=exchange.descriptors,
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
        self._exchange.close()

    def nats(self, questions: Iterable[tuple[Ids, Ids]]) -> Iterator[Nats]:
        """The nats of every question's targets in order; while the caller's side works on one, the server computes the
        next. Call it once. Raises ScoreError if the model cannot be built and loaded, gives a wrong shape or no finite
        number, or the server is gone."""
        self._send({"go": True})
        self._exchange.prepare()
        if not self._reply().get("ready"):
            raise ScoreError("build: the model server did not start")
        before: Ids | None = None
        for ids, targets in questions:
            self._exchange.put(ids)
            self._send(dict(zip(("rows", "length", "vocab_size"), self._exchange.shape, strict=True)))
            if before is not None:
                yield self._exchange.nats(before)
            shape = self._reply().get("shape")
            if shape != (wanted := list(self._exchange.shape)):
                raise ScoreError(f"the model returned shape {str(shape)[:100]}, not {wanted}")
            self._exchange.take()
            before = targets
        if before is not None:
            yield self._exchange.nats(before)

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
