"""The gpt-gpu task's seed model, on a CPU: the same file that runs on a card."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from .conftest import GPU_TASK, Parent
from .test_train import WATCH, run_train

TASK = SimpleNamespace(vocab_size=300, seq_len=96, device="cpu", seed=0)
SWITCHES = {
    "the seed": {},
    "plain": {"VALUE_EMBEDDINGS": False, "SMEAR": False, "BACKOUT": 0.0, "BIGRAMS": 0, "LOGIT_CAP": 0.0},
    "no windows": {"SHORT_WINDOW": 0},
    "small": {"DEPTH": 1, "HEADS": 2, "HEAD_DIM": 30, "MLP_RATIO": 1},
}


@pytest.fixture(params=SWITCHES.values(), ids=SWITCHES)
def train(request: pytest.FixtureRequest, load_gpu: Any) -> Any:
    """train.py with its constants set as a patch might set them, windows short enough to matter."""
    load_gpu("prepare")
    module = load_gpu("train")
    module.SHORT_WINDOW = 64  # 16 tokens on a CPU
    module.HEADS, module.HEAD_DIM, module.BIGRAMS = 2, 64, 1024
    for name, value in request.param.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    torch.manual_seed(0)
    return module


def built(train: Any) -> torch.nn.Module:
    """The model with no weight left at zero, where nothing would depend on anything."""
    model: torch.nn.Module = train.build_model(TASK)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def test_a_later_token_and_another_row_never_change_a_logit(train: Any) -> None:
    model = built(train)
    idx = torch.randint(300, (2, 64))
    changed = idx.clone()
    changed[:, 40:] = torch.randint(300, (2, 24))
    with torch.no_grad():
        before, after, alone = model(idx), model(changed), model(idx[1:])
    assert before.shape == (2, 64, 300) and before.dtype == torch.float32
    assert torch.equal(before[:, :40], after[:, :40]) and not torch.equal(before[:, 40:], after[:, 40:])
    torch.testing.assert_close(before[1:], alone, rtol=1e-4, atol=1e-4)


def test_every_weight_is_trained_by_exactly_one_optimizer_and_a_few_steps_lower_the_loss(train: Any) -> None:
    model = train.build_model(TASK)
    trainer = train.Trainer(model, "cpu", 64)
    trained = [id(p) for group in trainer.muon.groups for p in group]
    trained += [id(p) for group in trainer.adam.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())
    text = torch.arange(4 * 65).view(4, 65) % 50
    losses = [trainer.step(text[:, :-1], text[:, 1:], step, 0.0).item() for step in range(8)]
    assert losses[-1] < losses[0] - 1.0


def test_a_warm_up_leaves_no_trace(train: Any) -> None:
    model = train.build_model(TASK)
    trainer = train.Trainer(model, "cpu", 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer.warm_up(300, 32)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not trainer.adam.state and all(m.abs().max() == 0 for m in trainer.muon.momenta)


def test_a_step_in_parts_is_the_step(load_gpu: Any) -> None:
    load_gpu("prepare")
    train = load_gpu("train")
    text = torch.randint(300, (4, 33), generator=torch.Generator().manual_seed(1))
    found = []
    for rows in (4, 1):
        torch.manual_seed(0)
        trainer = train.Trainer(train.build_model(TASK), "cpu", 32)
        trainer.rows = rows
        found.append([trainer.step(text[:, :-1], text[:, 1:], n, 0.0).item() for n in range(3)])
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert found[0] == pytest.approx(found[1], rel=1e-2)  # Adam divides by what is almost nothing in the first steps


def test_sizes_follow_the_device_and_its_memory(load_gpu: Any) -> None:
    load_gpu("prepare")
    train = load_gpu("train")
    assert [train.part_size(128, gb) for gb in (79.2, 139.0, 47.5, 23.6, 15.9, 7.9, 0.1)] == [
        128,
        128,
        64,
        32,
        16,
        8,
        1,
    ]
    assert [train.shrunk_rows(device) for device in ("cuda", "mps", "cpu")] == [128, 16, 2]
    assert [train.shrunk(train.DEPTH, device) for device in ("cuda", "mps", "cpu")] == [9, 5, 3]
    windows = [train.GPT.window(i, 9, 2048, "cuda") for i in range(9)]
    assert windows == [256, 256, 256, 256, 2048, 256, 256, 256, 2048]


def test_on_a_card_the_model_has_the_promised_size(load_gpu: Any) -> None:
    load_gpu("prepare")
    train = load_gpu("train")
    train.BIGRAMS = 16
    model = train.GPT(8192, 2048, "cuda")
    assert model.dtype == torch.bfloat16 and model.embedding.embedding_dim == 640
    # 9 blocks of 12 x 640 x 640, gates of 32 x 5 in 5 of them, the head; 12 x 640 x (7 x 256 + 2 x 2048).
    multiplied = 9 * 12 * 640 * 640 + 5 * 32 * 5 + 8192 * 640
    assert model.flops_per_token(2048) == 6 * multiplied + 12 * 640 * (7 * 256 + 2 * 2048)


def test_the_mask_of_compiled_attention_hides_what_the_plain_one_hides(load_gpu: Any) -> None:
    load_gpu("prepare")
    train = load_gpu("train")
    at = torch.arange(128)
    for window in (1, 16, 128):
        seen = train.block_mask(window, 128, "cpu").mask_mod(0, 0, at[:, None], at[None, :])
        values = torch.eye(128)[None, :, None]  # what comes out of even attention to a one-hot value is what was seen
        flat = torch.zeros(1, 128, 1, 128)
        assert torch.equal(train.plain_attention(flat, flat, values, window)[0, :, 0] > 0, seen)


def test_flash_attention_is_taken_only_where_it_is_there_and_the_card_can_run_it(
    load_gpu: Any, monkeypatch: Any
) -> None:
    load_gpu("prepare")
    train = load_gpu("train")
    assert train.flash_attention() is None  # no card
    fake = SimpleNamespace(flash_attn_func=object(), __spec__=SimpleNamespace(name="flash_attn_interface"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, found in (((9, 0), fake.flash_attn_func), ((8, 0), None)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda c=capability: c)
        assert train.flash_attention() is None  # not installed
        with monkeypatch.context() as installed:
            installed.setitem(sys.modules, "flash_attn_interface", fake)
            assert train.flash_attention() is found


def test_the_constants_are_plain_literals_and_all_are_used() -> None:
    source = (GPU_TASK / "train.py").read_text()
    assert len(source.splitlines()) <= 700
    names = [
        target.id
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign) and statement.lineno == statement.end_lineno
        for target in statement.targets
        if isinstance(target, ast.Name) and ast.literal_eval(statement.value) is not None
    ]
    assert len(names) >= 35
    for name in names:
        assert len(re.findall(rf"\b{name}\b", source)) >= 2, f"{name} is set and not used"


@pytest.fixture
def gpu_folder(tmp_path: Path) -> Path:
    """A folder with the task's files, as a trial sees them, for a model small enough for a test."""
    folder = tmp_path / "trial"
    folder.mkdir()
    for file in GPU_TASK.glob("*.py"):
        shutil.copy(file, folder)
    text = (folder / "train.py").read_text()
    (folder / "train.py").write_text(text.replace("DEPTH = 9", "DEPTH = 4").replace("SEQ_LEN = 2048", "SEQ_LEN = 512"))
    return folder


def test_importing_train_and_building_the_model_touch_no_file_and_no_network(gpu_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH], cwd=gpu_folder, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "quiet", done.stderr


def test_the_same_file_trains_on_a_cpu_and_a_smoke_run_checks_what_it_saved(gpu_folder: Path, parent: Parent) -> None:
    rng = np.random.default_rng(0)
    np.where(rng.random(100_000) < 0.01, 8191, rng.integers(0, 8191, 100_000)).astype("<u2").tofile(parent.data)
    parent.answer("wall", 0.0, smoke=True)
    done = run_train(gpu_folder, parent)
    assert done.returncode == 0, done.stderr
    assert "flops_per_token: " in done.stdout and "step 1 loss 9.0" in done.stdout
    assert parent.heard()[-1] == {"saved": True, "steps": 2, "tokens": 2 * 2 * 128}
