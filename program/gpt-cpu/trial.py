"""What a training script has while it runs: the task, the budget, the parent's data, and `save`.

Shared by the tasks: each `prepare.py` makes one `Trial` and hands its methods on to `train.py`. It prepares no data and
does not score: the trainer does that, with a copy of its own, from the saved weights. Patches may not touch this file.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import math
import os
import shutil
import socket
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# torch and numpy are imported where they are used: preparing data that is cached must not take a second.
if TYPE_CHECKING:
    import numpy as np
    import torch

_SMOKE_BATCHES = 2  # the budget of a smoke run, whatever the trial's would be


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a model has to fit, and where it is trained."""

    vocab_size: int
    seq_len: int  # tokens in a row when the model is scored; training rows may be shorter
    device: str  # cpu, cuda or mps
    seed: int


@dataclass(slots=True, kw_only=True)
class Run:
    """This training run: its budget, its data and what it has used of both."""

    kind: str  # what the budget counts: wall or cpu (seconds), tokens, or batches (in a smoke run)
    amount: float
    seed: int
    out: Path  # where to save
    tokens: np.ndarray  # uint16 [N], read only
    control: socket.socket | None  # None: started by hand
    manifest: dict[str, Any]  # of the data, for the evaluation by hand; else empty
    started: float = 0.0  # by the budget's clock, seconds
    reported: float = -math.inf  # when the parent was last told, monotonic seconds
    streams: int = 0  # times that batches were asked for
    batches: int = 0  # handed out
    tokens_used: int = 0  # handed out

    def clock(self) -> float:
        """Seconds of the clock that the budget goes by."""
        return time.process_time() if self.kind == "cpu" else time.monotonic()

    def used(self) -> float:
        """So much of the budget, in its unit."""
        counts = {"tokens": self.tokens_used, "batches": self.batches}
        return counts[self.kind] if self.kind in counts else self.clock() - self.started

    def allows(self, tokens: int) -> bool:
        """Whether the budget has room for a batch of so many tokens."""
        price = {"tokens": tokens, "batches": 1}
        return self.used() + price.get(self.kind, 0) <= self.amount

    def hand_out(self, tokens: int) -> None:
        """Count a batch."""
        self.batches += 1
        self.tokens_used += tokens

    def tell(self, **message: Any) -> None:
        """Say something to the parent if it listens: a slow or dead parent must not hold up the training."""
        if self.control is not None:
            message |= {"steps": self.batches, "tokens": self.tokens_used}
            with contextlib.suppress(OSError):  # its buffer is full, or it is gone; so short a line is never cut
                self.control.send(f"{json.dumps(message)}\n".encode(), socket.MSG_DONTWAIT)

    def report(self) -> None:
        """Tell the parent how far it got, twice a second."""
        if time.monotonic() - self.reported > 0.5:
            self.tell()
            self.reported = time.monotonic()


class Trial:
    """The one run of this process. prepared: the manifest of a corpus (empty = the task's own), for a run by hand."""

    def __init__(self, *, vocab_size: int, seq_len: int, prepared: Callable[[str], dict[str, Any]]) -> None:
        self._vocab_size = vocab_size
        self._seq_len = seq_len
        self._prepared = prepared
        self.run: Run | None = None  # once it has begun

    @functools.cached_property
    def task(self) -> Task:
        """Made when it is first asked for, because choosing a device takes torch."""
        _unpack_compiled()
        import torch

        gc.freeze()  # imports are no garbage: without a last look through all of torch, the process ends 0.3 s sooner
        device = os.environ.get("RATCHETREE_DEVICE")
        if not device:
            device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if device == "cpu":
            # Before a model is built: with one thread a seed gives the same bits every time. One is also what the seed
            # models are tuned for; more of them burn a CPU budget faster than they train.
            torch.set_num_threads(int(os.environ.get("RATCHETREE_THREADS") or 1))
        seed = int(os.environ.get("RATCHETREE_SEED") or 0)
        return Task(vocab_size=self._vocab_size, seq_len=self._seq_len, device=device, seed=seed)

    def start(self) -> Run:
        """Get budget and data, from the parent if there is one. The clock starts here."""
        if self.run is None:
            control = os.environ.get("RATCHETREE_CONTROL")
            self.run = _ask(socket.socket(fileno=int(control))) if control else self._start_by_hand()
            self.run.started = self.run.clock()
        return self.run

    def _start_by_hand(self) -> Run:
        """For a person at a shell: the data from the cache, the budget from ratchetree.toml or RATCHETREE_SECONDS."""
        import numpy as np

        settings = tomllib.loads(Path(__file__).with_name("ratchetree.toml").read_text())
        budget = settings["budget"]
        try:
            manifest = self._prepared(settings["task"].get("corpus", ""))
        except Exception as error:  # whatever is wrong with the corpus; a person reads it
            raise SystemExit(f"prepare.py: {error}") from error
        seconds = os.environ.get("RATCHETREE_SECONDS") or budget["seconds"]
        return Run(
            kind=budget["kind"],
            amount=float(budget["tokens"] if budget["kind"] == "tokens" else seconds),
            seed=self.task.seed,
            out=Path(tempfile.mkdtemp(prefix="ratchetree-")),  # not beside the code, which is a git work tree
            tokens=np.memmap(manifest["train"], dtype="<u2", mode="r"),
            control=None,
            manifest=manifest,
        )

    def seconds_left(self) -> float:
        """Seconds of the budget that are left.

        Infinite before the first batch, when the budget is not known yet, and while a budget of tokens lasts.
        """
        if self.run is None:
            return math.inf
        left = max(0.0, self.run.amount - self.run.used())
        counts_seconds = self.run.kind in ("wall", "cpu")
        return left if counts_seconds or left == 0 else math.inf

    def progress(self) -> float:
        """The share of the budget that is used, 0 to 1: what schedules go by."""
        return min(1.0, self.run.used() / self.run.amount) if self.run is not None else 0.0

    def save(self, model: torch.nn.Module) -> None:
        """Save the weights where the trainer looks for them; the last complete save counts.

        In a smoke run it also checks that what was saved can be scored. By hand it prints an evaluation of its own.
        """
        import torch

        run = self.start()
        model = getattr(model, "_orig_mod", model)  # torch.compile renames every weight
        target, unfinished = run.out / "model.pt", run.out / "model.pt.tmp"
        torch.save(model.state_dict(), unfinished)
        unfinished.replace(target)  # atomic: after a kill there is the old save or the new one
        if run.kind == "batches":
            _check(target, self.task)
        run.tell(saved=True)
        if run.control is None:
            before = run.clock()
            val_bpb = own_evaluation(model, run.manifest, self.task)
            run.started += run.clock() - before  # looking at oneself is not training
            print(f"saved {target}\nval_bpb: {val_bpb:.6f} (self-reported: from this process, not from the scorer)")


