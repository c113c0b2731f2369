"""The seed model and its training: what every patch starts from."""

from __future__ import annotations

import ast
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .conftest import TASK, Parent

SWITCHES = {
    "the seed": {},
    "tied": {"TIE_WEIGHTS": True},
    "value embeddings": {"VALUE_EMBEDDINGS": True},
    "residual scalars": {"RESIDUAL_SCALARS": True},
    "capped": {"LOGIT_CAP": 15.0},
    "no query-key norm": {"QK_NORM": False},
    "odd sizes": {"WIDTH": 50, "HEADS": 3, "DEPTH": 1, "MLP_RATIO": 1},
}


@pytest.fixture(params=SWITCHES.values(), ids=SWITCHES)
def train(request: pytest.FixtureRequest, load: Any) -> Any:
    """train.py with its constants set as a patch might set them."""
    load("prepare")
    module = load("train")
    for name, value in request.param.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    torch.manual_seed(0)
    return module


def built(train: Any) -> torch.nn.Module:
    """The model with no weight left at zero, where nothing would depend on anything."""
    model = train.build_model(train.task)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def test_a_later_token_never_changes_an_earlier_logit(train: Any) -> None:
    model = built(train)
    idx = torch.randint(2048, (2, 64))
    changed = idx.clone()
    changed[:, 40:] = torch.randint(2048, (2, 24))
    with torch.no_grad():
        before, after = model(idx), model(changed)
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40:], after[:, 40:])


def test_a_row_does_not_depend_on_the_rows_beside_it(train: Any) -> None:
    model = built(train)
    idx = torch.randint(2048, (4, 64))
    with torch.no_grad():
        torch.testing.assert_close(model(idx)[2:3], model(idx[2:3]), rtol=1e-4, atol=1e-4)


def test_an_untrained_model_gives_every_token_the_same_chance(load: Any) -> None:
    load("prepare")
    train = load("train")
    logits = train.build_model(train.task)(torch.randint(2048, (1, 16)))
    assert logits.shape == (1, 16, 2048) and logits.dtype == torch.float32
    assert logits.log_softmax(-1).exp().sub(1 / 2048).abs().max() < 1e-6


def test_every_weight_is_trained_by_exactly_one_optimizer(train: Any) -> None:
    model = train.build_model(train.task)
    muon, *adams = train.make_optimizers(model)
    trained = [id(p) for group in [*muon.groups, *(adam.parameters for adam in adams)] for p in group]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())


def test_a_few_steps_lower_the_loss(train: Any, parent: Parent) -> None:
    model = train.build_model(train.task)
    optimizers = train.make_optimizers(model)
    text = torch.arange(8 * 65).view(8, 65) % 50
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step(1.0)
        model.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1.0


def test_orthogonalize_brings_all_singular_values_near_one(load: Any) -> None:
    load("prepare")
    train = load("train")
    torch.manual_seed(0)
    for shape in [(3, 32, 96), (3, 96, 32)]:
        values = torch.linalg.svdvals(train.orthogonalize(torch.randn(shape)))
        assert values.min() > 0.5 and values.max() < 1.3  # where the quintic settles


def test_adam_takes_the_step_worked_out_by_hand(load: Any) -> None:
    load("prepare")
    train = load("train")
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = train.Adam([weight], lr=0.1)
    weight.grad = torch.tensor([3.0, -0.5])
    optimizer.step(1.0)  # the first step of Adam is lr in the direction of the sign, whatever the betas
    torch.testing.assert_close(weight.data, torch.tensor([0.9, 2.1]))


