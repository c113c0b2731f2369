"""Any command-line agent as coder or planner: it runs in an exported tree, and what it changed there is the patch.

Where and how it runs is handed in (`Run`): with a deadline, an environment that holds only what the user lists, and
nothing that outlives it. It is no sandbox: a program that the user chose may read what the user may read.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..search.model import Failure, FailureKind, ModelCall, Patch, SourceFile, Sources
from ..search.patch import edits_between
from ..search.ports import PlanReply, PlanRequest, WriteReply, WriteRequest
from .coder import objected, task_text
from .editor import LARGEST_FILE
from .fencing import clean, one_line
from .planner import examined, question_text
from .replies import parse_plan

_OWN_FILES = {"__pycache__", ".git", ".claude", ".codex", ".cache", ".pytest_cache", ".ruff_cache", ".DS_Store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    in_time: bool
    exit_code: int | None
    output: str  # standard output and error, as printed


Run = Callable[[tuple[str, ...], Path, Mapping[str, str], float], Awaitable[Ended]]
"""(command, folder, extra environment, seconds) -> how it ended, with every process of it gone."""

Export = Callable[[str, Path], None]
"""(commit, new folder): write the commit's files there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the user chose."""

    command: tuple[str, ...]  # "{prompt}" in it is what to do, "{task}" a file that says it
    environment: Mapping[str, str]  # what it may see beyond PATH and the like
    seconds: float
    folder: Path  # where its trees are made
    run: Run
    export: Export

    def __repr__(self) -> str:
        """Without the environment, which may hold keys."""
        return f"Command({self.command!r})"

    @property
    def program(self) -> str:
        """Its name, in the place of a model's."""
        return Path(self.command[0]).name

    def call(self, begun: float) -> ModelCall:
        """What it cost is not known."""
        return ModelCall(backend="command", model=self.program, seconds=round(time.perf_counter() - begun, 3))

    async def do(self, name: str, task: str, commit: str | None) -> tuple[Ended, Path]:
        """Run it on a task in a fresh tree of the commit; how it ended, and the tree. The caller removes its parent."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        tree, file = place / "tree", place / "task.md"
        file.write_text(task, encoding="utf-8", errors="replace")
        if commit is not None:
            self.export(commit, tree)
        else:
            tree.mkdir()
        command = tuple(part.replace("{task}", str(file)).replace("{prompt}", task) for part in self.command)
        return await self.run(command, tree, self.environment, self.seconds), tree


class CommandCoder:
    """Implements ports.Coder."""

    def __init__(self, command: Command) -> None:
        self._command = command

    async def write(self, request: WriteRequest) -> WriteReply:
        """The difference between the tree before and after, or a Failure."""
        begun = time.perf_counter()
        commit = request.tree.node(request.parent).commit
        ended, tree = await self._command.do(f"{request.experiment:04d}-{request.attempt}", task_text(request), commit)
        try:
            outcome = self._outcome(request, ended, tree, commit)
        finally:
            shutil.rmtree(tree.parent, ignore_errors=True)
        return WriteReply(outcome=outcome, call=self._command.call(begun))

    def _outcome(self, request: WriteRequest, ended: Ended, tree: Path, commit: str | None) -> Patch | Failure:
        if not ended.in_time:
            message = f"{self._command.program} was not done after {self._command.seconds:g} s and was ended"
            return Failure(kind=FailureKind.NO_PATCH, message=message, detail=clean(ended.output, 1500))
        fresh = tree.parent / "before"
        if commit is not None:
            self._command.export(commit, fresh)
        else:
            fresh.mkdir()
        editable = {file.path for file in request.sources}
        touched = sorted(_contents(fresh).items() ^ _contents(tree).items())
        outside = sorted({name for name, _ in touched} - editable)
        if outside:
            message = f"{self._command.program} changed {', '.join(outside[:3])}; it may change: {', '.join(editable)}"
            return Failure(kind=FailureKind.OUT_OF_BOUNDS, message=one_line(message, 300))
        after = _read(tree, request.sources)
        if isinstance(after, Failure):
            return after
        now = {file.path: file.text for file in after}
        edits = tuple(e for f in request.sources for e in edits_between(f.path, f.text, now[f.path]))
        if not edits:
            code = f" (exit code {ended.exit_code})" if ended.exit_code else ""
            message = f"{self._command.program} changed nothing{code}"
            return Failure(kind=FailureKind.NO_PATCH, message=message, detail=clean(ended.output, 1500))
        return objected(request, after) or Patch(edits=edits)


class CommandPlanner:
    """Implements ports.Planner: the plan is the first JSON object of the right form that the command prints."""

    def __init__(self, command: Command, *, digest_tokens: int) -> None:
        self._command = command
        self._digest_tokens = digest_tokens

    async def plan(self, request: PlanRequest) -> PlanReply:
        """A plan, or a Failure of kind no-idea."""
        begun = time.perf_counter()
        task = question_text(request, self._digest_tokens)
        ended, tree = await self._command.do(f"{request.experiment:04d}-plan", task, None)
        shutil.rmtree(tree.parent, ignore_errors=True)
        outcome = examined(request, parse_plan(ended.output, request.options, request.tree))
        if isinstance(outcome, Failure) and not ended.in_time:
            message = f"{self._command.program} was not done after {self._command.seconds:g} s and was ended"
            outcome = Failure(kind=FailureKind.NO_IDEA, message=message)
        return PlanReply(outcome=outcome, call=self._command.call(begun))


def _contents(folder: Path) -> dict[str, bytes]:
    """What lies in a tree, by path; links by where they point, and nothing of what tools leave behind."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if _OWN_FILES & set(relative.parts):
            continue
        if path.is_symlink():
            found[relative.as_posix()] = b"-> " + str(path.readlink()).encode(errors="surrogateescape")
        elif path.is_file():
            found[relative.as_posix()] = path.read_bytes()[: LARGEST_FILE + 1]
        elif not path.is_dir():
            found[relative.as_posix()] = b"special"
    return found


def _read(tree: Path, before: Sources) -> Sources | Failure:
    """The editable files as the command left them."""
    found = []
    for file in before:
        path = tree / file.path
        if path.is_symlink() or not path.is_file():
            return Failure(kind=FailureKind.OUT_OF_BOUNDS, message=f"{file.path} is no plain file any more")
        if path.stat().st_size > LARGEST_FILE:
            message = f"{file.path} has {path.stat().st_size:,} bytes; at most {LARGEST_FILE:,} are taken"
            return Failure(kind=FailureKind.NO_PATCH, message=message)
        try:
            found.append(SourceFile(path=file.path, text=path.read_bytes().decode("utf-8")))
        except UnicodeDecodeError:
            return Failure(kind=FailureKind.NO_PATCH, message=f"{file.path} is not UTF-8 any more")
    return tuple(found)
