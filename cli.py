"""The command line, and the one place that puts concrete parts together, reads the environment, or prints.

Heavy packages are imported where they are used: `ratchetree --help` must stay quick.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .search.errors import RatchetreeError, WrongUse

if TYPE_CHECKING:
    from rich.console import Console

    from .search.campaign import Campaign
    from .search.events import Event
    from .search.settings import Settings
    from .search.tree import Node, Tree
    from .storage.repository import GitRepository
    from .view.chronicle import Chronicle
    from .view.live import LiveScreen
    from .view.plain_screen import PlainScreen

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Autonomous research as a search over a tree of git branches: a planner picks a node, a coder patches the "
    "training script, a fixed-budget trial scores it, and main advances only on a real improvement.",
    epilog="Start with: ratchetree init DIR, then ratchetree run DIR. Exit: 0 done, 1 the work failed, 2 wrong use.",
)

Dir = Annotated[Path, typer.Argument(metavar="[DIR]", help="The workspace.", show_default="here")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[int, typer.Argument(metavar="ID", help="The experiment's number; 0 is the root.", min=0)]
At = Annotated[Path, typer.Option("--dir", "-C", metavar="DIR", help="The workspace.", show_default="here")]
HERE = Path()
TASKS = ("gpt-cpu", "command")


# -- making and running -----------------------------------------------------------------------------------------------


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    task: Annotated[str, typer.Option(help=f"What is worked on: {' | '.join(TASKS)}.")] = "gpt-cpu",
) -> None:
    """Make a workspace: a git repository with program.md, ratchetree.toml and the task's files."""
    from importlib.resources import files

    from .storage.workspace import make_workspace

    if task not in TASKS:
        raise WrongUse(f"--task {task!r} is not known; allowed: {', '.join(TASKS)}")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    make_workspace(folder, files("ratchetree") / "program" / task, slots=min(4, cpus))
    typer.echo(f"{folder} is ready. Read its program.md and ratchetree.toml, then: ratchetree run {_quoted(folder)}")


@app.command()
def run(
    folder: Dir = HERE,
    policy: Annotated[str | None, typer.Option(help="Which policy ranks the nodes.")] = None,
    experiments: Annotated[
        int | None, typer.Option(metavar="N", help="Stop at N experiments beyond the root, earlier runs included.")
    ] = None,
    hours: Annotated[float | None, typer.Option(metavar="H", help="Stop H hours after this start.")] = None,
    seconds: Annotated[float | None, typer.Option(metavar="S", help="The budget of one trial.")] = None,
    slots: Annotated[int | None, typer.Option(metavar="N", help="Trials at once.")] = None,
    agents: Annotated[str | None, typer.Option(help="Who plans and codes: offline.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of a new campaign; default 1.")] = None,
) -> None:
    """Start or resume the campaign. Ctrl-C finishes what trains and stops; twice stops at once; nothing is lost."""
    options: dict[str, dict[str, Any]] = {
        "search": {"policy": policy},
        "budget": {"seconds": seconds},
        "trainer": {"slots": slots},
        "agents": {"planner": agents and {"backend": agents}, "coder": agents and {"backend": agents}},
        "limits": {"experiments": experiments, "hours": hours},
    }
    folder = folder.resolve()
    settings = _settings(folder, options)
    from .storage.lock import WorkspaceLock
    from .storage.repository import GitRepository

    repository = GitRepository(folder, settings.task.editable)
    repository.check_ready()
    repository.ignore_own_files()
    lock = WorkspaceLock(_state(folder) / "lock")
    crashed = lock.acquire()
    try:
        _run_campaign(folder, repository, settings, seed=seed, crashed=crashed)
    finally:
        lock.release()
    status(folder)


def _run_campaign(
    folder: Path, repository: GitRepository, settings: Settings, *, seed: int | None, crashed: bool
) -> None:
    # LangGraph reads these when it is imported: strict checkpoints, and no word to any tracing service.
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
    os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
    from .agents.offline import OfflineCoder, OfflinePlanner
    from .search.campaign import Campaign
    from .search.experiment import Parts
    from .search.policies import make_policy
    from .storage.journal import SqliteJournal
    from .view.live import open_screen

    policy = make_policy(settings.search.policy, settings.search.parameters(settings.search.policy))
    _check_journal(folder, repository)
    journal = SqliteJournal.create(_journal(folder))
    _check_seed(journal, seed)
    hours = settings.limits.hours
    screen = open_screen(
        _console(),
        limit=settings.limits.experiments,
        slots=settings.trainer.slots,
        clock=time.time,
        ends=time.time() + hours * 3600 if hours is not None else None,
    )
    parts = Parts(
        journal=journal,
        repository=repository,
        planner=OfflinePlanner(),
        coder=OfflineCoder(),
        trainer=_trainer(folder, repository, settings, screen),
        clock=time.time,
        observers=(screen,),
    )
    campaign = Campaign(
        parts=parts,
        policy=policy,
        settings=settings,
        seed=1 if seed is None else seed,
        version=__version__,
        checkpoints=_state(folder) / "checkpoints.db",
    )
    try:
        with screen:
            if crashed:
                screen.note("the last run ended without a stop; going on where it was")
            asyncio.run(_drive(campaign, screen))
    finally:
        journal.close()


