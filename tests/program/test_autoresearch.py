"""The ancestor's kind of script, unmodified: it trains at its top level, and its model is found and rebuilt."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ratchetree.search.errors import WrongUse
from ratchetree.storage.ancestor import ancestors_script, defined, imported

from .conftest import TASK as GPT_CPU
from .conftest import Parent

TASK = GPT_CPU.with_name("autoresearch")
SCRIPT = """
import math, time
from dataclasses import dataclass
import torch
import torch.nn as nn
import torch.nn.functional as F
from kernels import get_kernel
attention = get_kernel("somebody/flash-attention-3").flash_attn_interface.flash_attn_func
from prepare import MAX_SEQ_LEN, TIME_BUDGET, Tokenizer, make_dataloader, evaluate_bpb

@dataclass
class Config:
    vocab_size: int
    width: int = 16

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.table = nn.Embedding(config.vocab_size, config.width)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)

    def init_weights(self):
        for p in self.parameters():
            nn.init.normal_(p, std=0.02)

    def forward(self, idx, targets=None, reduction="mean"):
        x = self.table(idx)
        q = x.view(*idx.shape, 2, 8)
        x = x + attention(q, q, q, causal=True, window_size=(4, 0)).reshape(x.shape)
        logits = self.head(x).float()
        if targets is not None:
            return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1), reduction=reduction)
        return logits

tokenizer = Tokenizer.from_directory()
with torch.device("meta"):
    model = GPT(Config(vocab_size=tokenizer.get_vocab_size()))
model.to_empty(device="cpu")
model.init_weights()
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
loader = make_dataloader(tokenizer, 2, 64, "train")
x, y, epoch = next(loader)
began, step = time.time(), 0
while time.time() - began < TIME_BUDGET:
    loss = model(x, y)
    loss.backward()
    x, y, epoch = next(loader)
    optimizer.step()
    model.zero_grad(set_to_none=True)
    step += 1
val_bpb = evaluate_bpb(model, tokenizer, 2)
print(f"val_bpb:          {val_bpb:.6f}")
print(f"num_steps:        {step}")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace's files with the small script; TIME_BUDGET is half a second."""
    made = tmp_path / "trial"
    shutil.copytree(TASK, made, ignore=shutil.ignore_patterns("__pycache__"))  # links become files, as init makes them
    (made / "train.py").write_text(SCRIPT)
    text = (made / "ratchetree.toml").read_text()
    (made / "ratchetree.toml").write_text(text.replace("seconds  = 330", "seconds  = 1"))
    return made


@pytest.fixture
def texts(parent: Parent) -> Parent:
    """A parent whose data is the bytes of each token (3), then documents of a few numbers."""
    rng = np.random.default_rng(0)
    tokens = np.where(rng.random(50_000) < 0.01, 8191, rng.integers(0, 50, 50_000))
    lengths = np.full(8192, 3)
    lengths[8191] = 0
    np.concatenate([lengths, tokens]).astype("<u2").tofile(parent.data)
    return parent


def run(folder: Path, parent: Parent) -> subprocess.CompletedProcess[str]:
    """`python run.py` as the trainer runs it."""
    fd = parent.childs.fileno()
    return subprocess.run(
        [sys.executable, "run.py"],
        cwd=folder,
        env=os.environ | {"RATCHETREE_CONTROL": str(fd), "RATCHETREE_DEVICE": "cpu"},
        pass_fds=[fd],
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unmodified_script_is_ended_by_its_next_batch_saved_and_rebuilt(folder: Path, texts: Parent) -> None:
    texts.answer("wall", 60.0, smoke=True)
    done = run(folder, texts)
    assert done.returncode == 0, done.stderr
    assert "val_bpb" not in done.stdout
    assert texts.heard()[-1] == {"saved": True, "steps": 2, "tokens": 2 * 2 * 64}
    assert sorted(torch.load(texts.out / "model.pt", weights_only=True)) == ["inner.head.weight", "inner.table.weight"]


def test_it_ends_by_its_own_clock_and_prints_a_number_of_its_own(folder: Path, texts: Parent) -> None:
    text = (folder / "prepare.py").read_text()
    (folder / "prepare.py").write_text(text.replace("EVAL_BATCHES = 8", "EVAL_BATCHES = 1"))
    texts.answer("wall", 60.0)
    done = run(folder, texts)
    assert done.returncode == 0, done.stderr
    printed = float(done.stdout.split("val_bpb:")[1].split()[0])
    assert 0 < printed < 13 / 3 / 0.5  # log2 of the vocabulary over three bytes a token, with room
    assert (texts.out / "model.pt").exists() and any("saved" in message for message in texts.heard())


def test_a_model_that_is_not_there_when_data_is_asked_for_is_said_to_be_so(folder: Path, texts: Parent) -> None:
    late = 'loader = make_dataloader(tokenizer, 2, 64, "train")\n'
    text = SCRIPT.replace(late, "").replace("with torch.device(", late + "with torch.device(")
    (folder / "train.py").write_text(text.replace("while time.time() - began < TIME_BUDGET:", "while step < 1:"))
    texts.answer("wall", 60.0, smoke=True)
    done = run(folder, texts)
    assert done.returncode == 0, done.stderr
    assert "its model cannot be rebuilt for the scorer: build:" in done.stdout


def test_the_names_of_the_ancestor_are_offered_and_others_refused(tmp_path: Path) -> None:
    offered = defined((TASK / "prepare.py").read_text())
    assert {"MAX_SEQ_LEN", "TIME_BUDGET", "EVAL_TOKENS", "VOCAB_SIZE", "BOS_TOKEN", "task"} <= offered
    assert {"Tokenizer", "make_dataloader", "evaluate_bpb", "get_token_bytes"} <= offered
    assert imported(SCRIPT) <= offered
    checkout = tmp_path / "autoresearch"
    checkout.mkdir()
    with pytest.raises(WrongUse, match="cannot be read"):
        ancestors_script(checkout, TASK)
    (checkout / "train.py").write_text(SCRIPT)
    assert ancestors_script(checkout, TASK) == SCRIPT == ancestors_script(checkout / "train.py", TASK)
    for text, why in (
        ("from prepare import Oracle\n", "imports Oracle from prepare; offered: BOS_TOKEN"),
        ("import torch\n", "imports nothing from prepare"),
        ("def (\n", "is no Python script"),
    ):
        (checkout / "train.py").write_text(text)
        with pytest.raises(WrongUse, match=why):
            ancestors_script(checkout, TASK)
