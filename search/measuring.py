"""Trials of one campaign: run again when the machine was taken from them, scored, and journalled."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import perf_counter

from .errors import Unavailable
from .events import Scored, Trained
from .ledger import Ledger
from .life import Life, is_void
from .model import Failure, FailureKind, NodeId, ScoreReport, Sources
from .ports import Job, Trainer
from .scrutiny import cuts, tolerance
from .tree import ROOT

LARGEST_SCORE = 1e12
"""Larger values (and NaN) are refused before they are journalled: their squares would outgrow a float."""


class Measuring:
    """Everything that a campaign does with its trainer but smoke runs and final claims."""

    def __init__(self, trainer: Trainer, ledger: Ledger, *, confirmations: int, stopping: Callable[[], bool]) -> None:
        self._trainer = trainer
        self._ledger = ledger
        self._state = ledger.state
        self._confirmations = confirmations
        self._stopping = stopping
        self._again = asyncio.Lock()  # one further trial of a settled node at a time: its number follows from the last

    async def root(self, trial: int) -> None:
        """One trial of the root, trained and scored; what the journal has already is not done again."""
        life, commit = self._state.lives[ROOT], self._state.tree.root_commit
        assert commit is not None
        job = self.job(life, trial=trial, commit=commit)
        if trial not in life.trained:
            await self.train(job)
        if trial not in life.trained:  # the user wants to stop
            return
        if trial not in life.scored and not isinstance(life.trained[trial].outcome, Failure):
            await self.score(job)
        self.discard(job)

    async def train(self, job: Job) -> None:
        """One trial of a node in flight; a starved one is void and run again, a few times, unless the user wants to
        stop."""
        life = self._state.lives[job.experiment]
        with suppress(Unavailable):
            while job.trial not in life.trained and not (self._stopping() and life.void.get(job.trial)):
                await self._train_once(job, life.void.get(job.trial, 0))

    async def score(self, job: Job) -> ScoreReport | Failure:
        """What the trusted process makes of what the trial saved."""
        begun = perf_counter()
        outcome = await self._trainer.score(job)
        if isinstance(outcome, ScoreReport) and not abs(outcome.value) <= LARGEST_SCORE:
            name = self._state.tree.metric.name
            outcome = Failure(kind=FailureKind.SCORE, message=f"{outcome.value} is no sane {name}")
        seconds = round(perf_counter() - begun, 3)
        event = Scored(
            time=self._ledger.now(), experiment=job.experiment, trial=job.trial, seconds=seconds, outcome=outcome
        )
        self._ledger.record(event)
        return outcome

    def discard(self, job: Job) -> None:
        """Let go of what a trial saved."""
        self._trainer.discard(job)

    async def owed(self, node: NodeId) -> None:
        """The further trials of a settled node that somebody asked for."""
        while self._state.owed.get(node) and not self._stopping():
            await self.again(node)

    async def again(self, node: NodeId, *, unless: Callable[[], bool] = lambda: False) -> Failure | None:
        """One further trial of a settled node; a failure is journalled like all others. unless: asked when it is this
        trial's turn, because what came before it may have made it needless."""
        async with self._again:
            if unless():
                return None
            commit = self._state.tree.node(node).commit
            assert commit is not None
            job, run = self._job_of(node, trial=self._state.tried[node], commit=commit), 0
            try:
                while is_void(trained := await self._train_once(job, run)) and not self._stopping():
                    run += 1
            except Unavailable:
                return None
            outcome: object = trained.outcome
            if not isinstance(outcome, Failure):
                outcome = await self.score(job)
            self.discard(job)
            self._ledger.note_again(node)
            return outcome if isinstance(outcome, Failure) else None

    def job(self, life: Life, *, trial: int, commit: str, overlay: Sources = ()) -> Job:
        """What the trainer is told of a trial of a node in flight."""
        tree = self._state.tree
        main = float(tree.loss[tree.incumbent])
        gain = main - tree.metric.loss(life.values[0]) if life.values and life.id != ROOT else None
        return self._job_of(life.id, trial=trial, commit=commit, overlay=overlay, gain=gain)

    def _job_of(
        self, node: NodeId, *, trial: int, commit: str, overlay: Sources = (), gain: float | None = None
    ) -> Job:
        tree = self._state.tree
        return Job(
            experiment=node,
            trial=trial,
            seed=zlib.crc32(f"{tree.seed}/{node}/{trial}".encode()) & 0x7FFFFFFF,
            commit=commit,
            overlay=overlay,
            cuts=cuts(trial=trial, confirmations=self._confirmations, gain=gain, noise=tree.noise),
            tolerance=tolerance(tree.root_leak),
        )

    async def _train_once(self, job: Job, run: int) -> Trained:
        begun = perf_counter()
        outcome = await self._trainer.train(replace(job, run=run))
        event = Trained(
            time=self._ledger.now(),
            experiment=job.experiment,
            trial=job.trial,
            seed=job.seed,
            seconds=round(perf_counter() - begun, 3),
            outcome=outcome,
            run=run,
        )
        self._ledger.record(event)
        return event
