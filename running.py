"""Puts a campaign together from its settings, and drives it until it ends. Part of the command line: with `cli.py`,
the one place that names concrete parts and reads the environment."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .search.errors import RatchetreeError, WrongUse

if TYPE_CHECKING:
    from rich.console import Console

    from .agents.backends import Agents
    from .agents.command import Run
    from .agents.walls import Confinement, Place
    from .search.campaign import Campaign
    from .search.ports import Trainer
    from .search.settings import Settings
    from .storage.journal import SqliteJournal
    from .storage.repository import GitRepository
    from .storage.workspace import Workspace
    from .view.live import LiveScreen
    from .view.plain_screen import PlainScreen
    from .view.sinks import Sink

    Screen = LiveScreen | PlainScreen


def run_campaign(
    workspace: Workspace,
    repository: GitRepository,
    settings: Settings,
    *,
    seed: int | None,
    crashed: bool,
    console: Console,
) -> None:
    """Start or resume the workspace's campaign and stay with it. seed: of a new one, None = 1; crashed: whether the
    last run ended without a stop."""
    from .storage.journal import SqliteJournal
    from .view.live import open_screen
    from .view.sinks import open_sink

    workspace.check_journal(repository)
    journal = SqliteJournal.create(workspace.journal_path)
    _check_seed(journal, seed)
    limits = settings.limits
    screen = open_screen(
        console,
        limit=limits.experiments,
        slots=settings.trainer.slots,
        clock=time.time,
        ends=time.time() + limits.hours * 3600 if limits.hours is not None else None,
    )
    sinks: list[Sink] = []
    try:
        for name in settings.view.sinks:
            sinks.append(open_sink(name, campaign=workspace.folder.name, folder=workspace.state, say=screen.note))
        agents = _agents(workspace, repository, settings, screen)
        first = 1 if seed is None else seed
        campaign = compose(workspace, repository, settings, journal, screen, agents, seed=first, sinks=sinks)
        with screen:
            if crashed:
                screen.note("the last run ended without a stop; going on where it was")
            asyncio.run(_drive(campaign, screen, agents))
    finally:
        journal.close()
        for sink in sinks:
            sink.close()


def compose(
    workspace: Workspace,
    repository: GitRepository,
    settings: Settings,
    journal: SqliteJournal,
    screen: Screen,
    agents: Agents,
    *,
    seed: int,
    sinks: Sequence[Sink] = (),
) -> Campaign:
    """A campaign of the real parts that the settings name."""
    # LangGraph reads these when it is imported: strict checkpoints, and no word to any tracing service.
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
    os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
    from .search.campaign import Campaign
    from .search.experiment import Parts
    from .search.policies import make_policy
    from .trainer.confine import hide_memory

    hide_memory()  # keys live in this process, and model-written code beside it
    parts = Parts(
        journal=journal,
        repository=repository,
        planner=agents.planner,
        coder=agents.coder,
        trainer=_trainer(workspace, repository, settings, screen),
        clock=time.time,
        observers=(screen, *sinks),
        inbox=workspace.inbox,
    )
    return Campaign(
        parts=parts,
        policy=agents.order(make_policy(settings.search.policy, settings.search.parameters(settings.search.policy))),
        settings=settings,
        seed=seed,
        version=__version__,
        checkpoints=workspace.checkpoints_path,
    )


def _agents(workspace: Workspace, repository: GitRepository, settings: Settings, screen: Screen) -> Agents:
    from .agents.backends import Surroundings, make_agents
    from .agents.command import Ground, remove
    from .agents.outside_writes import Guarded
    from .storage.journal import SqliteJournal
    from .storage.patches import merge_text
    from .trainer.confine import landlock_version

    def carried(path: str) -> str | None:
        with suppress(WrongUse):
            return repository.text(repository.main(), path)
        return None

    trees = workspace.state / "agents"
    remove(trees)  # what a killed campaign left
    surroundings = Surroundings(
        environment=os.environ,
        merge=merge_text,
        read_journal=lambda path: [event for _, event in SqliteJournal.read(Path(path)).events()],
        ground=Ground(
            run=runner(workspace),
            export=repository.export,
            folder=trees,
            guarded=Guarded(folder=workspace.folder, refs=repository.refs, carried=carried),
            bwrap=shutil.which("bwrap"),
            landlock=landlock_version(),
        ),
        tell=screen.note,
    )
    return make_agents(settings, surroundings)


async def _drive(campaign: Campaign, screen: Screen, agents: Agents) -> None:
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
        await agents.check()
        await campaign.run()
    except asyncio.CancelledError:
        message = "stopped at once; what was in flight is tried again by: ratchetree run"
        raise RatchetreeError(message) from None
    finally:
        await agents.close()


def runner(workspace: Workspace) -> Run:
    """Runs a command-line agent as trials are run: supervised, with a deadline, without survivors."""
    from .agents.command import Ended
    from .trainer.processes import allowed_environment, supervise, timed

    async def run(
        command: tuple[str, ...], place: Place, environment: Mapping[str, str], seconds: float, confinement: Confinement
    ) -> Ended:
        folder = place.tree.parent
        own = allowed_environment(workspace=workspace.folder, scratch=str(place.home), run=folder.name)
        spec = replace(
            timed(command, folder, env=own | dict(environment), seconds=seconds),
            cwd=str(place.tree),
            confinement=confinement,
            folders=(str(place.tree), str(place.home)),
        )
        ended = await supervise(spec)
        log = folder / "log.txt"
        output = log.read_text(errors="replace") if log.exists() else ""
        in_time = ended is not None and ended.reason == "exit"
        return Ended(in_time=in_time, exit_code=ended.exit_code if ended else None, output=output)

    return run


def _trainer(workspace: Workspace, repository: GitRepository, settings: Settings, screen: Screen) -> Trainer:
    if settings.trainer.executor == "synthetic":
        from .trainer.synthetic import SyntheticTrainer

        screen.note("the trainer is synthetic: scores are made up, nothing is trained")
        seconds = settings.budget.seconds
        return SyntheticTrainer(repository.sources, slots=settings.trainer.slots, seconds=seconds)
    if settings.trainer.executor == "ray":
        from .trainer.hosts.by_ray import connect, disconnect
        from .trainer.hosts.trainer import HostsTrainer

        return HostsTrainer(
            settings,
            connect(settings, workspace.folder),
            workspace=workspace.folder,
            trees=repository,
            listen=screen.progress,
            say=screen.note,
            after=disconnect,
        )
    from .trainer.cards import Keeper, nvidia
    from .trainer.local import LocalTrainer

    return LocalTrainer(
        settings,
        workspace=workspace.folder,
        trees=repository,
        listen=screen.progress,
        say=screen.note,
        cards=Keeper(nvidia.find(), workspace=workspace.folder, say=screen.note),
    )


def _check_seed(journal: SqliteJournal, seed: int | None) -> None:
    first = next((event for _, event in journal.events()), None)
    began_with = getattr(first, "seed", None)
    if seed is not None and began_with is not None and seed != began_with:
        raise WrongUse(f"--seed {seed}: this campaign began with seed {began_with} and keeps it; leave --seed away")