def test_the_schedule_rises_stays_and_falls(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load("prepare")
    train = load("train")
    for name, value in {"WARMUP": 0.1, "WARMDOWN": 0.4, "FINAL_LR": 0.1}.items():
        setattr(train, name, value)
    assert [round(train.lr_scale(used), 6) for used in (0.05, 0.1, 0.5, 0.6, 0.8, 1.0)] == [0.5, 1, 1, 1, 0.55, 0.1]
    train.WARMUP = train.WARMDOWN = 0.0
    assert [train.lr_scale(used) for used in (0.0, 0.5, 1.0)] == [1, 1, 1]


def test_the_constants_are_plain_literals_one_per_line() -> None:
    source = (TASK / "train.py").read_text()
    constants = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            (target,) = statement.targets
            assert isinstance(target, ast.Name) and target.id.isupper()
            assert statement.lineno == statement.end_lineno
            constants[target.id] = ast.literal_eval(statement.value)
    assert set().union(*SWITCHES.values()) < set(constants)
    for name in constants:
        assert len(re.findall(rf"\b{name}\b", source)) >= 2, f"{name} is set and not used"


WATCH = """
import sys
import torch
import prepare
prepare.task
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)))
import train
for event, args in seen:
    if event == "open":
        assert str(args[0]).endswith(("train.py", ".pyc")), args
    assert not event.startswith(("socket.", "subprocess.", "os.system", "os.mkdir", "shutil.", "ctypes.dlopen")), event
before = len(seen)
train.build_model(prepare.task)
assert [event for event, _ in seen[before:] if event.startswith(("open", "socket.", "subprocess.", "os."))] == []
print("quiet")
"""


def test_importing_train_and_building_the_model_touch_no_file_and_no_network(trial_folder: Path) -> None:
    (trial_folder / "ratchetree.toml").unlink()
    poisoned = {"XDG_CACHE_HOME": "/dev/null", "HOME": "/dev/null", "RATCHETREE_CONTROL": "999"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH],
        cwd=trial_folder,
        env=os.environ | poisoned,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "quiet", done.stderr


def run_train(folder: Path, parent: Parent, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python train.py` as the trainer runs it."""
    fd = parent.childs.fileno()
    env = os.environ | {"RATCHETREE_CONTROL": str(fd), "RATCHETREE_DEVICE": "cpu", "RATCHETREE_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env=env | environment,
        pass_fds=[fd],
        capture_output=True,
        text=True,
        check=False,
    )


def trained(folder: Path, tmp_path: Path, manifest: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """The weights after about 10,000 tokens."""
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    out.mkdir()
    parent = Parent(out, np.fromfile(manifest["train"], dtype="<u2"))
    parent.answer("tokens", 10_000, seed=seed)
    done = run_train(folder, parent, RATCHETREE_SEED=str(seed))
    parent.socket.close()
    parent.childs.close()
    assert done.returncode == 0, done.stderr
    assert re.search(r"^step (\d+) .*loss ([\d.]+)", done.stdout, re.MULTILINE)
    state: dict[str, torch.Tensor] = torch.load(out / "model.pt", weights_only=True)
    return state


@pytest.mark.slow
def test_one_seed_gives_the_same_bits_and_another_does_not(
    trial_folder: Path, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    first, second, other = (trained(trial_folder, tmp_path, manifest, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize(
    "on", ["", "TIE_WEIGHTS VALUE_EMBEDDINGS RESIDUAL_SCALARS BFLOAT16"], ids=["as it is", "all on"]
)
def test_the_seed_passes_its_own_smoke_run(
    trial_folder: Path, parent: Parent, manifest: dict[str, Any], on: str
) -> None:
    text = (trial_folder / "train.py").read_text()
    for name in on.split():
        text, found = re.subn(rf"(?m)^{name} = False", f"{name} = True", text)
        assert found == 1
    (trial_folder / "train.py").write_text(text)
    np.fromfile(manifest["train"], dtype="<u2").tofile(parent.data)
    parent.answer("cpu", 20.0, smoke=True)
    done = run_train(trial_folder, parent)
    assert done.returncode == 0, done.stderr
    assert parent.heard()[-1]["saved"] and (parent.out / "model.pt").exists()


def test_a_loss_that_is_not_finite_ends_the_run(trial_folder: Path, parent: Parent, manifest: dict[str, Any]) -> None:
    np.fromfile(manifest["train"], dtype="<u2").tofile(parent.data)
    text = (trial_folder / "train.py").read_text()
    (trial_folder / "train.py").write_text(re.sub(r"(?m)^INIT_SCALE = [\d.]+", "INIT_SCALE = 1e38", text))
    parent.answer("cpu", 20.0)
    done = run_train(trial_folder, parent)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: not-finite: ")


def bits_per_byte(model: torch.nn.Module, manifest: dict[str, Any]) -> float:
    """The metric, written down once more: row by row."""
    tokens = np.fromfile(manifest["validation"], dtype="<u2").astype(np.int64)
    token_bytes = np.load(manifest["token_bytes"])
    nats = n_bytes = 0.0
    for start in range(0, len(tokens) - 256, 256):
        window = torch.from_numpy(tokens[start : start + 257])
        with torch.no_grad():
            logits = model(window[None, :-1])[0].double()
        for position, target in enumerate(window[1:].tolist()):
            if token_bytes[target] > 0:
                nats -= logits[position].log_softmax(-1)[target].item()
                n_bytes += token_bytes[target]
    return nats / math.log(2) / n_bytes


def by_hand(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python train.py` as a person runs it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RATCHETREE_")}
    env |= {"TMPDIR": str(folder.parent), "RATCHETREE_DEVICE": "cpu"}
    return subprocess.run(
        [sys.executable, "train.py"], cwd=folder, env=env | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_run_by_hand_prepares_trains_and_reports_the_metric_as_its_own(
    trial_folder: Path, corpus: Path, tmp_path: Path, load: Any
) -> None:
    settings = (trial_folder / "ratchetree.toml").read_text()
    (trial_folder / "ratchetree.toml").write_text(re.sub(r'corpus +=[^"]*""', f'corpus = "{corpus}"', settings))
    done = by_hand(trial_folder, RATCHETREE_SECONDS="1", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    printed = re.search(r"^val_bpb: ([\d.]+) \(self-reported", done.stdout, re.MULTILINE)
    saved = re.search(r"^saved (.+)$", done.stdout, re.MULTILINE)
    assert printed and saved
    prepare, train = load("prepare"), load("train")
    model = train.build_model(train.task)
    model.load_state_dict(torch.load(saved[1], weights_only=True))
    assert not Path(saved[1]).is_relative_to(trial_folder)
    manifest = prepare.prepare_data(corpus, tmp_path / "ratchetree" / "gpt-cpu")
    assert float(printed[1]) == pytest.approx(bits_per_byte(model.eval(), manifest), abs=1e-5)


@pytest.mark.slow
def test_a_few_seconds_of_training_beat_an_untrained_model_clearly(
    trial_folder: Path, tmp_path: Path, load: Any
) -> None:
    settings = (trial_folder / "ratchetree.toml").read_text()
    by_tokens = 'kind     = "tokens"\ntokens   = 60_000'  # as many on a slow machine as on a fast one
    (trial_folder / "ratchetree.toml").write_text(re.sub(r'kind += "cpu"', by_tokens, settings))
    done = by_hand(trial_folder, XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    printed = re.search(r"^val_bpb: ([\d.]+)", done.stdout, re.MULTILINE)
    assert printed
    manifest = load("prepare").prepare_data(None, tmp_path / "ratchetree" / "gpt-cpu")
    # Untrained, every token costs log2 of the vocabulary: 11 bits.
    untrained_bpb = 11 * manifest["validation_tokens"] / manifest["validation_bytes"]
    assert 0.5 < float(printed[1]) < 0.8 * untrained_bpb
