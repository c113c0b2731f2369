"""A campaign: many experiments in the air over one tree, with no barrier between them, until a limit or the user ends
it.

Everything that must survive is in the journal before it is believed; LangGraph's checkpoints only say which step comes
next. The campaign never stops to ask.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .confirmation import Confirmation
from .errors import MainMoved, RatchetreeError, WrongUse
from .events import (
    CampaignResumed,
    CampaignStarted,
    CampaignStopped,
    Claimed,
    Event,
    Judged,
    Planned,
    Requested,
    Scored,
    Selected,
    Trained,
)
from .experiment import Experiments, Parts
from .ledger import Ledger
from .life import is_void
from .model import (
    Ask,
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Machine,
    ModelCall,
    NodeId,
    Request,
    Verdict,
    digest,
)
from .ports import Policy
from .settings import Settings, settings_from
from .state import State
from .tree import KEPT, ROOT, Tree

LISTEN_SECONDS = 0.5
"""How long a request from outside may lie before it is heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a campaign ended."""

    reason: str
    by_user: bool = False


class Campaign:
    """One search over one workspace. Build it, and `await run()` it once."""

    def __init__(
        self, *, parts: Parts, policy: Policy, settings: Settings, seed: int, version: str, checkpoints: Path
    ) -> None:
        self.parts = parts
        self.settings = settings
        self.state = State(policy=policy)
        self.ledger = Ledger(
            state=self.state,
            journal=parts.journal,
            repository=parts.repository,
            clock=parts.clock,
            observers=parts.observers,
        )
        self.steps = Experiments(parts, self.ledger, settings)
        self._seed = seed  # of a new campaign; a resumed one keeps its own
        self._version = version
        self._checkpoints = checkpoints
        self._running: dict[NodeId, asyncio.Task[None]] = {}
        self._repeating: dict[NodeId, asyncio.Task[None]] = {}
        self._wish: str | None = None  # why the user wants to stop
        self._paused = False
        self._wake = asyncio.Event()
        self._deadline: float | None = None

    @property
    def tree(self) -> Tree:
        """The tree as it is now."""
        return self.state.tree

    def stop(self, reason: str) -> None:
        """Trials that run are finished and judged; nothing new begins."""
        self._wish = self._wish or reason
        self._begin_nothing()
        self._wake.set()

    def _begin_nothing(self) -> None:
        self.steps.stopping = True
        self.parts.trainer.hurry()

    async def run(self) -> Outcome:
        """Run until a limit, the user's wish, or an error of the harness (raised after everything was ended)."""
        if self.settings.limits.hours is not None:
            self._deadline = self.parts.clock() + self.settings.limits.hours * 3600
        try:
            self._replay()
            await self._begin()
            scored = await self._score_root()
            if scored:
                with self._graph() as (graph, saver):
                    reason = await self._search(graph, saver)
            else:
                reason = self._limit() or "the root was not scored"
            self.ledger.record(CampaignStopped(time=self.ledger.now(), reason=reason))
            if scored:
                self.ledger.note_root()
            return Outcome(reason=reason, by_user=self._wish is not None)
        finally:
            await self._end_all()
            await self.parts.trainer.close()

    async def confirm(self, node: NodeId | None, trials: int) -> Claimed:
        """Not a search: the final claim about a node (None: main's) against the root, over `trials` new seeds each.

        Raises WrongUse and RatchetreeError; what was trained by then is kept.
        """
        try:
            self._replay()
            if self.tree.root_commit is None or self.tree.state[ROOT] != KEPT:
                raise WrongUse("there is no scored root yet: ratchetree run comes first")
            self._check_continues(self.parts.repository.main())
            await self._open(self.tree.root_commit)
            events = [event for _, event in self.parts.journal.events(ROOT)]
            sealed = self.settings.task.scorer != "printed" and self.settings.trainer.executor != "synthetic"
            confirmation = Confirmation(ledger=self.ledger, trainer=self.parts.trainer, events=events, sealed=sealed)
            return await confirmation.run(node, trials)
        finally:
            await self.parts.trainer.close()

    # -- beginning ----------------------------------------------------------------------------------------------

    def _replay(self) -> None:
        numbered = self.parts.journal.events()
        beginning: list[tuple[int, Event]] = []
        for entry in numbered:
            beginning.append(entry)
            if isinstance(entry[1], Judged):
                break
        else:
            if self._stillborn([event for _, event in beginning]):
                self.parts.journal.restart()
                return
        for number, event in itertools.chain(beginning, numbered):
            self.state.apply(number, event)

    def _stillborn(self, events: list[Event]) -> bool:
        """Whether a campaign without any verdict has a root that failed, or one that is not main any more. It begins
        anew."""
        if not events:
            return False
        outcomes = [e.outcome for e in events if isinstance(e, Scored) or (isinstance(e, Trained) and not is_void(e))]
        failed = any(isinstance(outcome, Failure) for outcome in outcomes)
        started = next(event for event in events if isinstance(event, CampaignStarted))
        return failed or started.root_commit != self.parts.repository.main()

    async def _begin(self) -> None:
        repository, settings = self.parts.repository, self.settings
        main = repository.main()
        if self.tree.root_commit is not None:
            self._check_continues(main)
        root = self.tree.root_commit or main
        self.steps.brief = repository.text(root, "program.md")
        sources = repository.sources(root)
        machine = await self._open(root)
        effective = settings.model_dump_json(exclude_defaults=True)
        policy, preset, now = settings.search.policy, settings.ratchet.preset, self.ledger.now()
        if self.tree.root_commit is None:
            self.ledger.record(
                CampaignStarted(
                    time=now,
                    version=self._version,
                    seed=self._seed,
                    metric=settings.metric,
                    root_commit=main,
                    root_digest=digest(sources),
                    policy=policy,
                    preset=preset,
                    settings=effective,
                    machine=machine,
                )
            )
        else:
            self.ledger.record(
                CampaignResumed(
                    time=now,
                    version=self._version,
                    policy=policy,
                    preset=preset,
                    settings=effective,
                    machine=machine,
                )
            )

    async def _open(self, root: str) -> Machine:
        """The trainer is ready, with the data that the campaign began with."""
        machine = await self.parts.trainer.open(root)
        if self.state.started is not None and self.state.started.machine.data != machine.data:
            raise WrongUse(
                "the data is not what it was when this campaign started (another corpus or another Python), so scores "
                "could not be compared: bring it back, or begin another campaign in a workspace of its own"
            )
        return machine

    def _check_continues(self, main: str) -> None:
        """Settings, git and journal must still speak of the same campaign."""
        assert self.state.started is not None
        before = settings_from(json.loads(self.state.started.settings), source="the journal")
        for name, was, is_now in comparable(before, self.settings):
            if was != is_now:
                raise WrongUse(
                    f"{name} was {was} when this campaign started and is {is_now} now, so scores could not be "
                    "compared: set it back, or begin another campaign in a workspace of its own"
                )
        tips = [self.tree.node(node).main for node in self.tree.advances]
        expected = next((tip for tip in reversed(tips) if tip), self.tree.root_commit)
        unsettled = any(node in self.state.lives for node in self.tree.advances)
        if main != expected and not unsettled:
            raise MainMoved(
                f"main is at {main[:10]}, but the ratchet left it at {str(expected)[:10]}; nothing was changed. "
                f"To go on from where the ratchet was: git update-ref refs/heads/main {expected}"
            )

    async def _score_root(self) -> bool:
        """Measure the root where that is still to be done; False if the user stopped it. Raises RatchetreeError."""
        life = self.state.lives.get(ROOT)
        if life is None:
            return True
        if life.judged is None:
            wanted = self.steps.preset.root_trials
            await asyncio.gather(*(self.steps.trials.root(trial) for trial in range(wanted)))
            if len(life.values) < wanted:
                if not life.failures:
                    return False
                failure = life.failures[-1]
                if failure.kind is FailureKind.STARVED:
                    raise RatchetreeError(
                        f"the machine is too busy to measure the baseline ({failure.message}): free it and run again, "
                        "or accept scores that depend on the neighbours with trainer.starvation = false"
                    )
                printed = f"\n{failure.detail}" if failure.detail else ""
                raise RatchetreeError(
                    f"the baseline failed ({failure.kind}: {failure.message}), so the campaign does not start; "
                    f"mend it on main, commit, and run again{printed}"
                )
            reason = f"the root, over {wanted} trial{'s' if wanted > 1 else ''}"
            now = self.ledger.now()
            self.ledger.record(Judged(time=now, experiment=ROOT, verdict=Verdict.KEPT, reason=reason, against=ROOT))
        self.ledger.settle_upto(ROOT)
        return True

    # -- searching ----------------------------------------------------------------------------------------------

    @contextmanager
    def _graph(self) -> Iterator[tuple[Any, Any]]:
        """The compiled graph and its checkpointer, in a file of their own."""
        if not self.state.lives:
            self._forget_checkpoints()
        with closing(sqlite3.connect(self._checkpoints, isolation_level=None)) as connection:
            # A checkpoint that is lost costs nothing: every step asks the journal first.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            saver = _checkpointer(connection)
            yield self.steps.graph(saver), saver

    def _forget_checkpoints(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._checkpoints.with_name(self._checkpoints.name + suffix).unlink(missing_ok=True)

    async def _search(self, graph: Any, saver: Any) -> str:
        for experiment in sorted(self.state.lives):
            self._launch(graph, saver, experiment)
        while True:
            self._hear()
            if not self._paused and not self.steps.stopping:
                self._repeat()
                for experiment in sorted(self.state.lives.keys() - self._running.keys()):  # somebody submitted them
                    self._launch(graph, saver, experiment)
            limit = self._limit()
            while limit is None and not self._paused and len(self._running) < self.settings.in_flight:
                if not await self._begin_experiment(graph, saver):
                    break
                limit = self._limit()
            if not self._running and not self._repeating and (limit or not self._paused):
                return limit or "nothing is left to expand"
            await self._wait()

    def _hear(self) -> None:
        """Take in what was asked from outside: journalled first, then done."""
        for request in self.parts.inbox.waiting():
            if request.id not in self.state.requests:
                refused = self._obey(request)
                self.ledger.record(Requested(time=self.ledger.now(), request=request, refused=refused))
                self.ledger.note_root()
            self.parts.inbox.remove(request.id)

    def _obey(self, request: Request) -> str | None:
        """Do what was asked; why not, if it cannot be done."""
        match request.ask:
            case Ask.PAUSE:
                self._paused = True
            case Ask.RESUME:
                self._paused = False
            case Ask.STOP:
                self.stop(request.note or "you asked it to")
            case Ask.CLOSE | Ask.REOPEN | Ask.REPEAT | Ask.PROMOTE:
                return self._refuse(request)  # what follows, follows from the journal
            case Ask.SUBMIT:
                return self._submit(request)
            case _:
                return f"{request.ask} is not known here"
        return None

    def _refuse(self, request: Request) -> str | None:
        """Why a wish about a node cannot be granted."""
        node, tree = request.node, self.tree
        if node is None or node not in tree:
            return "there is no such experiment"
        if request.ask in (Ask.CLOSE, Ask.REOPEN):
            return None
        if node not in self.state.tried or not tree.trials[node] or tree.node(node).commit is None:
            return f"{node:04d} has no score yet"
        if request.ask is Ask.PROMOTE and node in tree.closed:
            return f"{node:04d} is closed: reopen it first"
        return None

    def _repeat(self) -> None:
        """Run the further trials that were asked for, beside everything else."""
        for node in [node for node, trials in self.state.owed.items() if trials and node not in self._repeating]:
            self._repeating[node] = asyncio.create_task(self.steps.trials.owed(node), name=f"more trials of {node:04d}")

    def _submit(self, request: Request) -> str | None:
        """Begin an experiment with somebody else's idea and patch: planned and written already."""
        parent, idea, patch = request.node, request.idea, request.patch
        if parent is None or parent not in self.tree or not self.tree.is_expandable(parent):
            return f"{parent} is no node with a score: see ratchetree tree"
        if idea is None or patch is None:
            return "a submission needs an idea and a patch"
        commit = self.tree.node(parent).commit
        assert commit is not None
        before = self.parts.repository.sources(commit)
        written = self.steps.written(
            self.tree.next_id, attempt=0, before=before, outcome=patch, call=ModelCall(backend="outside")
        )
        if written.failure is not None:
            return f"{written.failure.kind}: {written.failure.message}"
        if (known := self.tree.digests.get(written.digest)) is not None:
            return f"duplicate: the same files as {known:04d}"
        call = ModelCall(backend="outside", request_id=request.id)
        now, number, asked = self.ledger.now(), self.tree.next_id, ExpansionKind.IMPROVE
        self.ledger.record(Selected(time=now, experiment=number, options=(Expansion(node=parent),)))
        self.ledger.record(Planned(time=now, experiment=number, parent=parent, asked=asked, outcome=idea, call=call))
        self.ledger.record(written)
        return None

    def _limit(self) -> str | None:
        """Why nothing new may begin; None if it may."""
        limits = self.settings.limits
        if self._wish is not None:
            return self._wish
        if limits.experiments is not None and self.tree.experiments >= limits.experiments:
            return f"the limit of {limits.experiments} experiments"
        if limits.gpu_hours is not None and self.tree.train_seconds >= limits.gpu_hours * 3600:
            return f"the limit of {limits.gpu_hours:g} hours of training"
        spent = self.state.spending.room(tokens=limits.tokens, dollars=limits.dollars)
        if spent is not None:
            return spent
        if self._deadline is not None and self.parts.clock() >= self._deadline:
            self._begin_nothing()
            return f"the limit of {limits.hours:g} hours"
        return None

    async def _begin_experiment(self, graph: Any, saver: Any) -> bool:
        """Start the next experiment; False if the policy has nothing to expand now."""
        number = self.tree.next_id
        task = self._launch(graph, saver, number)
        while number not in self.tree and not task.done():  # others' ends and resumed selections wake us too
            self.steps.selected.clear()
            await self.steps.selected.wait()
        if number in self.tree:
            return True
        await self._running.pop(number)
        return False

    def _launch(self, graph: Any, saver: Any, experiment: NodeId) -> asyncio.Task[None]:
        task = asyncio.create_task(self._live(graph, saver, experiment), name=f"experiment {experiment:04d}")
        task.add_done_callback(lambda _: self.steps.selected.set())
        self._running[experiment] = task
        return task

    async def _live(self, graph: Any, saver: Any, experiment: NodeId) -> None:
        thread = {"configurable": {"thread_id": str(experiment)}, "recursion_limit": 1000}
        begin: dict[str, int] | None = {"experiment": experiment}
        if experiment in self.state.lives:
            with suppress(sqlite3.DatabaseError):  # damaged checkpoints: begin with the first step again
                before = await graph.aget_state(thread)
                begin = None if before.next or before.tasks else begin
        await graph.ainvoke(begin, thread, durability="sync")
        await saver.adelete_thread(str(experiment))

    async def _wait(self) -> None:
        """Until an experiment ends, the user wishes to stop, the time is up, or somebody may have asked something."""
        timeout = LISTEN_SECONDS
        if self._deadline is not None and not self.steps.stopping:
            timeout = min(timeout, max(0.0, self._deadline - self.parts.clock()))
        wish = asyncio.ensure_future(self._wake.wait())
        await asyncio.wait(
            {*self._running.values(), *self._repeating.values(), wish},
            timeout=timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
        wish.cancel()
        self._wake.clear()
        for tasks in (self._running, self._repeating):
            for experiment, task in list(tasks.items()):
                if task.done():
                    del tasks[experiment]
                    task.result()  # an exception in a step is an error of the harness

    async def _end_all(self) -> None:
        tasks = [*self._running.values(), *self._repeating.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _checkpointer(connection: sqlite3.Connection) -> Any:
    from langgraph.checkpoint.sqlite import SqliteSaver

    class InThisThread(SqliteSaver):
        """langgraph's saver without a thread of its own: a write takes 0.1 ms, handing it over takes longer (measured:
        5.9 CPU-ms an experiment for the whole graph, 12.5 with AsyncSqliteSaver)."""

        async def aget_tuple(self, *arguments: Any) -> Any:
            return self.get_tuple(*arguments)

        async def aput(self, *arguments: Any) -> Any:
            return self.put(*arguments)

        async def aput_writes(self, *arguments: Any) -> None:
            self.put_writes(*arguments)

        async def adelete_thread(self, *arguments: Any) -> None:
            self.delete_thread(*arguments)

    return InThisThread(connection)


def comparable(before: Settings, now: Settings) -> Iterator[tuple[str, str, str]]:
    """(name, before, now) of everything that must not change while scores are compared."""

    def facts(settings: Settings) -> dict[str, str]:
        task, budget, metric = settings.task, settings.budget, settings.task.metric
        return {
            "task.metric": f"{metric.name} ({metric.direction})",
            "task.scorer": task.scorer,
            "task.corpus": task.corpus or "the default",
            "budget": f"{budget.amount:g} {budget.kind}",
            "trainer.executor": settings.trainer.executor,
        }

    is_now = facts(now)
    return ((name, was, is_now[name]) for name, was in facts(before).items())
