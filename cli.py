"""The command line, and with `running.py` the one place that puts concrete parts together, reads the environment, or
prints.

Heavy packages are imported where they are used: `ratchetree --help` must stay quick.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shlex
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__, outside
from .search.errors import RatchetreeError, WrongUse

if TYPE_CHECKING:
    from rich.console import Console

    from .search.events import Event
    from .search.tree import Node, Tree
    from .trainer.doctor import Check
    from .view.chronicle import Chronicle
    from .view.live import LiveScreen
    from .view.plain_screen import PlainScreen

    Screen = LiveScreen | PlainScreen

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Autonomous research as a search over a tree of git branches: a planner picks a node, a coder patches the "
    "training script, a fixed-budget trial scores it, and main advances only on a real improvement.",
    epilog="Start with: ratchetree init DIR, then ratchetree run DIR. Exit: 0 done, 1 the work failed, 2 wrong use.",
)

Dir = Annotated[Path, typer.Argument(metavar="[DIR]", help="The workspace.", show_default="here")]
At = Annotated[Path, typer.Option("--dir", "-C", metavar="DIR", help="The workspace.", show_default="here")]
Id = Annotated[int, typer.Argument(metavar="ID", help="The experiment's number; 0 is the root.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path()
TASKS = ("gpt-cpu", "gpt-gpu", "autoresearch", "command")
FORMATS = ("tsv", "json", "graphml")
_LINES = 12  # of each kind that an import prints
PICTURES = ("ratchet", "tree", "experiments", "hours", "dollars")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"ratchetree {__version__}")
        raise typer.Exit


@app.callback()
def before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing: the options say it all."""


# -- making and running -----------------------------------------------------------------------------------------------


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    source: Annotated[
        Path | None, typer.Argument(metavar="[SOURCE]", help="For autoresearch: a checkout of it, or its train.py.")
    ] = None,
    task: Annotated[str, typer.Option(help=f"What is worked on: {' | '.join(TASKS)}.")] = "gpt-cpu",
) -> None:
    """Make a workspace to search over. A git repository with program.md, ratchetree.toml and the task's files."""
    from importlib.resources import files

    from .storage.ancestor import ancestors_script
    from .storage.workspace import make_workspace

    if task not in TASKS:
        raise WrongUse(f"--task {task!r} is not known; allowed: {', '.join(TASKS)}")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slots = _cards() if task in ("gpt-gpu", "autoresearch") else min(4, cpus)
    template = files("ratchetree") / "program" / task
    if (task == "autoresearch") != (source is not None):
        given = f"SOURCE {source}" if source is not None else "no SOURCE"
        raise WrongUse(f"--task {task} with {given}: a checkout to take train.py from goes with autoresearch only")
    own = {"train.py": ancestors_script(source, template)} if source is not None else {}
    make_workspace(folder, template, slots=slots, own=own)
    where = shlex.quote(str(folder))
    typer.echo(f"{folder} is ready. Read its program.md and ratchetree.toml, then: ratchetree run {where}")
    if task in ("gpt-gpu", "autoresearch"):
        typer.echo(f"Bring text first: (cd {where} && python prepare.py --download 8), or name a folder in task.corpus")


