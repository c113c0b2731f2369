"""One experiment's whole life, top to bottom: select, plan, write, check, commit, train, score, judge, settle.

Each step is one node of a LangGraph graph; the thread is the experiment. A step first asks the journal whether it was
done already, so that a killed experiment goes on where it stopped and nothing is paid for twice. A step that fails
returns the failure as data; an exception means that the harness itself is broken and stops the campaign.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal, TypedDict

from .errors import Unavailable
from .events import (
    Called,
    Checked,
    Committed,
    Judged,
    Planned,
    Scored,
    Selected,
    Trained,
    Written,
)
from .ledger import Ledger
from .life import Life, is_void, note_text
from .model import (
    Expansion,
    Failure,
    FailureKind,
    Idea,
    ModelCall,
    NodeId,
    Patch,
    ScoreReport,
    Sources,
    Verdict,
    digest,
)
from .patch import apply_patch, check_syntax, count_lines
from .ports import (
    CallLog,
    Clock,
    Coder,
    Inbox,
    Job,
    Journal,
    NoInbox,
    Observer,
    Option,
    Plan,
    Planner,
    PlanRequest,
    Repository,
    Trainer,
    WriteRequest,
)
from .ratchet import PRESETS, Confirm, decide
from .scrutiny import cuts, tolerance
from .settings import Settings
from .tree import ROOT, Tree

LARGEST_SCORE = 1e12
"""Larger values (and NaN) are refused before they are journalled: their squares would outgrow a float."""

Step = Literal["plan", "write", "check", "commit", "train", "score", "judge", "settle", "end"]


class Where(TypedDict, total=False):
    """What the graph's checkpoint holds: ids and small values only; everything else is in the journal."""

    experiment: int
    attempt: int  # of the coder
    trial: int
    next: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything a campaign acts through."""

    journal: Journal
    repository: Repository
    planner: Planner
    coder: Coder
    trainer: Trainer
    clock: Clock
    observers: Sequence[Observer] = ()
    inbox: Inbox = field(default_factory=NoInbox)


class Experiments:
    """The steps, bound to one campaign's ledger. `graph()` puts them in order."""

    def __init__(self, parts: Parts, ledger: Ledger, settings: Settings) -> None:
        self.parts = parts
        self.ledger = ledger
        self.state = ledger.state
        self.settings = settings
        self.preset = PRESETS[settings.ratchet.preset]
        self.brief = ""  # program.md, once it was read
        self.stopping = False  # whether experiments end before their next step that costs anything
        self.selected = asyncio.Event()  # set after each `select`

    # -- the order of the steps ---------------------------------------------------------------------------------

    def graph(self, checkpointer: Any) -> Any:
        """The compiled LangGraph graph; its input is {"experiment": id}."""
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(Where)
        follow: dict[str, tuple[Step, ...]] = {
            "select": ("plan", "end"),
            "plan": ("write", "commit", "end"),
            "write": ("check", "write", "commit", "end"),
            "check": ("commit", "write", "end"),
            "commit": ("train", "judge"),
            "train": ("score", "write", "judge", "end"),
            "score": ("judge",),
            "judge": ("train", "settle"),
            "settle": ("end",),
        }
        for name, successors in follow.items():
            graph.add_node(name, getattr(self, name))
            graph.add_conditional_edges(name, _next, {s: END if s == "end" else s for s in successors})
        graph.add_edge(START, "select")
        return graph.compile(checkpointer=checkpointer)

    # -- the steps ----------------------------------------------------------------------------------------------

    async def select(self, where: Where) -> Where:
        """The policy ranks expansions of the frontier; the best `choice` go to the planner."""
        number = where["experiment"]
        if number not in self.state.lives:
            options, note = self._options(number)
            if options:
                event = Selected(time=self.ledger.now(), experiment=number, options=tuple(options), note=note)
                self.ledger.record(event)
        self.selected.set()
        if number not in self.state.lives:
            return {"next": "end"}
        attempt = max(0, len(self._life(where).written) - 1)
        return {"attempt": attempt, "trial": 0, "next": "plan"}

    async def plan(self, where: Where) -> Where:
        """The planner picks the parent among them and says what to try."""
        life = self._life(where)
        if life.planned is None:
            if self.stopping:
                return {"next": "end"}
            assert life.selected is not None
            expansions = life.selected.options
            request = PlanRequest(
                experiment=life.id,
                brief=self.brief,
                options=tuple(Option(expansion=e, sources=self._sources_at(e.node)) for e in expansions),
                tree=self.tree,
                memory=self.state.memory,
                rng=self._rng(life.id, "plan"),
                note=life.selected.note,
                sources_at=self._sources_at,
                spending=self.state.spending,
                calls=self._calls(life, "plan", 0),
            )
            try:
                reply = await self.parts.planner.plan(request)
            except Unavailable:
                return {"next": "end"}
            outcome: Idea | Failure
            chosen = expansions[0]
            if isinstance(reply.outcome, Plan):
                chosen, outcome = expansions[reply.outcome.option], reply.outcome.idea
            else:
                outcome = reply.outcome
            self.ledger.record(
                Planned(
                    time=self.ledger.now(),
                    experiment=life.id,
                    parent=chosen.node,
                    asked=chosen.kind,
                    outcome=outcome,
                    call=reply.call,
                )
            )
        assert life.planned is not None
        return {"next": "commit" if isinstance(life.planned.outcome, Failure) else "write"}

    async def write(self, where: Where) -> Where:
        """The coder turns the idea and the parent's files into a patch, or repairs the patch that failed."""
        life, attempt = self._life(where), where["attempt"]
        if attempt >= len(life.written):
            if self.stopping:
                return {"next": "end"}
            assert life.planned is not None and isinstance(life.planned.outcome, Idea)
            before = self._sources_at(life.parent)
            request = WriteRequest(
                experiment=life.id,
                attempt=attempt,
                brief=self.brief,
                idea=life.planned.outcome,
                sources=before,
                patch=life.written[-1].patch if life.written else None,
                failure=life.failures[-1] if life.failures else None,
                rng=self._rng(life.id, f"write{attempt}"),
                parent=life.parent,
                tree=self.tree,
                sources_at=self._sources_at,
                calls=self._calls(life, "write", attempt),
            )
            try:
                reply = await self.parts.coder.write(request)
            except Unavailable:
                return {"next": "end"}
            self.ledger.record(
                self.written(life.id, attempt=attempt, before=before, outcome=reply.outcome, call=reply.call)
            )
        failure = life.written[attempt].failure
        if failure is None:
            return {"next": "check"}
        if failure.kind in (FailureKind.DUPLICATE, FailureKind.NO_IDEA):  # no other wording would help
            return {"next": "commit"}
        return self._repair_or("commit", life, attempt, allowed=1)

    async def check(self, where: Where) -> Where:
        """The patch is no duplicate of a tree already tried, and a seconds-long smoke run passes."""
        life, attempt = self._life(where), where["attempt"]
        if attempt not in life.checked:
            if self.stopping:
                return {"next": "end"}
            begun = perf_counter()
            failure = self._duplicate(life, attempt)
            if failure is None:
                parent = self.tree.node(life.parent).commit
                assert parent is not None
                job = self._job(life, trial=0, commit=parent, overlay=self._patched(life))
                failure = await self.parts.trainer.smoke(job)
            seconds = round(perf_counter() - begun, 3)
            self.ledger.record(
                Checked(time=self.ledger.now(), experiment=life.id, attempt=attempt, failure=failure, seconds=seconds)
            )
        failure = life.checked[attempt].failure
        if failure is None or failure.kind is FailureKind.DUPLICATE:
            return {"next": "commit"}
        return self._repair_or("commit", life, attempt, allowed=self.settings.agents.repairs)

    async def commit(self, where: Where) -> Where:
        """The tree is written to git, child of its parent's commit, and pinned by a ref before anything runs.

        Failures are committed too (what could not be applied as the parent's unchanged tree): every attempt is kept.
        """
        life, attempt = self._life(where), where["attempt"]
        if attempt not in life.committed:
            assert life.planned is not None
            parent = self.tree.node(life.parent).commit
            assert parent is not None
            commit = self.parts.repository.commit_node(
                node=life.id,
                attempt=attempt,
                parent=parent,
                sources=self._patched(life),
                message=self._message(life),
                time=life.written[-1].time if life.written else life.planned.time,
                note=note_text(life.events),
            )
            self.ledger.record(Committed(time=self.ledger.now(), experiment=life.id, attempt=attempt, commit=commit))
        return {"next": "train" if life.ready_to_train(attempt) else "judge"}

    async def train(self, where: Where) -> Where:
        """One trial in the sandbox, inside the budget; a crash gets a few further write turns with the traceback."""
        life, attempt, trial = self._life(where), where["attempt"], where["trial"]
        if attempt + 1 < len(life.written):  # a checkpoint older than the journal
            return {"attempt": attempt + 1, "next": "write"}
        if trial not in life.trained:
            if self.stopping:
                return {"next": "end"}
            job = self._job(life, trial=trial, commit=life.committed[attempt].commit)
            await self._train(job)
            if trial not in life.trained:  # starved, and the user wants to stop
                return {"next": "end"}
        outcome = life.trained[trial].outcome
        if not isinstance(outcome, Failure):
            return {"next": "score"}
        if trial > 0 or outcome.kind in (FailureKind.STARVED, FailureKind.HOPELESS):  # nothing there to mend
            return {"next": "judge"}
        return self._repair_or("judge", life, attempt, allowed=self.settings.agents.repairs)

    async def score(self, where: Where) -> Where:
        """A separate, trusted process scores what the trial saved."""
        life, trial = self._life(where), where["trial"]
        job = self._job(life, trial=trial, commit=life.committed[where["attempt"]].commit)
        if trial not in life.scored:
            await self._score(job)
        self.parts.trainer.discard(job)
        return {"next": "judge"}

    async def judge(self, where: Where) -> Where:
        """The ratchet's screen, the confirming trials it asks for, and the verdict, against main as it is now."""
        life = self._life(where)
        if life.judged is None:
            answer = self._verdict(life)
            if isinstance(answer, Confirm):
                return {"trial": where["trial"] + 1, "next": "train"}
            self.ledger.record(answer)
        return {"next": "settle"}

    async def settle(self, where: Where) -> Where:
        """main moves (compare-and-swap) or the branch is parked, and the note is written."""
        self.ledger.settle_upto(where["experiment"])
        return {"next": "end"}

    # -- what the steps share -----------------------------------------------------------------------------------

    @property
    def tree(self) -> Tree:
        """The tree as it is now."""
        return self.state.tree

    def written(
        self, experiment: NodeId, *, attempt: int, before: Sources, outcome: Patch | Failure, call: ModelCall
    ) -> Written:
        """What a coder's reply makes of the parent's files."""
        patch = None if isinstance(outcome, Failure) else outcome
        patched = (
            outcome
            if isinstance(outcome, Failure)
            else apply_patch(before, outcome, editable=self.settings.task.editable)
        )
        failure = patched if isinstance(patched, Failure) else check_syntax(patched)
        after = before if isinstance(patched, Failure) else patched
        added, removed = count_lines(before, after)
        return Written(
            time=self.ledger.now(),
            experiment=experiment,
            attempt=attempt,
            patch=patch,
            failure=failure,
            digest=digest(after),
            lines_added=added,
            lines_removed=removed,
            call=call,
        )

    async def measure(self, trial: int) -> None:
        """One trial of the root, trained and scored; what the journal has already is not done again."""
        life = self.state.lives[ROOT]
        assert self.tree.root_commit is not None
        job = self._job(life, trial=trial, commit=self.tree.root_commit)
        if trial not in life.trained:
            await self._train(job)
        if trial not in life.scored and not isinstance(life.trained[trial].outcome, Failure):
            await self._score(job)
        self.parts.trainer.discard(job)

    def _options(self, number: NodeId) -> tuple[list[Expansion], str]:
        """What somebody asked for, with the note to it; else the policy's best that nobody closed."""
        for request in self.state.promoted[:1]:
            assert request.node is not None
            return [Expansion(node=request.node)], request.note
        tree, choice = self.tree, self.settings.search.choice
        ranked = self.state.policy.rank(tree, choice + len(tree.closed), self._rng(number, "select"))
        options = [e for e in ranked if e.node not in tree.closed][:choice]
        if ranked and not options and tree.is_expandable(tree.incumbent):
            options = [Expansion(node=tree.incumbent)]  # all that the policy wants is closed: go on from main
        return options, ""

    async def repeat(self, node: NodeId) -> None:
        """The trials of a settled node that somebody asked for; failures are journalled like all others."""
        commit = self.tree.node(node).commit
        assert commit is not None
        while self.state.owed.get(node) and not self.stopping:
            job, run = self._job_of(node, trial=self.state.tried[node], commit=commit), 0
            while is_void(trained := await self._train_once(job, run)) and not self.stopping:
                run += 1
            if not isinstance(trained.outcome, Failure):
                await self._score(job)
            self.parts.trainer.discard(job)
            self.ledger.note_again(node)

    async def _train(self, job: Job) -> None:
        """One trial; a starved one is void and run again, a few times."""
        life = self.state.lives[job.experiment]
        while job.trial not in life.trained and not (self.stopping and life.void.get(job.trial) and life.id != ROOT):
            await self._train_once(job, life.void.get(job.trial, 0))

    async def _train_once(self, job: Job, run: int) -> Trained:
        begun = perf_counter()
        outcome = await self.parts.trainer.train(replace(job, run=run))
        event = Trained(
            time=self.ledger.now(),
            experiment=job.experiment,
            trial=job.trial,
            seed=job.seed,
            seconds=round(perf_counter() - begun, 3),
            outcome=outcome,
            run=run,
        )
        self.ledger.record(event)
        return event

    async def _score(self, job: Job) -> None:
        begun = perf_counter()
        outcome = await self.parts.trainer.score(job)
        if isinstance(outcome, ScoreReport) and not abs(outcome.value) <= LARGEST_SCORE:
            outcome = Failure(kind=FailureKind.SCORE, message=f"{outcome.value} is no sane {self.tree.metric.name}")
        seconds = round(perf_counter() - begun, 3)
        self.ledger.record(
            Scored(time=self.ledger.now(), experiment=job.experiment, trial=job.trial, seconds=seconds, outcome=outcome)
        )

    def _verdict(self, life: Life) -> Judged | Confirm:
        incumbent = self.tree.node(self.tree.incumbent)
        values, failure = life.values, None
        if not values:
            failure = life.failures[-1]
            verdict, reason = Verdict.FAILED, f"{failure.kind}: {failure.message}"
        elif max(life.trained) >= len(values):
            verdict, reason = Verdict.PARKED, f"a confirming trial failed ({life.failures[-1].kind})"
        elif incumbent.by == "trusted" and "printed" in life.measured_by:
            reason = "its score is what the script printed, and main's was measured: that moves nothing"
            verdict = Verdict.PARKED
        else:
            assert incumbent.score is not None
            answer = decide(
                self.preset,
                self.tree.metric,
                values=values,
                incumbent=incumbent.score,
                noise=self.tree.noise,
                lines=self._length(life.id) - self._length(incumbent.id),
                best=self.tree.metric.value(min(float(self.tree.loss[kept]) for kept in self.tree.advances)),
            )
            if isinstance(answer, Confirm):
                return answer
            verdict, reason = answer.verdict, answer.reason
        return Judged(
            time=self.ledger.now(),
            experiment=life.id,
            verdict=verdict,
            reason=reason,
            against=incumbent.id,
            failure=failure,
        )

    def _repair_or(self, otherwise: Step, life: Life, attempt: int, *, allowed: int) -> Where:
        if life.may_repair(attempt, allowed=allowed):
            return {"attempt": attempt + 1, "next": "write"}
        return {"next": otherwise}

    def _duplicate(self, life: Life, attempt: int) -> Failure | None:
        first = self.tree.digests.get(life.written[attempt].digest)
        if first is None or first == life.id:
            return None
        node = self.tree.node(first)
        became = node.verdict or "in flight"
        return Failure(
            kind=FailureKind.DUPLICATE, message=f"the same files as {first:04d} ({node.title}), which was {became}"
        )

    def _patched(self, life: Life) -> Sources:
        return life.patched(self._sources_at(life.parent), self.settings.task.editable)

    def _message(self, life: Life) -> str:
        node = self.tree.node(life.id)
        lines = [f"{life.id:04d} {node.title}"]
        if node.idea:
            lines += ["", node.idea.hypothesis, "", f"Brief: {node.idea.brief}"]
        return "\n".join([*lines, f"Parent: {life.parent:04d}", ""])

    def _job(self, life: Life, *, trial: int, commit: str, overlay: Sources = ()) -> Job:
        main = float(self.tree.loss[self.tree.incumbent])
        gain = main - self.tree.metric.loss(life.values[0]) if life.values and life.id != ROOT else None
        return self._job_of(life.id, trial=trial, commit=commit, overlay=overlay, gain=gain)

    def _job_of(
        self, node: NodeId, *, trial: int, commit: str, overlay: Sources = (), gain: float | None = None
    ) -> Job:
        seed = zlib.crc32(f"{self.tree.seed}/{node}/{trial}".encode()) & 0x7FFFFFFF
        return Job(
            experiment=node,
            trial=trial,
            seed=seed,
            commit=commit,
            overlay=overlay,
            cuts=cuts(trial=trial, confirmations=self.preset.confirmations, gain=gain, noise=self.tree.noise),
            tolerance=tolerance(self.tree.root_leak),
        )

    def _calls(self, life: Life, purpose: Literal["plan", "write"], attempt: int) -> CallLog:
        before = (e.reply for e in life.called if (e.purpose, e.attempt) == (purpose, attempt) and e.reply)

        def record(call: ModelCall, reply: str) -> None:
            event = Called(
                time=self.ledger.now(), experiment=life.id, purpose=purpose, attempt=attempt, call=call, reply=reply
            )
            self.ledger.record(event)

        return CallLog(
            experiment=life.id,
            purpose=purpose,
            attempt=attempt,
            replies=tuple(before),
            record=record,
            stopping=lambda: self.stopping,
        )

    def _length(self, node: NodeId) -> int:
        """Lines of the editable files together."""
        return sum(file.text.count("\n") for file in self._sources_at(node))

    def _sources_at(self, node: NodeId) -> Sources:
        commit = self.tree.node(node).commit
        assert commit is not None
        return self.parts.repository.sources(commit)

    def _life(self, where: Where) -> Life:
        return self.state.lives[where["experiment"]]

    def _rng(self, experiment: NodeId, purpose: str) -> random.Random:
        return random.Random(f"{self.tree.seed}/{experiment}/{purpose}")


def _next(where: Where) -> Step:
    return where["next"]
