"""Stands in for the `prepare.py` of karpathy/autoresearch, under the same names: its `train.py` runs unmodified.

Data, clock and score are ratchetree's: text is prepared by `data.py` (the gpt-gpu task's), batches come from the
trainer when the clock starts, and what `evaluate_bpb` is given is saved for the scorer. What differs from the original:

- The clock is the wall clock of the trial. It starts at the first batch and does not stop while anything compiles. It
  stands SPARE_SECONDS above TIME_BUDGET, for that and for saving; a script that is still training then is ended by its
  next batch, and its model is saved as it is.
- There is no validation text here. `evaluate_bpb` measures on training rows that follow, so what the script prints is a
  rough and self-reported number.
- The tokenizer has its sizes only: no trial can read its file.

As a script it does what `data.py` does: python prepare.py [--download N] [--corpus DIR]. Patches may not touch it.
"""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data
import rebuild

if TYPE_CHECKING:
    import torch

SPARE_SECONDS = 30.0  # of the budget, for compiling and saving
SAVE_SECONDS = 5.0  # of these, that a script which does not end by itself has no batches for
EVAL_BATCHES = 8

MAX_SEQ_LEN = data.SEQ_LEN
VOCAB_SIZE = data.VOCAB_SIZE
EVAL_TOKENS = EVAL_BATCHES * 128 * MAX_SEQ_LEN
BOS_TOKEN = "<|bos|>"


def _time_budget() -> float:
    seconds: float = tomllib.loads(Path(__file__).with_name("ratchetree.toml").read_text())["budget"]["seconds"]
    return seconds - SPARE_SECONDS if seconds > 2 * SPARE_SECONDS else seconds / 2


def __getattr__(name: str) -> Any:
    """What takes a file or torch is made when it is first asked for."""
    if name == "TIME_BUDGET":
        return _time_budget()
    if name == "task":
        return data.task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Tokenizer:
    """The sizes of the tokenizer."""

    @classmethod
    def from_directory(cls, tokenizer_dir: str = "") -> Tokenizer:
        """There is one tokenizer."""
        return cls()

    def get_vocab_size(self) -> int:
        """With the separator."""
        return VOCAB_SIZE

    def get_bos_token_id(self) -> int:
        """The separator."""
        return data.BOS

    def encode(self, *_: Any, **__: Any) -> list[int]:
        """Not in a trial."""
        raise RuntimeError("a trial has no tokenizer: the batches are token ids")

    decode = encode


def get_token_bytes(device: str = "cpu") -> torch.Tensor:
    """int32 [VOCAB_SIZE]: the bytes of each token; 0 for the separator."""
    import torch

    return torch.from_numpy(data.token_bytes()).to(device)


def make_dataloader(
    tokenizer: Tokenizer, B: int, T: int, split: str, buffer_size: int = 1000
) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Batches (inputs, targets, epoch) without end, as the original's; raises TimeUp when the budget is used up.

    Where the model is only rebuilt for the scorer, the question for data ends the script.
    """
    if rebuild.active:
        raise rebuild.Asked
    if split != "train":
        raise ValueError(f"make_dataloader(split={split!r}): a trial has training text only")
    return _batches(B, T)


def _batches(B: int, T: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    tokens = 0
    for x, y in data.train_batches(B, T):
        if data.seconds_left() < min(SAVE_SECONDS, 0.1 * _time_budget()):
            break
        epoch = 1 + tokens // max(1, data.training_tokens())
        tokens += B * T
        yield x.contiguous(), y.contiguous(), epoch
    raise rebuild.TimeUp


def evaluate_bpb(model: Any, tokenizer: Tokenizer, batch_size: int) -> float:
    """Save the model for the scorer; then bits per byte on training rows that come next, NaN if no time is left."""
    import torch

    rebuild.keep(model)
    model = getattr(model, "_orig_mod", model)  # in another mode it would be compiled anew
    lengths = get_token_bytes(data.task.device)
    nats, count = 0.0, 0
    with torch.no_grad():
        for i, (x, y) in enumerate(data.train_batches(batch_size, MAX_SEQ_LEN)):
            if i == EVAL_BATCHES or data.seconds_left() < SAVE_SECONDS:
                break
            counted = lengths[y].view(-1)
            nats += (model(x, y, reduction="none").view(-1) * (counted > 0)).sum().item()
            count += int(counted.sum())
    return nats / math.log(2) / count if count else math.nan


if __name__ == "__main__":
    sys.exit(data.main())