def _cards() -> int:
    """How many slots there are for training on cards: one where there is none."""
    from .trainer.cards import DriverError, nvidia

    driver = nvidia.find()
    try:
        return max(1, len(driver.cards())) if driver is not None else 1
    except DriverError:
        return 1


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
    agents: Annotated[
        str | None, typer.Option(help="Who plans and codes: offline | claude | command | replay.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of a new campaign; default 1.")] = None,
) -> None:
    """Start or resume the campaign. Ctrl-C finishes what trains and stops; twice stops at once; nothing is lost."""
    from .running import run_campaign
    from .storage.repository import GitRepository
    from .storage.workspace import Workspace

    workspace = Workspace(folder)
    own = workspace.settings().agents
    planner, coder = (
        {"backend": agents} if agents not in (None, role.backend) else None for role in (own.planner, own.coder)
    )
    settings = workspace.settings(
        {
            "search": {"policy": policy},
            "budget": {"seconds": seconds},
            "trainer": {"slots": slots},
            "agents": {"planner": planner, "coder": coder},
            "limits": {"experiments": experiments, "hours": hours},
        }
    )
    repository = GitRepository(workspace.folder, settings.task.editable)
    repository.check_ready()
    repository.ignore_own_files()
    workspace.check_code(repository)
    with workspace.lock() as crashed:
        run_campaign(workspace, repository, settings, seed=seed, crashed=crashed, console=_console())
    status(folder)


@app.command()
def confirm(
    node: Annotated[int | None, typer.Argument(metavar="[ID]", help="Default: what main carries.", min=0)] = None,
    trials: Annotated[int, typer.Option(metavar="N", help="New seeds for the root and for ID, each.", min=2)] = 5,
    folder: At = HERE,
    as_json: Json = False,
) -> None:
    """Say whether a gain is real. Trains root and ID with new seeds, scores them on validation and sealed text."""
    from dataclasses import asdict

    from rich.console import Console

    from .agents.backends import offline
    from .running import compose
    from .storage.journal import SqliteJournal
    from .storage.workspace import Workspace
    from .view.plain_screen import PlainScreen

    workspace = Workspace(folder)
    settings, repository = workspace.settings(), workspace.repository()
    workspace.read_events()
    screen = PlainScreen(Console(stderr=True), limit=None, slots=settings.trainer.slots, clock=time.time)
    with workspace.lock():
        journal = SqliteJournal.create(workspace.journal_path)
        try:
            campaign = compose(workspace, repository, settings, journal, screen, offline(), seed=1)
            claimed = asyncio.run(campaign.confirm(node, trials))
        finally:
            journal.close()
    if as_json:
        _print_json(asdict(claimed))
    else:
        typer.echo(claimed.sentence)


@app.command()
def rehearse(
    port: Annotated[int, typer.Option(metavar="N", help="Where to listen, on this machine only.")] = 8199,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what it says.")] = 1,
) -> None:
    """Serve the Messages API without a model. To rehearse a campaign and what it costs, without a key."""
    from .agents.rehearsal import Rehearsal
    from .agents.rehearsed import catalogue

    server = Rehearsal(catalogue(seed), port=port)
    typer.echo(f"listening; in another terminal: ANTHROPIC_BASE_URL={server.url} ratchetree run --agents claude")
    server.start()
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    server.stop()
    typer.echo(f"{len(server.bills)} answers, {sum(bill.output_tokens for bill in server.bills):,} tokens of output")


# -- reading ----------------------------------------------------------------------------------------------------------


@app.command()
def status(folder: Dir = HERE, as_json: Json = False) -> None:
    """Where the campaign stands, and what next. Root, incumbent, gain, counts."""
    from .storage.lock import is_held
    from .storage.workspace import Workspace
    from .view.chronicle import Chronicle
    from .view.shapes import status_json
    from .view.status_text import status_text

    workspace = Workspace(folder)
    tree, chronicle = Chronicle.read(workspace.read_events())
    running = is_held(workspace.lock_path)
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
    """The tree of experiments. With verdicts, scores, and differences to parent and main."""
    from .view.shapes import tree_json
    from .view.tree_text import TreeText

    tree, chronicle = _chronicle(folder)
    if as_json:
        _print_json(tree_json(tree, chronicle.account))
    else:
        _console().print(TreeText(tree, chronicle.account, everything=everything))