async def _drive(campaign: Campaign, screen: LiveScreen | PlainScreen) -> None:
    """Run the campaign; the first Ctrl-C asks it to stop, the second (or a termination signal) ends it at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    presses = 0

    def interrupt() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            campaign.stop("you asked it to (Ctrl-C)")
            screen.stopping()
        else:
            task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    for name in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, task.cancel)
    try:
        await campaign.run()
    except asyncio.CancelledError:
        message = "stopped at once; what was in flight is tried again by: ratchetree run"
        raise RatchetreeError(message) from None


def _trainer(folder: Path, repository: GitRepository, settings: Settings, screen: LiveScreen | PlainScreen) -> Any:
    if settings.trainer.executor == "synthetic":
        from .trainer.synthetic import SyntheticTrainer

        screen.note("the trainer is synthetic: scores are made up, nothing is trained")
        budget = settings.budget
        return SyntheticTrainer(repository.sources, slots=settings.trainer.slots, seconds=budget.seconds)
    from .trainer.local import LocalTrainer

    return LocalTrainer(settings, workspace=folder, trees=repository, listen=screen.progress, say=screen.note)


# -- reading ----------------------------------------------------------------------------------------------------------


@app.command()
def status(folder: Dir = HERE, as_json: Json = False) -> None:
    """Where the campaign stands: root, incumbent, gain, counts, what next."""
    from .storage.lock import is_held
    from .view.shapes import status_json
    from .view.status_text import status_text

    tree, chronicle, _ = _read(folder)
    running = is_held(_state(folder) / "lock")
    if as_json:
        _print_json(status_json(tree, chronicle, running=running))
    else:
        _console().print(status_text(tree, chronicle, running=running, now=time.time()))


@app.command(name="tree")
def show_tree(
    folder: Dir = HERE,
    as_json: Json = False,
    everything: Annotated[bool, typer.Option("--all", help="Fold nothing.")] = False,
) -> None:
    """The tree of experiments, with verdicts, scores, and differences to parent and main."""
    from .view.shapes import tree_json
    from .view.tree_text import TreeText

    tree, _, _ = _read(folder)
    if as_json:
        _print_json(tree_json(tree))
    else:
        _console().print(TreeText(tree, everything=everything))


@app.command()
def show(node: Id, folder: At = HERE, as_json: Json = False) -> None:
    """One experiment: its idea, what was predicted and measured, its trials, verdict and failure."""
    from .search.events import experiment_of
    from .view.node_text import node_text
    from .view.shapes import node_json

    tree, _, events = _read(folder)
    found = _node(tree, node)
    if as_json:
        _print_json(node_json(tree, found.id))
    else:
        own = [event for event in events if experiment_of(event) == found.id]
        _console().print(node_text(tree, found.id, events=own, curve=_curve(folder, found)))


@app.command()
def diff(
    node: Id,
    other: Annotated[int | None, typer.Argument(metavar="[ID]", help="Compare with this one.", min=0)] = None,
    folder: At = HERE,
) -> None:
    """What an experiment changed: against its parent, or (two IDs) from the first to the second."""
    from .view.node_text import diff_text

    tree, _, _ = _read(folder)
    after = _node(tree, node)
    before = _node(tree, after.parent or 0) if other is None else after
    after = after if other is None else _node(tree, other)
    for end in (before, after):
        if end.commit is None:
            raise WrongUse(f"{end.id:04d} has no commit yet: it is still being written")
    repository = _repository(folder)
    assert before.commit is not None and after.commit is not None
    _console().print(diff_text(repository.diff(before.commit, after.commit)))


@app.command()
def log(
    node: Id,
    trial: Annotated[int | None, typer.Option(metavar="N", help="Which trial; default: the last.", min=0)] = None,
    folder: At = HERE,
) -> None:
    """What an experiment's training printed (control characters removed)."""
    from .trainer.failures import clean

    _node(_read(folder)[0], node)
    trials = _state(folder.resolve()) / "trials"
    names = [f"{node:04d}-{trial}"] if trial is not None else [*_trial_names(trials, node), f"{node:04d}-smoke"]
    for name in names:
        if (trials / name / "log.txt").exists():
            typer.echo(clean((trials / name / "log.txt").read_text(errors="replace")).rstrip("\n"))
            return
    raise RatchetreeError(f"{node:04d} has no log: it was never trained, or its log was deleted")


