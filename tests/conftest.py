"""Fixtures that many tests share: a git workspace of one-line constants, and agents that need no model."""

from __future__ import annotations

import fcntl
import gc
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import ratchetree
from ratchetree.search.model import (
    Edit,
    Failure,
    FailureKind,
    Idea,
    ModelCall,
    Patch,
)
from ratchetree.search.ports import Plan, PlanReply, PlanRequest, WriteReply, WriteRequest

# Deadlines measure the machine's load, and a failure must come back the same way.
settings.register_profile(
    "ratchetree", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ratchetree")

CALL = ModelCall(backend="test")


def pytest_report_header() -> list[str]:
    """Which sandboxes the tests of this run exercise, and why not the others."""
    from ratchetree.trainer.sandbox import BACKENDS

    missing = {name: backend.missing() for name, backend in BACKENDS.items()}
    return [f"sandbox {name}: {reason or 'exercised'}" for name, reason in missing.items()]


def pytest_configure() -> None:
    """What is imported to collect the tests stays: looking through it for garbage, again and again, frees nothing."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """From here on garbage is collected as ever, but only what the tests make is looked through."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker has one of them left when the others are done."""
    items.sort(key=lambda item: ("test_kills" not in item.nodeid, item.get_closest_marker("slow") is None))


Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A folder by name that is made once in a run of the suite, however many workers ask for it. Nobody changes it."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder, unfinished = root / "once" / name, root / "once" / f"{name}.unfinished"
        folder.parent.mkdir(exist_ok=True)
        with folder.with_name(f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def our_source(once: Once) -> Path:
    """Our own source as `corpus`, in documents of 15 lines: so many that each part gets its share, whatever a commit
    changes. Beside it, `cache` is for what is prepared from it."""

    def write(folder: Path) -> None:
        (folder / "corpus").mkdir()
        sources = sorted(Path(ratchetree.__file__).parent.glob("*/*.py"))
        lines = [line for file in sources for line in file.read_text().splitlines() if line.strip()]
        for start in range(0, len(lines), 15):
            (folder / "corpus" / f"{start:06d}.txt").write_text("\n".join(lines[start : start + 15]))

    return once("our-source", write)


@pytest.fixture(scope="session")
def small_prepare() -> str:
    """The gpt-cpu task's prepare.py with a quarter of the vocabulary, for what does not depend on it: a scoring takes a
    fifth less."""
    text = (Path(ratchetree.__file__).parent / "program" / "gpt-cpu" / "prepare.py").read_text()
    assert text.count("VOCAB_SIZE = 2048") == 1
    return text.replace("VOCAB_SIZE = 2048", "VOCAB_SIZE = 512")


TRAIN_PY = "".join(f"C_{chr(65 + i)} = {i + 1}.0\n" for i in range(20)) + "\n\ndef main():\n    return C_A\n"


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "GIT_AUTHOR_DATE": "1700000000 +0000",
        "GIT_COMMITTER_DATE": "1700000000 +0000",
    }
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(name="git")
def _git() -> Callable[..., str]:
    return git


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A committed workspace of constants, in a folder with spaces and non-ASCII letters in its name."""
    folder = tmp_path / "my wörk späce"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN_PY)
    (folder / "program.md").write_text("Make C small.\n")
    (folder / "ratchetree.toml").write_text("")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "root")
    return folder


class ConstantPlanner:
    """Scales a constant of the first option's file, chosen by the request's own generator."""

    async def plan(self, request: PlanRequest) -> PlanReply:
        text = request.options[0].sources[0].text
        names = sorted(set(re.findall(r"^([A-Z_]+) = ", text, re.MULTILINE)))
        name, factor = request.rng.choice(names), request.rng.choice([0.5, 0.8, 1.25, 2.0])
        idea = Idea(
            title=f"scale {name} by {factor}",
            hypothesis="it may help",
            mechanism="",
            category="test",
            brief=f"{name} {factor}",
        )
        return PlanReply(outcome=Plan(option=0, idea=idea), call=CALL)


class ConstantCoder:
    """Writes what ConstantPlanner asks for; makes no repairs."""

    async def write(self, request: WriteRequest) -> WriteReply:
        if request.attempt:
            return WriteReply(outcome=Failure(kind=FailureKind.NO_PATCH, message="no repairs"), call=CALL)
        name, factor = request.idea.brief.split()
        text = request.sources[0].text
        line = re.search(rf"^{name} = (.*)$", text, re.MULTILINE)
        assert line is not None
        edit = Edit(path="train.py", old=f"{line[0]}\n", new=f"{name} = {float(line[1]) * float(factor)!r}\n")
        return WriteReply(outcome=Patch(edits=(edit,)), call=CALL)


@pytest.fixture
def constant_agents() -> tuple[ConstantPlanner, ConstantCoder]:
    return ConstantPlanner(), ConstantCoder()