def _unpack_compiled() -> None:
    """A copy of its own of what the campaign's root compiled on this kind of card, where the compiler looks for it."""
    snapshot, place = os.environ.get("RATCHETREE_COMPILED"), os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if snapshot and place and not Path(place).exists():
        shutil.copytree(snapshot, place)


def _ask(control: socket.socket) -> Run:
    import numpy as np

    line, descriptors = b"", []
    try:
        control.sendall(b'{"ask": "data"}\n')
        while not line.endswith(b"\n"):
            part, received, _, _ = socket.recv_fds(control, 65536, 1)
            if not part:
                raise ConnectionError("it was closed before the data came")
            line, descriptors = line + part, descriptors + received
    except ConnectionError as error:
        control.close()
        raise SystemExit(f"no data from the trainer over RATCHETREE_CONTROL: {error}") from error
    message = json.loads(line)
    budget = {"kind": "batches", "amount": _SMOKE_BATCHES} if message["smoke"] else message["budget"]
    with os.fdopen(descriptors[0], "rb") as file:
        tokens = np.memmap(file, dtype="<u2", mode="r")
    seed, out = message["seed"], Path(message["out"])
    return Run(**budget, seed=seed, out=out, tokens=tokens, control=control, manifest={})


def _check(saved: Path, task: Task) -> None:
    """Whether a fresh model takes these weights and answers as the scorer expects; RuntimeError if not."""
    import torch

    try:
        model = sys.modules["__main__"].build_model(task).to(task.device)  # type: ignore[attr-defined]
        model.load_state_dict(torch.load(saved, map_location=task.device, weights_only=True))
        model.eval()
        with torch.no_grad():
            logits = model(torch.randint(task.vocab_size, (2, task.seq_len), device=task.device))
    except Exception as error:  # whatever a patched model does wrong
        raise RuntimeError(f"build: a fresh model with the saved weights does not run: {error!r}") from error
    expected = (2, task.seq_len, task.vocab_size)
    if not (isinstance(logits, torch.Tensor) and logits.shape == expected and logits.is_floating_point()):
        given = f"{logits.dtype} {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise RuntimeError(f"build: forward must return float logits of shape {expected}, not {given}")
    if not logits.isfinite().all():
        raise RuntimeError("not-finite: the logits hold NaN or infinity after two steps")


def own_evaluation(model: torch.nn.Module, manifest: dict[str, Any], task: Task) -> float:
    """Bits per byte on validation: nats of all targets that stand for text, over ln 2 times their bytes."""
    import numpy as np
    import torch

    device = next(model.parameters()).device
    tokens = torch.from_numpy(np.fromfile(manifest["validation"], dtype="<u2").astype(np.int64))
    n_rows = (len(tokens) - 1) // task.seq_len
    x = tokens[: n_rows * task.seq_len].view(n_rows, task.seq_len)
    y = tokens[1 : n_rows * task.seq_len + 1].view(n_rows, task.seq_len)
    lengths = torch.from_numpy(np.load(manifest["token_bytes"]))[y]
    nats = 0.0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for rows in torch.arange(n_rows).split(16):
            nats_per_id = -model(x[rows].to(device)).float().log_softmax(-1)
            losses = nats_per_id.gather(-1, y[rows, :, None].to(device)).squeeze(-1).cpu()
            nats += losses.double()[lengths[rows] > 0].sum().item()
    model.train(was_training)
    return nats / math.log(2) / int(lengths.sum())
