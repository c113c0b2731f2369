"""The seams: what `search` needs from the outside, as small Protocols. Documented once, here.

Implementations live in `agents/` (Planner, Coder), `trainer/` (Trainer), `storage/` (Journal, Repository) and `view/`
(Observer); `cli.py` puts them together. Each has a fake that users may use too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from .events import Event
from .memory import Memory
from .model import (
    Expansion,
    Failure,
    Idea,
    Machine,
    ModelCall,
    NodeId,
    Patch,
    Progress,
    Request,
    ScoreReport,
    Sources,
    TrialReport,
)
from .spending import Spending
from .tree import Tree


class Policy(Protocol):
    """Ranks expansions; never runs anything.

    What it remembers is rebuilt by replaying the events to `observe`, nothing else. Parameters are the fields of the
    class, with defaults.
    """

    def observe(self, tree: Tree, event: Event) -> None:
        """Take in one event; `tree` has already applied it."""

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """Up to k expansions, best first. Empty: nothing to expand until something in flight is judged.

        A query: it changes nothing.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One of the policy's expansions, with what a planner needs to choose among them."""

    expansion: Expansion
    sources: Sources  # the editable files at that node


def _unrecorded(call: ModelCall, reply: str) -> None:
    """For agents that are used outside a campaign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLog:
    """The model calls of one plan or one write, journalled one by one: what is there already is not paid for again."""

    experiment: NodeId = 0
    purpose: str = "plan"  # plan or write
    attempt: int = 0  # of the coder
    replies: tuple[str, ...] = ()  # of the calls that were finished before, oldest first
    record: Callable[[ModelCall, str], None] = _unrecorded  # a call ended, with this reply; "" if it broke off
    stopping: Callable[[], bool] = lambda: False  # whether to raise Unavailable rather than wait for a server


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a planner sees."""

    experiment: NodeId
    brief: str  # program.md, verbatim
    options: tuple[Option, ...]  # best first; at least one
    tree: Tree  # to read, never to change
    memory: Memory  # likewise
    rng: random.Random  # depends on the campaign's seed and the experiment only
    note: str = ""  # what the person who asked for this expansion wants the planner to know
    sources_at: Callable[[NodeId], Sources] = lambda node: ()  # the editable files at any committed node
    spending: Spending = field(default_factory=Spending)  # to read
    calls: CallLog = field(default_factory=CallLog)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The planner's choice."""

    option: int  # index into the request's options
    idea: Idea


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReply:
    """A plan or why there is none, and what it cost."""

    outcome: Plan | Failure
    call: ModelCall


class Planner(Protocol):
    """Picks a parent among the options and says what to try there."""

    async def plan(self, request: PlanRequest) -> PlanReply:
        """Never raises for what a model says: a reply that makes no sense is a Failure of kind no-idea."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """What a coder sees."""

    experiment: NodeId
    attempt: int  # 0 = first reply; more = repair of `patch`, which failed with `failure`
    brief: str  # program.md, verbatim
    idea: Idea
    sources: Sources  # the parent's editable files
    patch: Patch | None  # the previous attempt's patch
    failure: Failure | None  # what was wrong with it
    rng: random.Random
    parent: NodeId = 0
    tree: Tree = field(default_factory=Tree)  # to read
    memory: Memory = field(default_factory=Memory)  # likewise
    sources_at: Callable[[NodeId], Sources] = lambda node: ()  # the editable files at any committed node
    calls: CallLog = field(default_factory=CallLog)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReply:
    """A patch or why there is none, and what it cost."""

    outcome: Patch | Failure
    call: ModelCall


class Coder(Protocol):
    """Turns an idea and the parent's files into a patch."""

    async def write(self, request: WriteRequest) -> WriteReply:
        """Never raises for what a model says: a reply that is no patch is a Failure of kind no-patch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training run to make and to score."""

    experiment: NodeId
    trial: int
    seed: int
    commit: str  # what is checked out
    overlay: Sources = ()  # files laid over it, for the smoke run of what is not committed yet
    run: int = 0  # earlier runs of this trial whose machine was taken from them
    cuts: int = 0  # places at which the scorer probes for look-ahead; 0 = its own choice
    tolerance: float = 0.0  # nats that an answer may change there; 0 = the scorer's own
    part: Literal["validation", "test"] = "validation"  # held-out text; test is sealed, for the final claim only


