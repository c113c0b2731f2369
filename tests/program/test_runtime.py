"""What prepare.py does while train.py runs: the control channel, the budget, the batches and the save."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .conftest import Parent


class Bigram(torch.nn.Module):
    """The smallest model with the right shapes."""

    def __init__(self, vocab_size: int = 2048) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(vocab_size, 8)
        self.head = torch.nn.Linear(8, vocab_size)

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.table(idx))
        return logits


def test_the_first_batch_asks_for_the_data_and_not_before(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    assert prepare.task.vocab_size == 2048 and prepare.task.device == "cpu"
    batches = prepare.train_batches(2, 16)
    assert prepare.seconds_left() == math.inf and prepare.progress() == 0.0
    assert parent.heard() == []
    parent.answer("wall", 60.0)
    next(batches)
    assert parent.heard()[0] == {"ask": "data"}
    assert 0 < prepare.seconds_left() <= 60 and 0 <= prepare.progress() < 1


def test_a_tokens_budget_is_handed_out_exactly(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer("tokens", 1000.0)
    shares = []
    for x, y in prepare.train_batches(4, 32):  # 128 tokens: seven batches fit, the eighth would make 1,024
        assert x.shape == y.shape == (4, 32)
        assert prepare.seconds_left() == math.inf
        shares.append(prepare.progress())
    assert shares == [128 * n / 1000 for n in range(1, 8)]


def test_a_tokens_budget_that_is_used_up_leaves_no_seconds(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer("tokens", 256.0)
    assert len(list(prepare.train_batches(4, 32))) == 2
    assert prepare.seconds_left() == 0.0 and prepare.progress() == 1.0


@pytest.mark.parametrize("kind", ["cpu", "wall"])
def test_a_budget_of_seconds_ends_the_batches(load: Any, parent: Parent, kind: str) -> None:
    prepare = load("prepare")
    parent.answer(kind, 0.05)
    clock = time.process_time if kind == "cpu" else time.monotonic
    started = clock()
    seen = [prepare.seconds_left() for _ in prepare.train_batches(4, 32)]
    assert clock() - started >= 0.05
    assert seen == sorted(seen, reverse=True) and 0 <= seen[-1] < seen[0] <= 0.05
    assert prepare.seconds_left() == 0.0 and prepare.progress() == 1.0


def test_cpu_seconds_do_not_pass_while_the_process_waits(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer("cpu", 1000.0)
    next(prepare.train_batches(1, 8))
    before, wall = prepare.seconds_left(), time.monotonic()
    while time.monotonic() - wall < 0.1:
        time.sleep(0.02)
    assert before - prepare.seconds_left() < 0.1


def test_y_is_one_token_ahead_of_x_and_rows_are_windows_of_the_text(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer()
    x, y = next(prepare.train_batches(8, 64))
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(y, x + 1)  # the parent's text counts upwards
    assert torch.equal(x - x[:, :1], torch.arange(64).expand(8, 64))


def test_an_epoch_hands_out_every_window_once(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer("tokens", 20_000 - 100)
    starts = [row[0].item() for x, _ in prepare.train_batches(1, 100) for row in x]
    assert len(set(starts)) == len(starts) == 199
    assert len({start % 100 for start in starts}) == 1  # one offset, so windows do not overlap
    assert starts != sorted(starts)


def test_batches_may_be_larger_than_an_epoch(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer()
    x, _ = next(prepare.train_batches(300, 100))  # an epoch has at most 199 windows
    assert x.shape == (300, 100)


def test_the_order_follows_the_seed(load: Any, parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    for seed in (1, 1, 2):
        prepare = load("prepare")
        monkeypatch.setenv("RATCHETREE_CONTROL", str(os.dup(parent.childs.fileno())))
        parent.answer("tokens", 2000, seed=seed)
        orders.append(torch.cat([x[:, 0] for x, _ in prepare.train_batches(2, 50)]).tolist())
    assert orders[0] == orders[1] != orders[2]


def test_a_script_may_change_its_batch_shape_on_the_way(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer("tokens", 1000)
    short = prepare.train_batches(4, 50)
    assert [next(short)[0].shape for _ in range(2)] == [(4, 50)] * 2
    x, _ = next(prepare.train_batches(2, 200))
    assert x.shape == (2, 200)
    assert prepare.progress() == 0.8  # 2 * 4 * 50 + 2 * 200 of 1,000


@pytest.mark.parametrize(("rows", "length"), [(1, 257), (1, 0), (0, 16)])
def test_a_shape_outside_the_task_is_refused_at_once(load: Any, parent: Parent, rows: int, length: int) -> None:
    prepare = load("prepare")
    with pytest.raises(ValueError, match="length 1 to 256"):
        prepare.train_batches(rows, length)
    assert parent.heard() == []


def test_a_parent_that_is_gone_ends_the_script_with_one_line(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.socket.close()
    with pytest.raises(SystemExit, match="no data from the trainer"):
        next(prepare.train_batches(1, 8))


def test_progress_is_told_and_a_parent_that_does_not_read_or_dies_is_no_obstacle(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer("tokens", 4000)
    batches = prepare.train_batches(2, 50)
    next(batches)
    assert {"steps": 0, "tokens": 0} in parent.heard()
    for _ in range(20_000):  # more than the socket holds
        prepare._trial.start().tell()
    next(batches)
    parent.socket.close()
    assert len(list(batches)) == 38


def test_save_writes_all_weights_and_tells_the_parent(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer("tokens", 300)
    steps = len(list(prepare.train_batches(2, 50)))
    model = Bigram()
    prepare.save(model)
    saved = torch.load(parent.out / "model.pt", weights_only=True)
    assert {name: value.tolist() for name, value in saved.items()} == {
        name: value.tolist() for name, value in model.state_dict().items()
    }
    assert parent.heard()[-1] == {"saved": True, "steps": steps, "tokens": 300}
    assert not (parent.out / "model.pt.tmp").exists()


def test_tied_weights_are_saved_once_and_load_again(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer()
    model = Bigram()
    model.head = torch.nn.Linear(8, 2048, bias=False)
    model.head.weight = model.table.weight
    prepare.save(model)
    assert (parent.out / "model.pt").stat().st_size < 1.5 * 2048 * 8 * 4
    state = torch.load(parent.out / "model.pt", weights_only=True)
    assert torch.equal(state["head.weight"], state["table.weight"])


def test_a_later_save_replaces_an_earlier_one(load: Any, parent: Parent) -> None:
    prepare = load("prepare")
    parent.answer()
    model = Bigram()
    prepare.save(model)
    with torch.no_grad():
        model.head.bias.fill_(7.0)
    prepare.save(model)
    assert torch.load(parent.out / "model.pt", weights_only=True)["head.bias"].eq(7).all()


SCRIPT = """
import os, signal, torch
from prepare import save, task, train_batches

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(task.vocab_size, 4)
        self.head = torch.nn.Linear(4, task.vocab_size)
    def forward(self, idx):
        return self.head(self.table(idx))

