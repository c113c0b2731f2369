"""Command-line agents in exported trees, run by the supervisor that runs trials."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchetree.agents.command import Command, CommandCoder, CommandPlanner
from ratchetree.agents.replay import Recording
from ratchetree.agents.scripted import text_reply
from ratchetree.cli import _runner
from ratchetree.search.events import Called
from ratchetree.search.model import Failure, FailureKind, Idea, ModelCall, Patch
from ratchetree.search.ports import CallLog, Plan
from ratchetree.storage.workspace import Workspace
from ratchetree.trainer.processes import MARK, marked

SCRIPT = "A = 1\n\n\ndef main():\n    return A\n"
IDEA = Idea(title="t", hypothesis="h", mechanism="m", category="c", brief="Set A to 2.")


@pytest.fixture
def grown(world: Callable[[str], Any]) -> Any:
    return world(SCRIPT)


@pytest.fixture
def workspace_folder(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@pytest.fixture
def command(grown: Any, workspace_folder: Path) -> Callable[..., Command]:
    """A command that runs Python code in the tree."""

    def export(commit: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "train.py").write_text(SCRIPT)
        (folder / "prepare.py").write_text("x = 1\n")

    def make(code: str, *, seconds: float = 60.0, environment: dict[str, str] | None = None) -> Command:
        return Command(
            command=(sys.executable, "-c", code, "{task}", "{prompt}"),
            environment=environment or {},
            seconds=seconds,
            folder=workspace_folder / ".ratchetree" / "agents",
            run=_runner(Workspace(workspace_folder)),
            export=export,
        )

    return make


def write(grown: Any, command: Command) -> tuple[Patch | Failure, ModelCall]:
    reply = asyncio.run(CommandCoder(command).write(grown.writing(IDEA)))
    return reply.outcome, reply.call


def test_what_it_changed_is_the_patch(grown: Any, command: Any, workspace_folder: Path) -> None:
    code = """
import pathlib, sys
task = pathlib.Path(sys.argv[1]).read_text()
assert sys.argv[2] == task
assert "Set A to 2." in task and "Make it better." in task and "only: train.py" in task, task
pathlib.Path("train.py").write_text(pathlib.Path("train.py").read_text().replace("A = 1", "A = 2"))
pathlib.Path("__pycache__").mkdir()
pathlib.Path("__pycache__/x.pyc").write_text("left behind")
"""
    outcome, call = write(grown, command(code))
    assert isinstance(outcome, Patch), outcome
    assert [(edit.old, edit.new) for edit in outcome.edits] == [("A = 1\n", "A = 2\n")]
    assert (call.backend, call.model, call.cost) == ("command", Path(sys.executable).name, None)
    assert list((workspace_folder / ".ratchetree" / "agents").iterdir()) == []


@pytest.mark.parametrize(
    ("code", "kind", "why"),
    [
        ("pass", FailureKind.NO_PATCH, "changed nothing"),
        ("raise SystemExit(3)", FailureKind.NO_PATCH, "exit code 3"),
        ("open('prepare.py', 'a').write('y = 2')", FailureKind.OUT_OF_BOUNDS, "changed prepare.py"),
        ("open('new.py', 'w').write('')", FailureKind.OUT_OF_BOUNDS, "changed new.py"),
        ("import os; os.remove('train.py')", FailureKind.OUT_OF_BOUNDS, "no plain file"),
        (
            "import os; os.remove('train.py'); os.symlink('/etc/passwd', 'train.py')",
            FailureKind.OUT_OF_BOUNDS,
            "no plain file",
        ),
        ("open('train.py', 'w').write('x' * 10_000_000)", FailureKind.NO_PATCH, "10,000,000 bytes"),
        ("open('train.py', 'wb').write(bytes([255] * 9))", FailureKind.NO_PATCH, "not UTF-8"),
        ("open('train.py', 'w').write('A = (')", FailureKind.SYNTAX, "train.py, line 1"),
        ("open('train.py', 'a').write('# nothing')", FailureKind.DUPLICATE, "only comments"),
    ],
)
def test_what_is_no_patch_is_a_failure_that_says_why(
    grown: Any, command: Any, code: str, kind: FailureKind, why: str
) -> None:
    outcome, _ = write(grown, command(code))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, why in outcome.message, "\n" in outcome.message) == (kind, True, False), outcome


def test_one_that_hangs_and_forks_is_ended_without_survivors(grown: Any, command: Any, workspace_folder: Path) -> None:
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
time.sleep(600)
"""
    outcome, _ = write(grown, command(code, seconds=1.0))
    assert isinstance(outcome, Failure)
    assert "was not done after 1 s" in outcome.message
    assert marked(**{MARK: str(workspace_folder)}) == []


def test_it_sees_only_what_the_user_lists(grown: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary")
    code = "import os; raise SystemExit('canary' in str(os.environ) or 'MINE' not in os.environ)"
    outcome, _ = write(grown, command(code, environment={"MINE": "1"}))
    assert isinstance(outcome, Failure)
    assert "exit code" not in outcome.message, outcome
    assert "canary" in os.environ["ANTHROPIC_API_KEY"]
    assert "canary" not in repr(command("", environment={"KEY": "canary"}))


def test_what_it_prints_is_its_plan(grown: Any, command: Any) -> None:
    code = """
import json
print("thinking ...")
print(json.dumps({"option": 1, "operator": "draft", "title": "two", "hypothesis": "", "mechanism": "", "category": "c",
                  "brief": "Set A to 2."}))
"""
    planner = CommandPlanner(command(code), digest_tokens=2000)
    reply = asyncio.run(planner.plan(grown.request(0)))
    assert isinstance(reply.outcome, Plan)
    assert reply.outcome.idea.title == "two"
    silent = asyncio.run(CommandPlanner(command("print('no')"), digest_tokens=2000).plan(grown.request(0)))
    assert isinstance(silent.outcome, Failure)


def test_a_recording_gives_each_experiment_its_own_replies() -> None:
    def called(experiment: int, words: str) -> Called:
        return Called(
            time=0.0,
            experiment=experiment,
            purpose="plan",
            attempt=0,
            call=ModelCall(backend="claude", model="m"),
            reply=text_reply(words).encode(),
        )

    recording = Recording([called(1, "a"), called(2, "b"), called(1, "c")])
    recorded: list[str] = []

    async def say(experiment: int, *before: str) -> str:
        log = CallLog(experiment=experiment, replies=before, record=lambda call, reply: recorded.append(reply))
        return (await recording.say(None, log)).text  # type: ignore[arg-type]

    async def all_of_them() -> list[str]:
        return [await say(2), await say(1, text_reply("a").encode())]

    assert asyncio.run(all_of_them()) == ["b", "c"]
    assert recorded == [text_reply("b").encode(), text_reply("c").encode()]