@app.command()
def show(node: Id, folder: At = HERE, as_json: Json = False) -> None:
    """One experiment in full. Its idea, what was predicted and measured, its trials, verdict and failure."""
    from .search.events import experiment_of
    from .storage.workspace import Workspace
    from .view.chronicle import Chronicle
    from .view.node_text import node_text
    from .view.shapes import node_json

    workspace = Workspace(folder)
    events = workspace.read_events()
    tree, chronicle = Chronicle.read(events)
    _node(tree, node)
    own = [event for event in events if experiment_of(event) == node]
    if as_json:
        _print_json(node_json(tree, node, chronicle.account, own))
    else:
        text = node_text(tree, node, account=chronicle.account, events=own, curve=workspace.curve(node))
        _console().print(text)


@app.command()
def diff(
    node: Id,
    other: Annotated[int | None, typer.Argument(metavar="[ID]", help="Compare with this one.", min=0)] = None,
    folder: At = HERE,
) -> None:
    """What an experiment changed. Against its parent, or (two IDs) from the first to the second."""
    from .storage.workspace import Workspace
    from .view.node_text import diff_text

    tree = _tree(folder)
    first = _node(tree, node)
    before, after = (_node(tree, first.parent or 0), first) if other is None else (first, _node(tree, other))
    if before.commit is None or after.commit is None:
        bare = before if before.commit is None else after
        why = "is still being written" if bare.verdict is None else "has no commit: it was imported without its files"
        raise WrongUse(f"{bare.id:04d} {why}")
    text = Workspace(folder).repository().diff(before.commit, after.commit)
    if sys.stdout.isatty():
        _console().print(diff_text(text))
    else:
        typer.echo(text, nl=False)  # for `git apply` and its kin


@app.command()
def log(
    node: Id,
    trial: Annotated[int | None, typer.Option(metavar="N", help="Which trial; default: the last.", min=0)] = None,
    folder: At = HERE,
) -> None:
    """What an experiment's training printed. Control characters are removed."""
    from .search.plain_text import without_controls
    from .storage.workspace import Workspace

    _node(_tree(folder), node)
    text = Workspace(folder).log(node, trial)
    if text is None:
        raise RatchetreeError(f"{node:04d} has no log: it was never trained, or its log was deleted")
    typer.echo(without_controls(text).rstrip("\n"))


Beside = Annotated[
    list[Path] | None, typer.Option("--with", metavar="DIR", help="Another campaign to compare with; may be repeated.")
]


@app.command()
def serve(
    folder: Dir = HERE,
    port: Annotated[int, typer.Option(metavar="N", help="0 takes any that is free.", min=0, max=65535)] = 8765,
    beside: Beside = None,
) -> None:
    """The live page, for this machine's browser. The printed link has the token that its controls need."""
    import secrets

    from .storage.reading import WorkspaceReading
    from .storage.workspace import Workspace
    from .view.server import listen
    from .view.server import serve as answer

    reading = WorkspaceReading(Workspace(folder))
    others = _courses(beside)
    opened = listen(port)
    token = secrets.token_urlsafe(16)
    typer.echo(f"http://127.0.0.1:{opened.getsockname()[1]}/#token={token}   (Ctrl-C ends it)")
    sys.stdout.flush()
    answer(reading, opened, token=token, others=others)


@app.command()
def watch(folder: Dir = HERE) -> None:
    """The campaign in this terminal. Tree, detail, diff, log, and what is in flight; q ends it."""
    from .storage.reading import WorkspaceReading
    from .storage.workspace import Workspace
    from .view.watch_app import WatchApp

    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise WrongUse("watch needs a terminal; elsewhere: ratchetree status, tree, show, or serve")
    WatchApp(WorkspaceReading(Workspace(folder))).run()


@app.command()
def report(
    folder: Dir = HERE,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The file to write.")] = Path("report.html"),
    beside: Beside = None,
) -> None:
    """The page as one HTML file. It needs no server and no network."""
    from .storage.reading import WorkspaceReading
    from .storage.workspace import Workspace
    from .view.report import report as make

    workspace = Workspace(folder)
    workspace.read_events()
    out.write_text(make(WorkspaceReading(workspace), others=_courses(beside)), encoding="utf-8")
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


