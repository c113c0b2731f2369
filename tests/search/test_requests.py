"""What a person may ask of nodes: closing lines, promoting with a note, and more trials. Asked before the campaign
goes on, so that nothing depends on timing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ratchetree.search.campaign import Campaign
from ratchetree.search.events import Event, Requested, Selected, Trained
from ratchetree.search.experiment import Parts
from ratchetree.search.model import (
    Ask,
    Edit,
    Idea,
    Machine,
    ModelCall,
    Patch,
    Request,
    ScoreReport,
    TrialReport,
)
from ratchetree.search.policies import make_policy
from ratchetree.search.ports import Job, Plan, PlanReply, PlanRequest, WriteReply, WriteRequest
from ratchetree.search.settings import settings_from
from ratchetree.search.tree import Tree, replay
from ratchetree.storage.inbox import FolderInbox
from ratchetree.storage.journal import SqliteJournal
from ratchetree.storage.rebuild import events_from_git
from ratchetree.storage.repository import GitRepository

CALL = ModelCall(backend="test")


@dataclass
class Planner:
    """Plans "idea N", and keeps the notes it was given."""

    notes: dict[int, str] = field(default_factory=dict)

    async def plan(self, request: PlanRequest) -> PlanReply:
        self.notes[request.experiment] = request.note
        title = f"idea {request.experiment}"
        idea = Idea(title=title, hypothesis="h", mechanism="m", category="c", brief=title)
        return PlanReply(outcome=Plan(option=0, idea=idea), call=CALL)


class Coder:
    """A different patch for every experiment."""

    async def write(self, request: WriteRequest) -> WriteReply:
        edit = Edit(path="train.py", old="def main():\n", new=f"X_{request.experiment} = 1\n\n\ndef main():\n")
        return WriteReply(outcome=Patch(edits=(edit,)), call=CALL)


class Trainer:
    """Every experiment is 0.01 worse than the root; trials differ by 0.001."""

    async def open(self, root: str) -> Machine:
        return Machine(host="h", cpu="c", cpus=1, memory_gb=1.0)

    async def smoke(self, job: Job) -> None:
        return None

    async def train(self, job: Job) -> TrialReport:
        return TrialReport(startup_seconds=0.0, train_seconds=1.0, cpu_seconds=1.0, peak_memory_mb=1.0)

    async def score(self, job: Job) -> ScoreReport:
        return ScoreReport(value=1.0 + 0.01 * job.experiment + 0.001 * job.trial, by="synthetic")

    def hurry(self) -> None:
        pass

    def discard(self, job: Job) -> None:
        pass

    async def close(self) -> None:
        pass


@dataclass
class Night:
    """A workspace whose campaign is run bit by bit."""

    folder: Path
    planner: Planner = field(default_factory=Planner)
    asked: int = 0

    def ask(self, ask: Ask, node: int | None = None, note: str = "", trials: int = 1) -> None:
        self.asked += 1
        inbox = FolderInbox(self.folder / ".ratchetree" / "inbox")
        inbox.put(Request(id=f"{self.asked:04d}", ask=ask, node=node, note=note, trials=trials))

    def run(self, experiments: int, policy: str = "ratchet") -> Tree:
        search = {"policy": policy, "in_flight": 1, "choice": 1}
        settings = settings_from(
            {"search": search, "ratchet": {"preset": "naive"}, "limits": {"experiments": experiments}}
        )
        self.repository = GitRepository(self.folder, settings.task.editable)
        journal = SqliteJournal.create(self.folder / ".ratchetree" / "journal.db")
        ticks = iter(range(1000, 10**6))
        parts = Parts(
            journal=journal,
            repository=self.repository,
            planner=self.planner,
            coder=Coder(),
            trainer=Trainer(),
            clock=lambda: float(next(ticks)),
            observers=(),
            inbox=FolderInbox(self.folder / ".ratchetree" / "inbox"),
        )
        campaign = Campaign(
            parts=parts,
            policy=make_policy(policy, {}),
            settings=settings,
            seed=1,
            version="0",
            checkpoints=self.folder / ".ratchetree" / "checkpoints.db",
        )
        asyncio.run(campaign.run())
        journal.close()
        return campaign.tree

    def events(self) -> list[Event]:
        return [event for _, event in SqliteJournal.read(self.folder / ".ratchetree" / "journal.db").events()]

    def refusals(self) -> list[str | None]:
        return [event.refused for event in self.events() if isinstance(event, Requested)]


@pytest.fixture
def night(workspace: Path) -> Night:
    return Night(workspace)


def test_a_promoted_node_is_expanded_next_and_the_planner_reads_the_note(night: Night) -> None:
    night.run(2)
    night.ask(Ask.PROMOTE, 2, note="halve it once more")
    tree = night.run(4)
    assert [tree.node(n).parent for n in (1, 2, 3, 4)] == [0, 0, 2, 0]
    assert night.planner.notes == {1: "", 2: "", 3: "halve it once more", 4: ""}
    assert [e.note for e in night.events() if isinstance(e, Selected)] == ["", "", "halve it once more", ""]


def test_more_trials_are_run_journalled_and_counted_in_the_score(night: Night) -> None:
    night.run(1)
    night.ask(Ask.REPEAT, 1, trials=2)
    tree = night.run(1)
    assert tree.node(1).values == (1.01, 1.011, 1.012)
    score = tree.node(1).score
    assert score is not None and (score.n, score.mean) == (2, pytest.approx(1.0115))  # the screening trial drops out
    trained = [(e.experiment, e.trial) for e in night.events() if isinstance(e, Trained)]
    assert trained == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert events_from_git(night.repository) == night.events()
    assert night.run(2).node(1).values == (1.01, 1.011, 1.012)  # asked once, run once


def test_trials_that_a_kill_prevented_are_run_when_the_campaign_goes_on(night: Night) -> None:
    night.run(1)
    journal = SqliteJournal.create(night.folder / ".ratchetree" / "journal.db")
    journal.append(Requested(time=2.0, request=Request(id="x", ask=Ask.REPEAT, node=0, trials=1)))
    journal.close()
    assert night.run(1).node(0).values == (1.0, 1.001)


@pytest.mark.parametrize("policy", ["random", "best-first", "beam"])
def test_no_policy_goes_on_from_a_closed_line_until_it_is_reopened(night: Night, policy: str) -> None:
    night.run(2)
    night.ask(Ask.PROMOTE, 1)
    night.run(3)  # 3 hangs below 1
    night.ask(Ask.CLOSE, 1, note="a dead end")
    tree = night.run(10, policy)
    assert tree.closed == {1, 3}
    assert not {tree.node(n).parent for n in range(4, 11)} & {1, 3}
    assert not tree.is_expandable(3)
    night.ask(Ask.REOPEN, 1)
    assert night.run(10, policy).closed == set()


def test_when_everything_a_policy_wants_is_closed_the_search_goes_on_from_main(night: Night) -> None:
    night.run(4, "beam")
    for node in (1, 2, 3, 4):
        night.ask(Ask.CLOSE, node)
    tree = night.run(12, "beam")
    assert {tree.node(n).parent for n in range(5, 13)} <= {0, *range(5, 13)}
    assert tree.experiments == 12


def test_wishes_that_cannot_be_granted_are_journalled_with_the_reason(night: Night) -> None:
    night.run(1)
    night.ask(Ask.REPEAT, 99)
    night.ask(Ask.CLOSE)
    night.ask(Ask.CLOSE, 1)
    night.ask(Ask.PROMOTE, 1)
    night.run(1)
    nothing = "there is no such experiment"
    assert night.refusals() == [nothing, nothing, None, "0001 is closed: reopen it first"]


def test_the_replay_of_a_night_with_requests_gives_the_same_tree(night: Night) -> None:
    night.run(3)
    night.ask(Ask.CLOSE, 2)
    night.ask(Ask.REPEAT, 3)
    tree, again = night.run(6), replay(night.events())
    assert list(tree.nodes()) == list(again.nodes())
    assert (tree.closed, tree.incumbent, tree.noise) == (again.closed, again.incumbent, again.noise)
