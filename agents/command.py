"""Any command-line agent as coder or planner: it runs in an exported tree, and what it changed there is the patch.

Where and how it runs is handed in (`Ground`): with a deadline, an environment that holds only what the user lists, and
nothing that outlives it. It runs behind the strongest walls that work here (`walls.py`); where none does, what it
writes in the workspace is found afterwards (`outside_writes.py`).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..search.errors import RatchetreeError, WrongUse
from ..search.model import Failure, FailureKind, ModelCall, Patch, SourceFile, Sources
from ..search.patch import edits_between
from ..search.ports import PlanReply, PlanRequest, WriteReply, WriteRequest
from . import outside_writes, printed
from .coder import objected, task_text
from .editor import LARGEST_FILE
from .fencing import clean, one_line
from .outside_writes import Guarded
from .planner import examined, question_text
from .prompts import fill, template
from .replies import parse_plan
from .walls import PRIVATE, Confinement, Place, by_bubblewrap, by_landlock

_OWN_FILES = {"__pycache__", ".git", ".claude", ".codex", ".cache", ".pytest_cache", ".ruff_cache", ".DS_Store"}
_LONGEST_ARGUMENT = 100_000  # bytes; Linux takes 128 KiB
_CANARY = "not to be read"
_PROBE = 'echo inside > inside; cat "$1"; echo outside > "$1"'
_LANDLOCK = 3  # the version that also protects what is truncated


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    in_time: bool
    exit_code: int | None
    output: str  # standard output and error, as printed


Run = Callable[[tuple[str, ...], Place, Mapping[str, str], float, Confinement], Awaitable[Ended]]
"""(command, place, extra environment, seconds, confinement) -> how it ended, with every process of it gone. Raises
RatchetreeError if it cannot be started."""

Export = Callable[[str, Path], None]
"""(commit, new folder): write the commit's files there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What command-line agents need of the outside."""

    run: Run
    export: Export
    folder: Path  # where their trees are made
    guarded: Guarded  # the workspace
    bwrap: str | None = None  # the program bubblewrap
    landlock: int = 0  # the kernel's version of it

    def hidden(self) -> tuple[Path, ...]:
        """The workspace, and other campaigns beside it."""
        own = self.guarded.folder
        beside: list[Path] = []
        with suppress(OSError):  # a folder that may be entered but not read
            beside = [path.parent for path in own.parent.glob("*/.ratchetree") if not path.parent.is_symlink()]
        return tuple(sorted({own, *beside}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One run of a command, over. Whoever asked for it removes the place."""

    ended: Ended
    place: Path
    foreign: tuple[str, ...]  # what was changed in the workspace meanwhile


class Command:
    """What the user chose. sandbox: auto, bubblewrap, landlock, none. writable: what it may write beside its tree."""

    def __init__(
        self,
        command: tuple[str, ...],
        ground: Ground,
        *,
        environment: Mapping[str, str],
        seconds: float,
        sandbox: str = "auto",
        writable: tuple[Path, ...] = (),
    ) -> None:
        self.program = Path(command[0]).name  # in the place of a model's name
        self.seconds = seconds
        self.ground = ground
        self._command = command  # "{prompt}" in it is what to do, "{task}" a file that says it
        self._environment = environment  # what it may see beyond PATH and the like
        self._sandbox = sandbox
        self._writable = writable
        self._walls = ""  # not known yet

    def __repr__(self) -> str:
        """Without the environment, which may hold keys."""
        return f"Command({self._command!r})"

    def call(self, begun: float, output: str) -> ModelCall:
        """What it cost, if it says so."""
        seconds = round(time.perf_counter() - begun, 3)
        call = ModelCall(backend="command", model=self.program, seconds=seconds)
        return printed.with_cost(call, printed.read(output))

    async def check(self) -> str:
        """Find the walls it runs behind; what the user should know of them, in one line. Raises WrongUse."""
        first = self._command[0]
        if ("/" not in first or Path(first).is_absolute()) and shutil.which(first) is None:
            raise WrongUse(f"agents: {first!r} is no program here: install it, or give its path in command")
        for path in self._writable:
            if not path.exists():
                raise WrongUse(f"agents: writable lists {path}, which is not there: make it, or leave it away")
            if any(path == f or f in path.parents or path in f.parents for f in self.ground.hidden()):
                raise WrongUse(f"agents: writable lists {path}, which holds a campaign or lies in one")
        self._walls, why = await self._strongest()
        if self._walls != "none":
            return ""
        reason = f" ({why})" if why else ""
        return (
            f"{self.program} runs without a sandbox{reason}: with your rights, and what it writes in the workspace is "
            "only found out afterwards"
        )

    async def do(self, name: str, task: str, commit: str | None) -> Done:
        """Run it on a task in a fresh tree of the commit."""
        if not self._walls:
            await self.check()
        place = self._place(name, task, commit)
        argument = task
        if len(task.encode("utf-8", "replace")) > _LONGEST_ARGUMENT:
            argument = fill(template("errand"), file=str(place.readable[0])).strip()
        command = tuple(
            p.replace("{task}", str(place.readable[0])).replace("{prompt}", argument) for p in self._command
        )
        before = outside_writes.look(self.ground.guarded) if self._walls == "none" else None
        confinement = self._confinement(self._walls, place)
        try:
            ended = await self.ground.run(command, place, self._environment, self.seconds, confinement)
        except RatchetreeError as error:
            output = str(error).replace(argument, "...")
            ended = Ended(in_time=True, exit_code=None, output=output)
        foreign = outside_writes.written_since(before, self.ground.guarded) if before else []
        return Done(ended=ended, place=place.tree.parent, foreign=tuple(foreign))

    def why_failed(self, done: Done) -> Failure | None:
        """What makes a run worth nothing, whatever it left in its tree."""
        if done.foreign:
            names = ", ".join(done.foreign[:3]) + (f" and {len(done.foreign) - 3} more" if done.foreign[3:] else "")
            message = f"while {self.program} ran, {names} changed in the workspace, outside the tree it was given"
            return Failure(kind=FailureKind.OUT_OF_BOUNDS, message=one_line(message, 300))
        if done.ended.exit_code is None and done.ended.in_time:
            message = f"{self.program} cannot be run: {done.ended.output}"
            return Failure(kind=FailureKind.NO_PATCH, message=one_line(message, 300))
        if not done.ended.in_time:
            message = f"{self.program} was not done after {self.seconds:g} s and was ended"
            return Failure(kind=FailureKind.NO_PATCH, message=message, detail=clean(done.ended.output, 1500))
        return None

    # -- walls ----------------------------------------------------------------------------------------------------

    async def _strongest(self) -> tuple[str, str]:
        """(name, why no stronger one) of the walls that hold here."""
        if self._sandbox == "none":
            return "none", ""
        reasons = []
        for walls in ("bubblewrap", "landlock") if self._sandbox == "auto" else (self._sandbox,):
            why = await self._why_not(walls)
            if why is None:
                return walls, ""
            reasons.append(f"{walls}: {why}")
        if self._sandbox != "auto":
            raise WrongUse(f"agents: sandbox = {self._sandbox!r} does not work here: {reasons[0]}")
        return "none", "; ".join(reasons)

    async def _why_not(self, walls: str) -> str | None:
        """Try it: something is written inside, and a file outside is neither read nor written."""
        if walls == "bubblewrap" and self.ground.bwrap is None:
            return "bwrap is not installed"
        if walls == "landlock" and self.ground.landlock < _LANDLOCK:
            return f"the kernel offers version {self.ground.landlock}, {_LANDLOCK} is needed"
        place = self._place("probe", "", None)
        outside = place.tree.parent / "outside"
        outside.write_text(_CANARY)
        command = ("/bin/sh", "-c", _PROBE, "sh", str(outside))
        try:
            ended = await self.ground.run(command, place, {}, 20.0, self._confinement(walls, place))
            if not (place.tree / "inside").exists():
                return one_line(ended.output, 100) or "nothing can be started behind it"
            if _CANARY in ended.output or outside.read_text() != _CANARY:
                return "it does not hold"
        except RatchetreeError as error:
            return one_line(str(error), 100)
        finally:
            remove(place.tree.parent)
        return None

    def _confinement(self, walls: str, place: Place) -> Confinement:
        if walls == "bubblewrap":
            return by_bubblewrap(place, bwrap=self.ground.bwrap or "bwrap")
        return by_landlock(place, version=self.ground.landlock) if walls == "landlock" else {}

    def _place(self, name: str, task: str, commit: str | None) -> Place:
        self.ground.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.ground.folder)).resolve()
        tree, home, file = folder / "tree", folder / "home", folder / "task.md"
        file.write_text(task, encoding="utf-8", errors="replace")
        home.mkdir()
        if commit is not None:
            self.ground.export(commit, tree)
        else:
            tree.mkdir()
        hidden = self.ground.hidden()
        readable = (file, *_programs(shutil.which(self._command[0]), hidden))
        return Place(tree=tree, home=home, readable=readable, writable=self._writable, hidden=hidden)


def _programs(program: str | None, hidden: tuple[Path, ...]) -> list[Path]:
    """The entries of hidden folders that hold the program: an environment in the workspace, say. Where the walls put an
    empty folder over everybody's, it is the program's own environment: nothing beside it is shown."""
    path = Path.cwd() / (program or "/")
    found = [folder / path.relative_to(folder).parts[0] for folder in hidden if folder in path.parents]
    own = path.parent.parent if path.parent.name == "bin" else path
    if not found and any(folder in own.parents for folder in PRIVATE) and not any(own in f.parents for f in hidden):
        found = [own]
    return [entry for entry in found if entry.name not in (".git", ".ratchetree")]


def remove(folder: Path) -> None:
    """Delete what a run left, as far as that can be done: it may be deeper than Python recurses, and locked."""
    folders, todo = [], [folder]
    while todo:
        path = todo.pop()
        with suppress(OSError):
            path.chmod(0o700)
            folders.append(path)
            for entry in path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    todo.append(entry)
                else:
                    entry.unlink()
    for path in reversed(folders):
        with suppress(OSError):
            path.rmdir()


class CommandCoder:
    """Implements ports.Coder."""

    def __init__(self, command: Command) -> None:
        self._command = command

    async def write(self, request: WriteRequest) -> WriteReply:
        """The difference between the tree before and after, or a Failure."""
        begun = time.perf_counter()
        commit = request.tree.node(request.parent).commit
        done = await self._command.do(f"{request.experiment:04d}-{request.attempt}", task_text(request), commit)
        try:
            outcome = self._command.why_failed(done) or self._outcome(request, done, commit)
        except OSError as error:
            message = f"{self._command.program} left a tree that cannot be read: {error.strerror}"
            outcome = Failure(kind=FailureKind.OUT_OF_BOUNDS, message=one_line(message, 300))
        finally:
            remove(done.place)
        return WriteReply(outcome=outcome, call=self._command.call(begun, done.ended.output))

    def _outcome(self, request: WriteRequest, done: Done, commit: str | None) -> Patch | Failure:
        tree, fresh, ended = done.place / "tree", done.place / "before", done.ended
        if commit is not None:
            self._command.ground.export(commit, fresh)
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
        main = request.tree.node(request.tree.incumbent).commit
        done = await self._command.do(f"{request.experiment:04d}-plan", task, main)
        remove(done.place)
        output = done.ended.output
        outcome = examined(request, parse_plan(printed.read(output).words, request.options, request.tree))
        failed = self._command.why_failed(done)
        if failed is not None and (
            done.foreign or isinstance(outcome, Failure)
        ):  # a plan that was printed in time counts
            kind = failed.kind if done.foreign else FailureKind.NO_IDEA
            outcome = replace(failed, kind=kind)
        return PlanReply(outcome=outcome, call=self._command.call(begun, output))


def _contents(folder: Path) -> dict[str, bytes]:
    """What lies in a tree, by path; links by where they point, and nothing of what tools leave behind."""
    found: dict[str, bytes] = {}
    todo = [folder]
    while todo:
        for path in todo.pop().iterdir():
            if path.name in _OWN_FILES:
                continue
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[name] = b"-> " + str(path.readlink()).encode(errors="surrogateescape")
            elif path.is_dir():
                todo.append(path)
            elif path.is_file():
                with path.open("rb") as file:
                    found[name] = file.read(LARGEST_FILE + 1)
            else:
                found[name] = b"special"
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