class Trainer(Protocol):
    """Measures. Waits for a slot by itself; returns failures as data."""

    async def open(self, root: str) -> Machine:
        """Get ready (left-overs of a crash, data and tokenizer as the root commit makes them) and say where this is.
        Raises RatchetreeError."""

    async def smoke(self, job: Job) -> Failure | None:
        """A seconds-long run of the patched script: does it import, build, step and save?"""

    async def train(self, job: Job) -> TrialReport | Failure:
        """One trial inside the budget. What it saved waits for `score`, also after a crash of ours.

        A Failure of kind starved: the machine was taken from it, so the trial is void and may be run again.
        """

    async def score(self, job: Job) -> ScoreReport | Failure:
        """Measure what `train` saved for the same job."""

    def hurry(self) -> None:
        """The campaign is stopping: what only waits for the machine to be calm is given up, with Unavailable."""

    def discard(self, job: Job) -> None:
        """The score is journalled: what `train` saved may go. Harmless if it is gone already."""

    async def close(self) -> None:
        """End everything that is still running."""


class TreeSource(Protocol):
    """Writes out what a commit holds."""

    def export(self, commit: str, folder: Path) -> None:
        """Write the commit's files, without `.git`, into the new folder `folder`."""


class Journal(Protocol):
    """The only truth: an append-only list of events."""

    def append(self, event: Event) -> int:
        """Store the event durably; returns its number (1, 2, ...)."""

    def events(self, experiment: NodeId | None = None) -> Iterator[tuple[int, Event]]:
        """All events with their numbers, in order; or those of one experiment (the root's with the campaign's own)."""

    def restart(self) -> None:
        """Put the journal aside (nothing is deleted) and begin an empty one."""


class Repository(Protocol):
    """Git, as far as the search needs it. Every call is idempotent: doing it again changes nothing."""

    def main(self) -> str:
        """The commit that main points to."""

    def sources(self, commit: str) -> Sources:
        """The editable files at a commit."""

    def text(self, commit: str, path: str) -> str:
        """One file at a commit; RatchetreeError if it is missing."""

    def commit_node(
        self, *, node: NodeId, attempt: int, parent: str, sources: Sources, message: str, time: float, note: str
    ) -> str:
        """Commit the files as a child of `parent`, pinned at refs/ratchetree/NNNN with a note; the same input gives
        the same commit. An earlier attempt's commit stays pinned at refs/ratchetree/NNNN-attemptK."""

    def advance(self, *, expected: str, winner: str, message: str, time: float) -> str:
        """Move main from `expected` to the winner's tree and return the new commit.

        Fast-forward if the winner is a child of `expected`, else a commit with the winner's tree and the parents
        (expected, winner). Raises MainMoved if main is neither at `expected` nor already there.
        """

    def settle(self, *, node: NodeId, commit: str, branch: str | None, note: str) -> None:
        """Write the note, and the branch of a parked node."""


class Inbox(Protocol):
    """Requests from outside the campaign's process."""

    def waiting(self) -> list[Request]:
        """All requests that were not removed yet, oldest first."""

    def remove(self, identifier: str) -> None:
        """The request is journalled. Harmless if it is gone already."""


class NoInbox:
    """An Inbox that nobody writes to."""

    def waiting(self) -> list[Request]:
        """Nothing."""
        return []

    def remove(self, identifier: str) -> None:
        """Nothing was there."""


class Observer(Protocol):
    """Whoever wants to watch: the live screen, a sink."""

    def event(self, tree: Tree, event: Event) -> None:
        """An event was journalled and applied."""

    def progress(self, progress: Progress) -> None:
        """A trial got further."""


ProgressListener = Callable[[Progress], None]
Clock = Callable[[], float]
"""Seconds since the epoch."""
