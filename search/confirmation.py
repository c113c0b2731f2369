"""`ratchetree confirm`: root and node trained again with new seeds, scored on validation and on the sealed test part.

Like a campaign it asks the journal first, so that a killed confirmation goes on where it was; unlike one it chooses
nothing, so its numbers flatter nobody. The verdicts of the campaign and the scores in the tree stay as they are.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace
from time import perf_counter
from typing import Literal

from .claims import interval, sentence
from .errors import RatchetreeError, WrongUse
from .events import Claimed, Event, Repeated
from .ledger import Ledger
from .life import STARVED_RERUNS
from .model import Failure, FailureKind, NodeId, ScoreReport
from .ports import Job, Trainer
from .scrutiny import CONFIRM_CUTS, tolerance
from .tree import KEPT, PARKED, ROOT, Tree

FIRST_TRIAL = 1000
"""Numbers of these trials' folders: far from those of the search."""


class Confirmation:
    """One claim about one node. Build it on the replayed journal, and `await run()` it once."""

    def __init__(self, *, ledger: Ledger, trainer: Trainer, events: list[Event], sealed: bool) -> None:
        """sealed: whether there is a test part to be scored."""
        self._ledger = ledger
        self._trainer = trainer
        self._sealed = sealed
        self._tree: Tree = ledger.state.tree
        claims = [event for event in events if isinstance(event, Claimed)]
        self._claim = len(claims)
        self._done = {
            (event.node, event.trial): event
            for event in events
            if isinstance(event, Repeated) and event.claim == self._claim
        }

    async def run(self, node: NodeId | None, trials: int) -> Claimed:
        """Train and score what is missing, then claim. node: None = main's. Raises WrongUse and RatchetreeError."""
        tree = self._tree
        node = tree.incumbent if node is None else node
        if node == ROOT:
            raise WrongUse("main is still the root, so there is no gain to confirm: give the ID of another experiment")
        if node not in tree or tree.state[node] not in (KEPT, PARKED):
            raise WrongUse(f"experiment {node:04d} has no score, so there is nothing to confirm")
        other = {event.node for event in self._done.values()} - {ROOT, node}
        if other:
            raise WrongUse(f"a confirmation of {other.pop():04d} was begun and not ended: confirm that one first")
        await asyncio.gather(*(self._repeat(who, i) for i in range(trials) for who in (ROOT, node)))
        claimed = self._claimed(node, trials)
        self._ledger.record(claimed)
        self._ledger.note_root()
        return claimed

    async def _repeat(self, node: NodeId, trial: int) -> None:
        if (node, trial) in self._done:
            return
        job, begun = self._job(node, trial), perf_counter()
        outcome = await self._train(job)
        validation = await self._score(job, "validation") if outcome is None else outcome
        test = await self._score(job, "test") if self._sealed and not isinstance(validation, Failure) else None
        self._trainer.discard(job)
        event = Repeated(
            time=self._ledger.now(),
            claim=self._claim,
            node=node,
            trial=trial,
            seed=job.seed,
            seconds=round(perf_counter() - begun, 3),
            validation=validation,
            test=test,
        )
        self._ledger.record(event)
        self._done[node, trial] = event

    async def _train(self, job: Job) -> Failure | None:
        run = 0
        while isinstance(outcome := await self._trainer.train(replace(job, run=run)), Failure):
            if outcome.kind is not FailureKind.STARVED or run == STARVED_RERUNS:
                return outcome
            run += 1
        return None

    async def _score(self, job: Job, part: Literal["validation", "test"]) -> ScoreReport | Failure:
        return await self._trainer.score(replace(job, part=part))

    def _job(self, node: NodeId, trial: int) -> Job:
        commit = self._tree.node(node).commit
        assert commit is not None
        number = FIRST_TRIAL + 100 * self._claim + trial
        seed = zlib.crc32(f"{self._tree.seed}/claim {self._claim}/{node}/{trial}".encode()) & 0x7FFFFFFF
        return Job(
            experiment=node,
            trial=number,
            seed=seed,
            commit=commit,
            cuts=CONFIRM_CUTS,
            tolerance=tolerance(self._tree.root_leak),
        )

    def _claimed(self, node: NodeId, trials: int) -> Claimed:
        validation: dict[NodeId, list[float]] = {ROOT: [], node: []}
        test: dict[NodeId, list[float]] = {ROOT: [], node: []}
        for (who, trial), event in sorted(self._done.items()):
            for outcome, values in ((event.validation, validation), (event.test, test)):
                if isinstance(outcome, Failure):
                    raise RatchetreeError(
                        f"trial {trial} of {who:04d} failed ({outcome.kind}: {outcome.message}), so nothing is claimed"
                    )
                if outcome is not None:
                    values[who].append(outcome.value)
        metric = self._tree.metric
        on_validation = interval(metric, validation[ROOT], validation[node])
        on_test = interval(metric, test[ROOT], test[node]) if self._sealed else None
        return Claimed(
            time=self._ledger.now(),
            claim=self._claim,
            node=node,
            validation=on_validation,
            test=on_test,
            sentence=sentence(metric, node, on_validation, on_test),
        )
