"""A small corpus, its preparation, and a parent at the other end of the control channel."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

TASK = Path(__file__).parents[2] / "program" / "gpt-cpu"
GPU_TASK = TASK.with_name("gpt-gpu")


def random_document(rng: random.Random, n_lines: int = 40) -> str:
    """Lines of words that follow one another with some regularity, so that there is something to learn."""
    words = [f"{a}{b}" for a in ("ra", "che", "tree", "lo", "mi", "sun") for b in ("", "ko", "ten", "ü", "s")]
    lines = []
    for number in range(n_lines):
        at, line = rng.randrange(len(words)), [f"{rng.randrange(10**6)}"]
        for _ in range(9):
            line.append(words[at])
            at = (at * 7 + rng.choice((1, 1, 1, 2))) % len(words)
        lines.append(" " * (number % 4) + " ".join(line))
    return "\n".join(lines) + "\n"


def write_corpus(folder: Path, n_documents: int, seed: int = 0) -> list[str]:
    """Documents as .txt files; returns their texts."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    documents = [random_document(rng) for _ in range(n_documents)]
    for number, text in enumerate(documents):
        (folder / f"{number:04}.txt").write_text(text, encoding="utf-8")
    return documents


def run_prepare(*options: str | Path, folder: Path = TASK, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python prepare.py` as the trainer calls it."""
    command = [sys.executable, str(folder / "prepare.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def manifest_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line of stdout."""
    assert done.returncode == 0, done.stderr
    manifest: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return manifest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 documents of about 2 kB."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 400)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's preparations lie."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def manifest(corpus: Path, cache: Path) -> dict[str, Any]:
    """The small corpus, prepared."""
    return manifest_of(run_prepare("--corpus", corpus, "--cache", cache))


def _loader(monkeypatch: pytest.MonkeyPatch, task: Path) -> Iterator[Callable[[str], ModuleType]]:
    loaded: list[ModuleType] = []

    def fresh(name: str) -> ModuleType:
        for shared in ("trial", "texts", "shards", "packing"):
            monkeypatch.delitem(sys.modules, shared, raising=False)
        spec = importlib.util.spec_from_file_location(name, task / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        loaded.append(module)
        return module

    monkeypatch.setenv("RATCHETREE_DEVICE", "cpu")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(task)
    yield fresh
    for module in loaded:  # a script keeps its end of the channel until it ends; pytest wants it closed
        trial = getattr(module, "_trial", None)
        if trial and trial.run and trial.run.control:
            trial.run.control.close()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Loads prepare.py or train.py as a fresh module; a run's state is the module's, so each test gets its own."""
    yield from _loader(monkeypatch, TASK)


@pytest.fixture
def load_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """The same for the gpt-gpu task."""
    yield from _loader(monkeypatch, GPU_TASK)


class Parent:
    """The trainer's end of the control channel. It answers before it is asked: the socket keeps the answer."""

    def __init__(self, out: Path, tokens: np.ndarray) -> None:
        self.socket, self.childs = socket.socketpair()
        self.out = out
        self.data = out / "train.bin"
        tokens.astype("<u2").tofile(self.data)

    def answer(self, kind: str = "tokens", amount: float = 1e9, *, smoke: bool = False, seed: int = 0) -> None:
        """Send the budget and the data."""
        budget = {"kind": kind, "amount": amount}
        line = json.dumps({"budget": budget, "smoke": smoke, "out": str(self.out), "seed": seed}) + "\n"
        with self.data.open("rb") as file:
            socket.send_fds(self.socket, [line.encode()], [file.fileno()])

    def heard(self) -> list[dict[str, Any]]:
        """All messages so far."""
        self.socket.setblocking(False)
        try:
            return [json.loads(line) for line in self.socket.recv(1 << 20).splitlines()]
        except BlockingIOError:
            return []


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    """A parent whose data is 0, 1, 2, ...: a token says where it stood."""
    made = Parent(tmp_path, np.arange(20_000))
    # The runtime takes the descriptor over, as it does in a process of its own, so it gets a copy.
    monkeypatch.setenv("RATCHETREE_CONTROL", str(os.dup(made.childs.fileno())))
    yield made
    made.socket.close()
    made.childs.close()


@pytest.fixture
def trial_folder(tmp_path: Path) -> Path:
    """A folder with the task's files, as a trial sees them."""
    folder = tmp_path / "trial"
    folder.mkdir()
    for name in ("prepare.py", "trial.py", "texts.py", "train.py", "ratchetree.toml"):
        shutil.copy(TASK / name, folder)
    return folder
