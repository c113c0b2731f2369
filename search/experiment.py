"""One experiment's whole life, top to bottom: select, plan, write, check, commit, train, score, judge, settle.

Each step is one node of a LangGraph graph; the thread is the experiment. A step first asks the journal whether it was
done already, so that a killed experiment goes on where it stopped and nothing is paid for twice. A step that fails
returns the failure as data; an exception means that the harness itself is broken and stops the campaign.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, TypedDict

from .drift import Standing, standing
from .errors import Unavailable
from .events import (
    Called,
    Checked,
    Committed,
    Judged,
    Planned,
    Selected,
    Written,
)
from .ledger import Ledger
from .life import Life, note_text
from .measuring import Measuring
from .model import (
    Expansion,
    Failure,
    FailureKind,
    Idea,
    ModelCall,
    NodeId,
    Patch,
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
from .settings import Settings
from .tree import Node, Tree

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
        self.trials = Measuring(
            parts.trainer, ledger, confirmations=self.preset.confirmations, stopping=lambda: self.stopping
        )

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
                memory=self.state.memory,
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
                job = self.trials.job(life, trial=0, commit=parent, overlay=self._patched(life))
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
            job = self.trials.job(life, trial=trial, commit=life.committed[attempt].commit)
            await self.trials.train(job)
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
        job = self.trials.job(life, trial=trial, commit=life.committed[where["attempt"]].commit)
        if trial not in life.scored:
            await self.trials.score(job)
        self.trials.discard(job)
        return {"next": "judge"}

    async def judge(self, where: Where) -> Where:
        """The ratchet's screen, the confirming trials it asks for, main once more beside them, and the verdict, against
        main as it is now."""
        life = self._life(where)
        while life.judged is None:
            answer = self._verdict(life)
            if isinstance(answer, Confirm):
                return {"trial": where["trial"] + 1, "next": "train"}
            if isinstance(answer, Judged):
                self.ledger.record(answer)
            elif self.stopping:
                return {"next": "end"}
            else:
                await self._anchor(life, answer)
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

    def _verdict(self, life: Life) -> Judged | Confirm | NodeId:
        """The verdict, or the confirming trial that it needs, or the node that must be measured beside it first."""
        incumbent, values = self.tree.node(self.tree.incumbent), life.values
        failure = None
        if not values:
            failure = life.failures[-1]
            verdict, reason = Verdict.FAILED, f"{failure.kind}: {failure.message}"
        elif max(life.trained) >= len(values):
            verdict, reason = Verdict.PARKED, f"a confirming trial failed ({life.failures[-1].kind})"
        elif incumbent.by == "trusted" and "printed" in life.measured_by:
            reason = "its score is what the script printed, and main's was measured: that moves nothing"
            verdict = Verdict.PARKED
        else:
            stands = self._standing(life, incumbent)
            answer = decide(
                self.preset,
                self.tree.metric,
                values=values,
                incumbent=stands.score,
                noise=stands.noise,
                lines=self._length(life.id) - self._length(incumbent.id),
                best=self.tree.metric.value(min(float(self.tree.loss[kept]) for kept in self.tree.advances)),
            )
            if isinstance(answer, Confirm):
                return answer
            verdict, reason = answer.verdict, answer.reason
            confirmed = len(values) > self.preset.confirmations
            if stands.wanted and (verdict is Verdict.KEPT or (stands.drifted and confirmed)):
                if life.unanchored is None:
                    return incumbent.id
                verdict, reason = Verdict.PARKED, f"main could not be measured beside it ({life.unanchored})"
            elif stands.drifted:
                reason += f"; main was measured anew beside it ({stands.score.n} trials): the machine had drifted"
        return Judged(
            time=self.ledger.now(),
            experiment=life.id,
            verdict=verdict,
            reason=reason,
            against=incumbent.id,
            failure=failure,
        )

    def _standing(self, life: Life, incumbent: Node) -> Standing:
        """What the candidate must beat: main, as this machine measures it now."""
        assert incumbent.score is not None
        counted, beside = incumbent.values[-incumbent.score.n :], life.beside.get(incumbent.id, 0)
        anchored = self.settings.anchors and incumbent.id not in self.state.lives
        return standing(
            counted,
            beside,
            noise=self.tree.noise,
            apart=self.tree.noise_apart(incumbent.id, beside),
            anchors=self.preset.confirmations if anchored else 0,
        )

    async def _anchor(self, life: Life, node: NodeId) -> None:
        """Measure main once more beside a candidate, unless another candidate's anchor came in between."""
        before = life.beside.get(node, 0)
        failure = await self.trials.again(node, unless=lambda: life.beside.get(node, 0) > before)
        if failure is not None:
            life.unanchored = failure.kind

    def _repair_or(self, otherwise: Step, life: Life, attempt: int, *, allowed: int) -> Where:
        if life.may_repair(attempt, allowed=allowed):
            return {"attempt": attempt + 1, "next": "write"}
        return {"next": otherwise}

    def _duplicate(self, life: Life, attempt: int) -> Failure | None:
        first = self.tree.digests.get(life.written[attempt].digest)
        if first is None or first == life.id:
            return None
        node = self.tree.node(first)
        if node.failure is not None and node.failure.kind is FailureKind.STARVED:
            return None  # it was never really tried
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
