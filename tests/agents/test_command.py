"""Command-line agents in exported trees, run by the supervisor that runs trials."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchetree.agents.command import Command, CommandCoder, CommandPlanner, Ground
from ratchetree.agents.outside_writes import Guarded
from ratchetree.running import runner
from ratchetree.search.errors import WrongUse
from ratchetree.search.model import Failure, FailureKind, Idea, ModelCall, Patch
from ratchetree.search.ports import Plan
from ratchetree.storage.workspace import Workspace
from ratchetree.trainer.confine import landlock_version
from ratchetree.trainer.processes import MARK, marked

SCRIPT = "A = 1\n\n\ndef main():\n    return A\n"
PLAN = json.dumps(
    {"option": 1, "operator": "draft", "title": "two", "hypothesis": "", "mechanism": "", "category": "c", "brief": "b"}
)
IDEA = Idea(title="t", hypothesis="h", mechanism="m", category="c", brief="Set A to 2.")


@pytest.fixture
def grown(world: Callable[[str], Any]) -> Any:
    return world(SCRIPT)


@pytest.fixture
def workspace_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / ".ratchetree").mkdir(parents=True)
    (folder / ".ratchetree" / "journal.db").write_text("canary of the journal")
    (folder / "train.py").write_text(SCRIPT)
    return folder


def usable() -> list[str]:
    """The walls that this machine has, and none."""
    there = {"bubblewrap": shutil.which("bwrap") is not None, "landlock": landlock_version() >= 3, "none": True}
    return [name for name, works in there.items() if works]


@pytest.fixture
def command(grown: Any, workspace_folder: Path) -> Callable[..., Command]:
    """A command that runs Python code in the tree."""

    def export(commit: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "train.py").write_text(SCRIPT)
        (folder / "prepare.py").write_text("x = 1\n")

    def make(
        code: str,
        *,
        seconds: float = 60.0,
        environment: dict[str, str] | None = None,
        writable: tuple[Path, ...] = (),
        program: tuple[str, ...] = (sys.executable, "-c"),
        sandbox: str = "none",
        bwrap: str | None = shutil.which("bwrap"),
        landlock: int = landlock_version(),
    ) -> Command:
        ground = Ground(
            run=runner(Workspace(workspace_folder)),
            export=export,
            folder=workspace_folder / ".ratchetree" / "agents",
            guarded=Guarded(folder=workspace_folder, refs=dict, carried=lambda path: "carried by main"),
            bwrap=bwrap,
            landlock=landlock,
        )
        arguments = (*program, code, "{task}", "{prompt}", str(workspace_folder))
        return Command(
            arguments,
            ground,
            environment=environment or {},
            seconds=seconds,
            writable=writable,
            sandbox=sandbox,
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


@pytest.mark.parametrize("walls", usable())
def test_behind_every_kind_of_wall_it_works_in_its_tree_and_leaves_nothing_alive(
    grown: Any, command: Any, workspace_folder: Path, walls: str
) -> None:
    code = """
import os, pathlib, sys, tempfile
task, workspace = pathlib.Path(sys.argv[1]).read_text(), pathlib.Path(sys.argv[3])
assert "Set A to 2." in task
pathlib.Path.home().joinpath("notes").write_text("own")
tempfile.TemporaryFile().close()
pathlib.Path("train.py").write_text("A = 2" + pathlib.Path("train.py").read_text()[5:])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import time
        time.sleep(600)
"""
    outcome, _ = write(grown, command(code, sandbox=walls))
    assert isinstance(outcome, Patch), outcome
    assert [(edit.old, edit.new) for edit in outcome.edits] == [("A = 1\n", "A = 2\n")]
    assert marked(**{MARK: str(workspace_folder)}) == []
    assert list((workspace_folder / ".ratchetree" / "agents").iterdir()) == []


@pytest.mark.skipif("bubblewrap" not in usable(), reason="bubblewrap is not usable here")
def test_an_agent_that_is_installed_where_walls_put_an_empty_folder_is_there_and_nothing_beside_it(
    grown: Any, command: Any
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "secret").write_text("somebody's")
        agent = Path(folder, "env", "bin", "agent")
        agent.parent.mkdir(parents=True)
        agent.write_text(f"#!/bin/sh\ncat {folder}/secret && exit 1\nsed -i 's/^A = 1/A = 2/' train.py\n")
        agent.chmod(0o755)
        outcome, _ = write(grown, command("", sandbox="bubblewrap", program=(str(agent),)))
    assert isinstance(outcome, Patch), outcome
    assert [(edit.old, edit.new) for edit in outcome.edits] == [("A = 1\n", "A = 2\n")]


@pytest.mark.parametrize("walls", usable())
def test_what_it_writes_outside_its_tree_is_prevented_or_found(
    grown: Any, command: Any, workspace_folder: Path, tmp_path: Path, walls: str
) -> None:
    (tmp_path / "other" / ".ratchetree").mkdir(parents=True)
    (tmp_path / "other" / ".ratchetree" / "journal.db").write_text("canary of another campaign")
    (tmp_path / "allowed").mkdir()
    code = """
import pathlib, sys
workspace = pathlib.Path(sys.argv[3])
for name in ("workspace/train.py", "workspace/.ratchetree/journal.db", "other/.ratchetree/journal.db"):
    path = workspace.parent / name
    try:
        print(path.read_text())
        path.write_text("mine")
    except OSError:
        print("no")
