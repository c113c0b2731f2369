"""The trusted scorer: its arithmetic against torch, and real models through the real server."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import ratchetree
from ratchetree.trainer.exchange import ScoreError, nats_by_torch, token_nats
from ratchetree.trainer.probes import Ids, Nats
from ratchetree.trainer.processes import allowed_environment
from ratchetree.trainer.sandbox import Cell, choose
from ratchetree.trainer.scorer import ScoreSpec, bits_per_byte, rows_of
from ratchetree.trainer.scorer import score as score_with

SERVER = Path(ratchetree.__file__).parent / "trainer" / "model_server.py"

PREPARE = """
class Task:
    vocab_size, seq_len, device, seed = 8, 4, "cpu", 0
task = Task()
"""
UNIFORM = """
import torch
from prepare import task
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(8))
    def forward(self, idx):
        return self.bias.expand(*idx.shape, 8)
def build_model(task):
    return Model()
"""


def on_a_card(logits: npt.NDArray[np.float32], targets: Ids) -> Nats:
    """The arithmetic of a card, on a CPU."""
    import torch

    return nats_by_torch(torch.from_numpy(logits), targets)


def test_rows_use_every_token_once_as_a_target() -> None:
    rows = rows_of(np.arange(11, dtype=np.uint16), 4)
    assert rows.tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8]]


def test_bits_per_byte_of_one_nat_per_byte() -> None:
    assert bits_per_byte(100.0, 100) == pytest.approx(1 / math.log(2))


def test_nats_are_those_of_a_log_softmax_in_double_precision() -> None:
    rng = np.random.default_rng(1)
    logits = (rng.normal(size=(3, 5, 7)) * 20).astype(np.float32)
    targets = rng.integers(0, 7, (3, 5))
    double = logits.astype(np.float64)
    log_probabilities = double - np.log(np.exp(double).sum(axis=-1, keepdims=True))
    expected = -np.take_along_axis(log_probabilities, targets[..., None], axis=-1)[..., 0]
    assert token_nats(logits, targets) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert np.array_equal(token_nats(logits, targets, threads=3), token_nats(logits, targets))
    assert on_a_card(logits, targets) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_huge_logits_do_not_overflow_and_a_ruled_out_token_may_be_minus_infinity() -> None:
    logits = np.array([[[1e30, 0.0, -np.inf]]], dtype=np.float32)
    assert token_nats(logits, np.array([[0]])).tolist() == [[0.0]]
    assert on_a_card(logits, np.array([[0]])).tolist() == [[0.0]]


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(poison: float) -> None:
    logits = np.zeros((1, 2, 3), dtype=np.float32)
    logits[0, 1, 2] = poison
    with pytest.raises(ScoreError, match="not-finite"):
        token_nats(logits, np.zeros((1, 2), dtype=np.int64))
    with pytest.raises(ScoreError, match="not-finite"):
        on_a_card(logits, np.zeros((1, 2), dtype=np.int64))


def test_a_target_that_was_ruled_out_is_refused() -> None:
    logits = np.array([[[0.0, -np.inf]]], dtype=np.float32)
    with pytest.raises(ScoreError, match="not-finite"):
        token_nats(logits, np.array([[1]]))
    with pytest.raises(ScoreError, match="not-finite"):
        on_a_card(logits, np.array([[1]]))


def score(spec: ScoreSpec) -> float:
    return score_with(spec, np.random.default_rng(1)).value


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ScoreSpec]:
    """A scoring of a training script; 21 held-out tokens of 2 bytes each, the first id special."""

    def make_spec(train: str, state: dict[str, object] | None = None) -> ScoreSpec:
        import torch

        (tmp_path / "prepare.py").write_text(PREPARE)
        (tmp_path / "train.py").write_text(textwrap.dedent(train))
        torch.save({"bias": torch.zeros(8)} if state is None else state, tmp_path / "model.pt")
        (np.arange(21) % 8).astype("<u2").tofile(tmp_path / "validation.bin")
        np.save(tmp_path / "token_bytes.npy", np.array([0, 2, 2, 2, 2, 2, 2, 2], dtype=np.int32))
        weights, scratch = str(tmp_path / "model.pt"), tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        cell = Cell(tree=str(tmp_path), scratch=str(scratch), readable=(weights, str(SERVER)))
        confinement = choose("auto").confine(cell)
        environment = allowed_environment(workspace=tmp_path, scratch=confinement.scratch, run="r")
        return ScoreSpec(
            tree=str(tmp_path),
            module="train",
            weights=weights,
            servers=[{"confinement": confinement.as_json(), "environment": environment}] * 2,
            tokens=str(tmp_path / "validation.bin"),
            token_bytes=str(tmp_path / "token_bytes.npy"),
            vocab_size=8,
            seq_len=4,
        )

    return make_spec


def test_a_uniform_model_has_three_bits_a_token_and_special_tokens_count_nothing(
    make: Callable[..., ScoreSpec],
) -> None:
    assert score(make(UNIFORM)) == pytest.approx(3 / 2)  # 8 tokens: 3 bits, of 2 bytes each


def test_what_the_script_prints_does_not_reach_the_scorer(make: Callable[..., ScoreSpec]) -> None:
    noisy = UNIFORM.replace("        return self", "        print('{\"shape\": [0]}', flush=True)\n        return self")
    assert score(make(noisy)) == pytest.approx(3 / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("expand(*idx.shape, 8)", "expand(*idx.shape, 8)[:, :-1]"), "shape"),
        (("expand(*idx.shape, 8)", "expand(*idx.shape, 8).sum()"), "shape"),
        (("return self.bias", "return float('nan') * self.bias"), "not-finite"),
        (("return self.bias", "raise RuntimeError('no'); self.bias"), "ended with code 1"),
        (("def build_model(task):", "def build_model(task):\n    raise ValueError('x')"), "build:"),
        (("import torch\n", "import torch, no_such_module\n"), "build:"),
        (("class Model", "import os; os._exit(0)\nclass Model"), "build:"),
    ],
)
def test_models_that_cannot_be_scored_say_why(
    make: Callable[..., ScoreSpec], change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        score(make(UNIFORM.replace(*change)))


def test_weights_that_do_not_fit_or_hold_code_are_refused(make: Callable[..., ScoreSpec], tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="build:"):
        score(make(UNIFORM, {"other": 1}))

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "evil"),)  # type: ignore[return-value]

    with pytest.raises(ScoreError, match="build:"):
        score(make(UNIFORM, {"bias": Evil()}))
    assert not (tmp_path / "evil").exists()