@app.command()
def plot(
    folder: Dir = HERE,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The format is the name's: .png, .svg or .pdf.")] = Path(
        "ratchet.png"
    ),
    view: Annotated[str, typer.Option(help=" | ".join(PICTURES))] = "ratchet",
    beside: Beside = None,
) -> None:
    """A picture of the campaign. With --with, of several: best so far against experiments, hours or dollars. For a
    folder of `compare --out`: every policy's difference to the reference."""
    from .view import chart

    if (folder / "comparison.json").is_file():
        from . import comparing

        chart.save(comparing.picture(folder / "comparison.json"), out)
        typer.echo(f"{out}: {out.stat().st_size / 1000:.0f} kB")
        return
    if view not in PICTURES:
        raise WrongUse(f"--view {view!r} is not known; allowed: {', '.join(PICTURES)}")
    tree, name = _tree(folder), folder.resolve().name
    if view in ("ratchet", "tree") and not beside:
        figure = (chart.ratchet_figure if view == "ratchet" else chart.tree_figure)(tree, name)
    else:
        axis = "experiments" if view in ("ratchet", "tree") else view
        figure = chart.courses_figure(_courses([folder, *(beside or [])]), tree, axis)
    chart.save(figure, out)
    typer.echo(f"{out}: {out.stat().st_size / 1000:.0f} kB")


def _courses(folders: list[Path] | None) -> list[dict[str, Any]]:
    from .storage.workspace import Workspace
    from .view.page_data import PageData

    courses = []
    for folder in folders or []:
        data = PageData(folder.resolve().name)
        data.feed(enumerate(Workspace(folder).read_events(), start=1))
        courses.append({"name": data.name, "points": data.course()})
    return courses


@app.command(name="import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A repository, its folder, or a results.tsv.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="The metric's column; default: seen by itself.")
    ] = None,
    direction: Annotated[str | None, typer.Option(metavar="min|max", help="Which way is better.")] = None,
    results: Annotated[Path | None, typer.Option(metavar="FILE", help="The table, if it lies elsewhere.")] = None,
    root: Annotated[str | None, typer.Option(metavar="COMMIT", help="Where the run began.")] = None,
    noise: Annotated[float | None, typer.Option(metavar="SD", min=0, help="The sd of a trial, if it is known.")] = None,
    as_json: Json = False,
) -> None:
    """Open somebody else's run as a workspace. A repository with results.tsv, git history, or a table."""
    from dataclasses import asdict

    from .storage.importer import Wishes, import_run

    if direction not in (None, "min", "max"):
        raise WrongUse(f"--direction {direction!r} is not known; allowed: min, max")
    wishes = Wishes(metric=metric, direction=direction, results=results, root=root, noise=noise)  # type: ignore[arg-type]
    findings = import_run(source, folder, wishes, version=__version__, now=round(time.time(), 3))
    if as_json:
        _print_json(asdict(findings))
        return
    for words, lines in (
        ("read", findings.read),
        ("guessed", findings.guessed),
        ("left out", findings.left_out),
        ("DISAGREE", findings.disagree),
    ):
        for line in lines[:_LINES]:
            typer.echo(f"{words:<9} {line}")
        if len(lines) > _LINES:
            typer.echo(f"{words:<9} and {len(lines) - _LINES} more of this kind (--json lists all)")
    where = shlex.quote(str(folder))
    typer.echo(f"{folder} is ready; every score in it is self-reported. Look: ratchetree serve {where}")
    status(folder)