def _curve(folder: Path, node: Node) -> list[float]:
    """Training losses of a node's last trial; empty if there are none."""
    trials = _state(folder.resolve()) / "trials"
    for name in _trial_names(trials, node.id):
        path = trials / name / "curve.tsv"
        if path.exists():
            return [float(line.split("\t")[2]) for line in path.read_text().splitlines()[1:]]
    return []


def _trial_names(trials: Path, node: int) -> list[str]:
    numbers = [int(path.name.rpartition("-")[2]) for path in trials.glob(f"{node:04d}-[0-9]*")]
    return [f"{node:04d}-{number}" for number in sorted(numbers, reverse=True)]


@app.command()
def export(
    folder: Dir = HERE,
    form: Annotated[str, typer.Option("--format", help="tsv | json | graphml")] = "tsv",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there, not to the screen.")] = None,
) -> None:
    """The campaign for other tools: results.tsv as the field knows it, the whole tree as JSON, or a graph."""
    from .search.analysis import export_rows, to_networkx
    from .view.shapes import tree_json

    tree, _, _ = _read(folder)
    if form == "tsv":
        text = "".join("\t".join(str(cell) for cell in row) + "\n" for row in export_rows(tree))
    elif form == "json":
        text = json.dumps(tree_json(tree), indent=1, ensure_ascii=False) + "\n"
    elif form == "graphml":
        import networkx as nx

        text = "\n".join(nx.generate_graphml(to_networkx(tree))) + "\n"
    else:
        raise WrongUse(f"--format {form!r} is not known; allowed: tsv, json, graphml")
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


# -- checking and mending ---------------------------------------------------------------------------------------------


@app.command()
def verify(
    folder: Dir = HERE,
    as_json: Json = False,
    fix: Annotated[bool, typer.Option("--fix", help="Put back refs that git has lost.")] = False,
) -> None:
    """Journal against git: do both tell the same story? Exit code 1 if not."""
    from .search.events import Written
    from .storage.lock import WorkspaceLock
    from .storage.verify import verify as compare

    tree, _, events = _read(folder)
    repository = _repository(folder)
    digests = {event.experiment: event.digest for event in events if isinstance(event, Written)}
    problems = compare(tree, digests, repository)
    if fix and problems:
        lock = WorkspaceLock(_state(folder.resolve()) / "lock")
        lock.acquire()
        for problem in problems:
            if problem.ref and problem.commit:
                repository.set_ref(problem.ref, problem.commit)
                typer.echo(f"put back {problem.ref}")
        lock.release()
        problems = compare(tree, digests, repository)
    if as_json:
        _print_json({"problems": [problem.message for problem in problems]})
    else:
        for problem in problems:
            hint = "" if fix or not problem.ref else " (ratchetree verify --fix puts it back)"
            typer.echo(f"{problem.message}{hint}")
        if not problems:
            typer.echo(
                f"journal and git tell the same story: {len(tree)} nodes, {len(tree.advances) - 1} moves of main"
            )
    if problems:
        raise typer.Exit(1)


@app.command()
def rebuild(folder: Dir = HERE) -> None:
    """Make the journal anew from git alone. The old one, if there is one, is kept beside it."""
    from .storage.journal import SqliteJournal, aside
    from .storage.lock import WorkspaceLock
    from .storage.rebuild import events_from_git

    repository = _repository(folder)
    folder = folder.resolve()
    lock = WorkspaceLock(_state(folder) / "lock")
    lock.acquire()
    try:
        events = events_from_git(repository)
        kept = aside(_journal(folder))
        journal = SqliteJournal.create(_journal(folder))
        journal.fill(events)
        journal.close()
    finally:
        lock.release()
    beside = f"; the old one is kept as {kept.name}" if kept else ""
    typer.echo(f"the journal has {len(events)} events again{beside}")