def build_model(task):
    return Model()

def main():
    model = Model()
    for x, y in train_batches(2, 32):
        logits = model.head(model.table(x))  # not through forward, which the tests break
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= p.grad
        model.zero_grad()
        print("stepped", flush=True)
    save(model)

if __name__ == "__main__":
    main()
"""


def run_script(folder: Path, parent: Parent, script: str) -> subprocess.CompletedProcess[str]:
    """Run it as a trial is run: in its folder, with the channel inherited."""
    (folder / "train.py").write_text(script)
    env = os.environ | {"RATCHETREE_CONTROL": str(parent.childs.fileno()), "RATCHETREE_DEVICE": "cpu"}
    return subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env=env,
        pass_fds=[parent.childs.fileno()],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def small_vocabulary(parent: Parent) -> Parent:
    """A parent whose text stays inside the vocabulary, so that models can read it."""
    (np.arange(20_000) % 2048).astype("<u2").tofile(parent.data)
    return parent


def test_a_smoke_run_takes_two_batches_and_saves(trial_folder: Path, small_vocabulary: Parent) -> None:
    small_vocabulary.answer("wall", 0.0, smoke=True)
    done = run_script(trial_folder, small_vocabulary, SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["stepped"] * 2
    assert small_vocabulary.heard()[-1] == {"saved": True, "steps": 2, "tokens": 128}


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("self.head(self.table(idx))", "self.head(self.table(idx))[:, -1]", "build: forward must return float logits"),
        ("self.head(self.table(idx))", "self.head(self.table(idx)).argmax(-1)", "build: forward must return float"),
        ("return Model()", "return torch.nn.Sequential(Model())", "build: a fresh model with the saved weights"),
        ("def build_model(task)", "def another_name(task)", "build: a fresh model with the saved weights"),
        (
            "    save(model)",
            "    model.head.bias = None\n    save(model)",
            "build: a fresh model with the saved weights",
        ),
        ("    save(model)", "    model.head.bias.data[3] = float('nan')\n    save(model)", "not-finite: "),
        ("self.table(idx))", "self.table(idx)) / (1.0 if self.training else 0.0)", "not-finite: "),
    ],
    ids=["one position", "integers", "other names", "no build_model", "missing weight", "nan", "infinite in eval mode"],
)
def test_a_smoke_run_catches_what_cannot_be_scored(
    trial_folder: Path, small_vocabulary: Parent, good: str, bad: str, message: str
) -> None:
    assert SCRIPT.count(good) == 1
    small_vocabulary.answer("cpu", 1.0, smoke=True)
    done = run_script(trial_folder, small_vocabulary, SCRIPT.replace(good, bad))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"RuntimeError: {message}")
    assert not any("saved" in message for message in small_vocabulary.heard())


def test_a_kill_while_saving_leaves_the_earlier_save(trial_folder: Path, small_vocabulary: Parent) -> None:
    script = SCRIPT.replace(
        "    save(model)",
        """    save(model)
    class Trap:
        def __reduce__(self):
            os.kill(os.getpid(), signal.SIGKILL)
    Model.get_extra_state = lambda self: Trap()
    save(model)""",
    )
    small_vocabulary.answer("tokens", 128)
    done = run_script(trial_folder, small_vocabulary, script)
    assert done.returncode == -9
    assert (small_vocabulary.out / "model.pt.tmp").exists()
    saved = torch.load(small_vocabulary.out / "model.pt", weights_only=True)
    assert sorted(saved) == ["head.bias", "head.weight", "table.weight"]


def test_what_the_root_compiled_is_copied_before_anything_compiles(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "snapshot" / "triton").mkdir(parents=True)
    (tmp_path / "snapshot" / "triton" / "kernel.so").write_text("code")
    monkeypatch.setenv("RATCHETREE_COMPILED", str(tmp_path / "snapshot"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "own"))
    for _ in range(2):  # a second process of the run finds it there
        assert load("prepare").task.device == "cpu"
        assert (tmp_path / "own" / "triton" / "kernel.so").read_text() == "code"