@app.command()
def export(
    folder: Dir = HERE,
    form: Annotated[str, typer.Option("--format", help=" | ".join(FORMATS))] = "tsv",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there, not to the screen.")] = None,
) -> None:
    """The campaign for other tools. results.tsv as the field knows it, the whole tree as JSON, or a graph."""
    from .search.analysis import export_rows, graphml
    from .view.shapes import tree_json

    if form not in FORMATS:
        raise WrongUse(f"--format {form!r} is not known; allowed: {', '.join(FORMATS)}")
    tree, chronicle = _chronicle(folder)
    if form == "tsv":
        text = "".join("\t".join(row) + "\n" for row in export_rows(tree))
    elif form == "json":
        text = json.dumps(tree_json(tree, chronicle.account), indent=1, ensure_ascii=False) + "\n"
    else:
        text = graphml(tree)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


# -- an agent outside as the researcher -------------------------------------------------------------------------------

app.command()(outside.ask)
app.command()(outside.submit)
app.command()(outside.mcp)


# -- comparing --------------------------------------------------------------------------------------------------------


@app.command()
def compare(
    policies: Annotated[str, typer.Option(metavar="A,B,...", help="Names with commas between, or all.")],
    landscape: Annotated[str, typer.Option(metavar="L,...", help="Landscapes, or all (the six fitted ones).")] = "all",
    evaluations: Annotated[str, typer.Option(metavar="N,...", help="Budgets in trials.")] = "200",
    seeds: Annotated[int, typer.Option(metavar="N", help="Paired campaigns per landscape.")] = 50,
    first_seed: Annotated[int, typer.Option(metavar="N", help="Seeds below 10000 were used for tuning.")] = 10_000,
    in_flight: Annotated[int, typer.Option(metavar="W", help="Trials at once.")] = 1,
    ratchet: Annotated[str, typer.Option(metavar="PRESET", help="Rule of main, as in ratchetree.toml.")] = "default",
    screen: Annotated[bool, typer.Option("--screen", help="End early what is far worse than its parent.")] = False,
    jobs: Annotated[int | None, typer.Option(metavar="N", help="Processes; default: all cores.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write table, pictures and page there.")] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="CAMPAIGN", help="No landscape: choose among this campaign's children.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option(metavar="WORKSPACE", help="No landscape: campaigns of N experiments in clones of it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare policies on ground with a known answer. Which is better, and is the difference resolved?"""
    from . import comparing

    design = comparing.make_design(
        policies,
        landscape,
        evaluations,
        seeds,
        first_seed=first_seed,
        in_flight=in_flight,
        ratchet=ratchet,
        screened=screen,
    )
    if jobs is not None and jobs < 1:
        raise WrongUse(f"--jobs {jobs}: must be at least 1")
    if screen and (replay is not None or real is not None):
        raise WrongUse("--screen is a model of trials on landscapes; leave it out with --replay and --real")
    if replay is not None:
        comparing.replay(design, _events(replay), as_json=as_json)
        return
    if real is not None:
        from dataclasses import replace

        design = replace(design, landscapes=(comparing.REAL,))
        comparing.compare_real(design, _workspace(real), out=out, as_json=as_json)
        return
    comparing.compare(design, out=out, as_json=as_json, workers=jobs or comparing.all_cores())


# -- checking and mending ---------------------------------------------------------------------------------------------


@app.command()
def verify(
    folder: Dir = HERE,
    as_json: Json = False,
    fix: Annotated[bool, typer.Option("--fix", help="Put back refs that git has lost.")] = False,
) -> None:
    """Check that journal and git tell the same story. Exit code 1 if not."""
    from .search.events import Written
    from .search.tree import replay
    from .storage.verify import mend
    from .storage.verify import verify as compare
    from .storage.workspace import Workspace

    workspace = Workspace(folder)
    events = workspace.read_events()
    tree, repository = replay(events), workspace.repository()
    digests = {event.experiment: event.digest for event in events if isinstance(event, Written)}
    problems = compare(tree, digests, repository)
    if fix and problems:
        with workspace.lock():
            for ref in mend(problems, repository):
                typer.echo(f"put back {ref}", err=as_json)
        problems = compare(tree, digests, repository)
    if as_json:
        _print_json({"problems": [problem.message for problem in problems]})
    elif problems:
        for problem in problems:
            typer.echo(problem.message + ("" if fix or not problem.ref else " (verify --fix puts it back)"))
    else:
        moves = max(0, len(tree.advances) - 1)
        typer.echo(f"journal and git tell the same story: {len(tree)} nodes, {moves} moves of main")
    if problems:
        raise typer.Exit(1)


@app.command()
def rebuild(folder: Dir = HERE) -> None:
    """Make the journal anew from git alone. The old one, if there is one, is kept beside it."""
    from .storage.journal import SqliteJournal
    from .storage.rebuild import events_from_git
    from .storage.workspace import Workspace

    workspace = Workspace(folder)
    repository = workspace.repository()
    with workspace.lock():
        events = events_from_git(repository)
        kept = SqliteJournal.replace(workspace.journal_path, events)
    beside = f"; the old one is kept as {kept.name}" if kept else ""
    typer.echo(f"the journal has {len(events)} events again{beside}")


@app.command()
def doctor(folder: Dir = HERE, as_json: Json = False) -> None:
    """What this machine offers; every line was really tried. Exit code 1 if something needed is missing."""
    from dataclasses import asdict

    checks = []
    for check in _examine(folder.resolve()):
        checks.append(check)
        if not as_json:
            sign = "ok" if check.works else ("MISSING" if check.needed else "-")
            typer.echo(f"{check.name:<10} {sign:<8} {check.says}")
    if as_json:
        _print_json({"checks": [asdict(check) for check in checks]})
    if any(check.needed and not check.works for check in checks):
        raise typer.Exit(1)


def _examine(folder: Path) -> Iterator[Check]:
    from .storage.repository import check_git
    from .trainer.doctor import Check, examine

    try:
        yield Check(name="git", works=True, says=check_git())
    except WrongUse as error:
        yield Check(name="git", works=False, says=str(error))
    yield from examine(folder)


# -- what the commands share ------------------------------------------------------------------------------------------


def _chronicle(folder: Path) -> tuple[Tree, Chronicle]:
    from .storage.workspace import Workspace
    from .view.chronicle import Chronicle

    return Chronicle.read(Workspace(folder).read_events())


def _tree(folder: Path) -> Tree:
    return _chronicle(folder)[0]


def _workspace(folder: Path) -> Path:
    from .storage.workspace import Workspace

    workspace = Workspace(folder)
    workspace.repository().check_ready()
    return workspace.folder


def _events(folder: Path) -> list[Event]:
    from .storage.workspace import Workspace

    return Workspace(folder).read_events()


def _node(tree: Tree, number: int) -> Node:
    if number not in tree:
        raise WrongUse(f"there is no experiment {number:04d}; there are 0000 to {tree.next_id - 1:04d}")
    return tree.node(number)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def main() -> None:
    """Entry point: every expected error is one line on standard error and an exit code."""
    usage_error: Any = typer.BadParameter.__base__  # typer brings its own click and exports no more of it
    code: int | None = 1
    gc.set_threshold(50_000, 20, 20)  # most of what a command makes are imports: they are no garbage
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except usage_error as error:
        message, given = " ".join(error.format_message().split()), shlex.join(sys.argv[1:])
        _say(f"{message}; given: {given}; see --help")
        code = 2
    except RatchetreeError as error:
        _say(str(error))
        code = error.exit_code
    except BrokenPipeError:  # `ratchetree tree | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (OSError, sqlite3.OperationalError) as error:  # a full disk, a read-only folder
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        why = error.strerror if isinstance(error, OSError) else error
        _say(f"{why}{where}; nothing is lost: mend it and run again")
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
    gc.freeze()  # nor is what is left now worth a last look: the system takes all of it
    sys.exit(code)


def _say(line: str) -> None:
    typer.echo(f"ratchetree: {line}", err=True)