workspace.parent.joinpath("allowed", "log").write_text("x")
"""
    outcome, _ = write(grown, command(code, sandbox=walls, writable=(tmp_path / "allowed",)))
    assert isinstance(outcome, Failure)
    assert (tmp_path / "allowed" / "log").read_text() == "x"
    if walls == "none":
        assert outcome.kind is FailureKind.OUT_OF_BOUNDS
        assert "train.py changed in the workspace" in outcome.message
        return
    assert outcome.kind is FailureKind.NO_PATCH
    assert outcome.detail.split() == ["no"] * 3
    assert (workspace_folder / "train.py").read_text() == SCRIPT


def test_a_planner_that_writes_in_the_workspace_has_no_plan(grown: Any, command: Any, workspace_folder: Path) -> None:
    code = "import sys; open(sys.argv[3] + '/new.py', 'w').write('x')\n" + f"print({PLAN!r})"
    reply = asyncio.run(CommandPlanner(command(code), digest_tokens=2000).plan(grown.request(0)))
    assert isinstance(reply.outcome, Failure)
    assert (reply.outcome.kind, "new.py changed" in reply.outcome.message) == (FailureKind.OUT_OF_BOUNDS, True)


def test_the_strongest_walls_that_hold_are_taken_and_the_user_is_told_where_none_do(
    command: Any, tmp_path: Path
) -> None:
    def chosen(**others: Any) -> tuple[str, str]:
        made = command("pass", sandbox="auto", **others)
        return asyncio.run(made.check()), made._walls

    assert chosen()[1] == usable()[0]
    said, walls = chosen(bwrap=None, landlock=0)
    assert walls == "none"
    assert "without a sandbox (bubblewrap: bwrap is not installed; landlock: the kernel offers version 0" in said
    assert chosen(bwrap="/bin/false", landlock=0)[1] == "none"
    pretends = tmp_path / "bwrap"
    pretends.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    pretends.chmod(0o755)
    assert "bubblewrap: it does not hold" in chosen(bwrap=str(pretends), landlock=0)[0]
    with pytest.raises(WrongUse, match="sandbox = 'landlock' does not work here"):
        asyncio.run(command("pass", sandbox="landlock", landlock=2).check())


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"program": ("no-such-agent",)}, "'no-such-agent' is no program here"),
        ({"writable": (Path("/no/such/place"),)}, "writable lists /no/such/place, which is not there"),
        ({"writable": (Path("/"),)}, "holds a campaign"),
    ],
)
def test_what_cannot_run_is_said_before_anything_does(command: Any, others: Any, says: str) -> None:
    with pytest.raises(WrongUse, match=says) as caught:
        asyncio.run(command("pass", **others).check())
    assert "\n" not in str(caught.value)


def test_a_task_that_is_too_long_for_an_argument_is_given_as_a_file(grown: Any, command: Any) -> None:
    grown.texts[0] = SCRIPT + "# long\n" * 40_000
    code = """
import sys
assert len(sys.argv[2]) < 1000 and sys.argv[1] in sys.argv[2], len(sys.argv[2])
assert open(sys.argv[1]).read().count("# long") >= 40_000
"""
    planner = CommandPlanner(command(code), digest_tokens=2000)
    outcome = asyncio.run(planner.plan(grown.request(0))).outcome
    assert isinstance(outcome, Failure)
    assert "cannot be run" not in outcome.message
    assert "no JSON object" in outcome.message or "empty" in outcome.message, outcome


def test_an_agent_that_says_what_it_cost_is_believed_and_its_words_are_unwrapped(grown: Any, command: Any) -> None:
    summary = {"type": "result", "result": f"Here: {PLAN}", "total_cost_usd": 0.25}
    summary["usage"] = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7}
    code = f"print('starting'); print({json.dumps(summary)!r})"
    reply = asyncio.run(CommandPlanner(command(code), digest_tokens=2000).plan(grown.request(0)))
    assert isinstance(reply.outcome, Plan), reply.outcome
    assert (reply.call.cost, reply.call.tokens) == (0.25, 22)
    strange = command('print(\'{"result": "x", "total_cost_usd": "free", "usage": [1]}\')')
    assert write(grown, strange)[1].cost is None


def test_a_tree_that_is_left_in_a_terrible_state_is_a_failure_like_any_other(
    grown: Any, command: Any, workspace_folder: Path
) -> None:
    code = """
import os
os.mkfifo("pipe")
os.symlink("..", "up")
for _ in range(1200):
    os.mkdir("d")
    os.chdir("d")
open("x", "w").close()
os.chmod(".", 0)
"""
    outcome, _ = write(grown, command(code))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, "changed d/d/d" in outcome.message) == (FailureKind.OUT_OF_BOUNDS, True)
    assert list((workspace_folder / ".ratchetree" / "agents").iterdir()) == []


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
import json, pathlib
print("thinking about", pathlib.Path("prepare.py").read_text())
print(json.dumps({"option": 1, "operator": "draft", "title": "two", "hypothesis": "", "mechanism": "", "category": "c",
                  "brief": "Set A to 2."}))
"""
    planner = CommandPlanner(command(code), digest_tokens=2000)
    reply = asyncio.run(planner.plan(grown.request(0)))
    assert isinstance(reply.outcome, Plan)
    assert reply.outcome.idea.title == "two"
    silent = asyncio.run(CommandPlanner(command("print('no')"), digest_tokens=2000).plan(grown.request(0)))
    assert isinstance(silent.outcome, Failure)