@app.command()
def doctor(folder: Dir = HERE, as_json: Json = False) -> None:
    """What this machine offers; every line was really tried. Exit code 1 if something needed is missing."""
    from dataclasses import asdict

    from .storage.repository import check_git
    from .trainer.doctor import Check, examine

    def everything() -> Any:
        try:
            check_git()
            yield Check(name="git", works=True, says="is new enough")
        except WrongUse as error:
            yield Check(name="git", works=False, says=str(error))
        yield from examine(folder.resolve())

    checks = []
    for check in everything():
        checks.append(check)
        if not as_json:
            sign = "ok" if check.works else ("MISSING" if check.needed else "-")
            typer.echo(f"{check.name:<10} {sign:<8} {check.says}")
    if as_json:
        _print_json({"checks": [asdict(check) for check in checks]})
    if any(check.needed and not check.works for check in checks):
        raise typer.Exit(1)


# -- what the commands share ------------------------------------------------------------------------------------------


def _settings(folder: Path, options: dict[str, dict[str, Any]]) -> Settings:
    """The workspace's settings, with the command line's on top."""
    import tomllib

    from .search.settings import parse_settings, settings_from

    path = folder / "ratchetree.toml"
    if not folder.is_dir():
        raise WrongUse(f"{folder} is not a folder: ratchetree init makes a workspace")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WrongUse(f"{folder} has no ratchetree.toml, so it is no workspace: ratchetree init makes one") from None
    except UnicodeDecodeError as error:
        raise WrongUse(f"{path} is not UTF-8 text ({error.reason})") from error
    parse_settings(text, source=str(path))
    table = tomllib.loads(text)
    for name, values in options.items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            table[name] = {**table.get(name, {}), **given}
    return settings_from(table, source="the command line")


def _check_journal(folder: Path, repository: GitRepository) -> None:
    if not _journal(folder).exists() and (pins := repository.pins()):
        raise WrongUse(
            f"the journal is gone, but git still holds {len(pins)} nodes: bring it back with: ratchetree rebuild"
        )


def _check_seed(journal: Any, seed: int | None) -> None:
    first: tuple[int, Event] | None = next(iter(journal.events()), None)
    began_with = getattr(first[1], "seed", None) if first else None
    if seed is not None and began_with is not None and seed != began_with:
        raise WrongUse(f"--seed {seed}: this campaign began with seed {began_with} and keeps it; leave --seed away")


def _read(folder: Path) -> tuple[Tree, Chronicle, list[Event]]:
    from .storage.journal import SqliteJournal
    from .view.chronicle import Chronicle

    if not (folder / "ratchetree.toml").exists():
        raise WrongUse(f"{folder.resolve()} has no ratchetree.toml, so it is no workspace")
    journal = SqliteJournal.read(_journal(folder.resolve()))
    events = [event for _, event in journal.events()]
    journal.close()
    tree, chronicle = Chronicle.read(events)
    return tree, chronicle, events


def _repository(folder: Path) -> GitRepository:
    from .storage.repository import GitRepository

    folder = folder.resolve()
    return GitRepository(folder, _settings(folder, {}).task.editable)


def _node(tree: Tree, number: int) -> Node:
    if number not in tree:
        raise WrongUse(f"there is no experiment {number:04d}; there are 0000 to {tree.next_id - 1:04d}")
    return tree.node(number)


def _state(folder: Path) -> Path:
    return folder / ".ratchetree"


def _journal(folder: Path) -> Path:
    return _state(folder) / "journal.db"


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def _quoted(word: Path | str) -> str:
    import shlex

    return shlex.quote(str(word))


def main() -> None:
    """Entry point: every expected error is one line on standard error and an exit code."""
    (usage_error,) = typer.BadParameter.__bases__  # typer brings its own click and exports no more of it
    code: int | None = 1
    try:
        code = app(standalone_mode=False)
    except usage_error as error:
        message = " ".join(error.format_message().split())
        given = " ".join(map(_quoted, sys.argv[1:]))
        typer.echo(f"ratchetree: {message}; given: {given}; see --help", err=True)
        code = 2
    except RatchetreeError as error:
        typer.echo(f"ratchetree: {error}", err=True)
        code = error.exit_code
    except BrokenPipeError:  # `ratchetree tree | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (OSError, sqlite3.OperationalError) as error:  # a full disk, a read-only folder
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        why = error.strerror if isinstance(error, OSError) else error
        typer.echo(f"ratchetree: {why}{where}; nothing is lost: mend it and run again", err=True)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("ratchetree: interrupted", err=True)
    sys.exit(code)
