"""Campaigns over real git and a real journal file, with trainers and agents that follow a script."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.campaign import Campaign, Outcome
from ratchetree.search.errors import MainMoved, RatchetreeError, WrongUse
from ratchetree.search.events import Claimed, Event, Judged, Planned, Repeated, Requested, Selected, Trained, Written
from ratchetree.search.experiment import Parts
from ratchetree.search.model import (
    Ask,
    Edit,
    Failure,
    FailureKind,
    Idea,
    Machine,
    ModelCall,
    Patch,
    Progress,
    Request,
    ScoreReport,
    TrialReport,
    Verdict,
)
from ratchetree.search.policies import make_policy
from ratchetree.search.ports import (
    Coder,
    Inbox,
    Job,
    NoInbox,
    Plan,
    Planner,
    PlanReply,
    PlanRequest,
    Trainer,
    WriteReply,
    WriteRequest,
)
from ratchetree.search.settings import settings_from
from ratchetree.search.tree import Node, Tree, replay
from ratchetree.storage.inbox import FolderInbox
from ratchetree.storage.journal import SqliteJournal
from ratchetree.storage.rebuild import events_from_git
from ratchetree.storage.repository import GitRepository
from ratchetree.storage.verify import verify
from ratchetree.trainer.synthetic import SyntheticTrainer

Git = Callable[..., str]
CALL = ModelCall(backend="test")
REPORT = TrialReport(startup_seconds=0.1, train_seconds=1.0, cpu_seconds=1.0, peak_memory_mb=1.0)
CRASH = Failure(kind=FailureKind.CRASH, message="RuntimeError: boom", detail="Traceback ...")


@dataclass
class ScriptedTrainer:
    """Scores by a function of (experiment, trial); a Failure fails in training. Remembers what was asked of it."""

    outcome: Callable[[int, int], float | Failure]
    smoke_outcome: Callable[[Job], Failure | None] = lambda job: None
    score_outcome: Callable[[Job], Failure | None] = lambda job: None
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    on_train: Callable[[Job], None] = lambda job: None
    turns: Callable[[Job], int] = lambda job: 1  # of the event loop that a trial takes
    by: Callable[[Job], str] = lambda job: "synthetic"

    async def open(self, root: str) -> Machine:
        return Machine(host="h", cpu="c", cpus=1, memory_gb=1.0)

    async def smoke(self, job: Job) -> Failure | None:
        self.asked.append(("smoke", job.experiment, job.trial))
        return self.smoke_outcome(job)

    async def train(self, job: Job) -> TrialReport | Failure:
        self.asked.append(("train", job.experiment, job.trial))
        self.on_train(job)
        for _ in range(self.turns(job)):
            await asyncio.sleep(0)
        result = self.outcome(job.experiment, job.trial)
        return result if isinstance(result, Failure) else REPORT

    async def score(self, job: Job) -> ScoreReport | Failure:
        self.asked.append(("score", job.experiment, job.trial))
        failure = self.score_outcome(job)
        result = self.outcome(job.experiment, job.trial)
        assert not isinstance(result, Failure)
        return failure or ScoreReport(value=result, by=self.by(job))

    def hurry(self) -> None:
        pass

    def discard(self, job: Job) -> None:
        pass

    async def close(self) -> None:
        pass


@dataclass
class ScriptedCoder:
    """Answers by a function of (experiment, attempt); keeps the requests."""

    answer: Callable[[WriteRequest], Patch | Failure]
    requests: list[WriteRequest] = field(default_factory=list)

    async def write(self, request: WriteRequest) -> WriteReply:
        self.requests.append(request)
        return WriteReply(outcome=self.answer(request), call=CALL)


class SimplePlanner:
    """The first option, with an idea named after the experiment."""

    async def plan(self, request: PlanRequest) -> PlanReply:
        title = f"idea {request.experiment}"
        idea = Idea(title=title, hypothesis="h", mechanism="m", category="c", brief=title)
        return PlanReply(outcome=Plan(option=0, idea=idea), call=CALL)


def one_line(request: WriteRequest) -> Patch:
    """A patch that is different for every experiment and attempt."""
    name = f"X_{request.experiment}_{request.attempt}"
    return Patch(edits=(Edit(path="train.py", old="def main():\n", new=f"{name} = 1\n\n\ndef main():\n"),))


@dataclass
class Bench:
    """One workspace with everything a campaign needs."""

    folder: Path
    policy: str = "ratchet"
    preset: str = "naive"
    planner: Planner = field(default_factory=SimplePlanner)
    coder: Coder = field(default_factory=lambda: ScriptedCoder(one_line))
    trainer: Trainer = field(default_factory=lambda: ScriptedTrainer(lambda e, t: 1.0 - 0.01 * e))
    clock: Callable[[], float] = time.time
    observers: tuple[Any, ...] = ()

    def campaign(self, experiments: int | None, *, inbox: Inbox | None = None, **tables: Any) -> Campaign:
        table: dict[str, Any] = {
            "search": {"policy": self.policy, "in_flight": 1, "choice": 1},
            "ratchet": {"preset": self.preset},
            "limits": {"experiments": experiments} if experiments is not None else {},
        }
        for name, values in tables.items():
            table[name] = table.get(name, {}) | values
        settings = settings_from(table)
        self.repository = GitRepository(self.folder, settings.task.editable)
        self.repository.ignore_own_files()
        self.journal = SqliteJournal.create(self.folder / ".ratchetree" / "journal.db")
        parts = Parts(
            journal=self.journal,
            repository=self.repository,
            planner=self.planner,
            coder=self.coder,
            trainer=self.trainer,
            clock=self.clock,
            observers=self.observers,
            inbox=inbox or NoInbox(),
        )
        return Campaign(
            parts=parts,
            policy=make_policy(self.policy, settings.search.parameters(self.policy)),
            settings=settings,
            seed=1,
            version="0",
            checkpoints=self.folder / ".ratchetree" / "checkpoints.db",
        )

    def run(self, experiments: int | None, *, inbox: Inbox | None = None, **tables: Any) -> Tree:
        campaign = self.campaign(experiments, inbox=inbox, **tables)
        try:
            self.outcome: Outcome = asyncio.run(campaign.run())
        finally:
            self.journal.close()
        return campaign.tree

    def events(self) -> list[Event]:
        journal = SqliteJournal.read(self.folder / ".ratchetree" / "journal.db")
        return [event for _, event in journal.events()]

    def problems(self) -> list[str]:
        events = self.events()
        digests = {e.experiment: e.digest for e in events if isinstance(e, Written)}
        return [problem.message for problem in verify(replay(events), digests, self.repository)]


def known(nodes: list[Node]) -> list[Any]:
    return [(n.id, n.parent, n.depth, n.verdict, n.score, n.failure, n.title, n.commit, n.seconds) for n in nodes]


# -- the main job ----------------------------------------------------------------------------------------------------


def test_git_journal_and_tree_tell_the_same_story(workspace: Path, git: Git) -> None:
    better = {1: 0.9, 2: 0.95, 3: 0.8, 4: 0.85}
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: better.get(e, 1.0)))
    tree = bench.run(4)
    assert [tree.node(i).verdict for i in range(5)] == [
        Verdict.KEPT,
        Verdict.KEPT,
        Verdict.PARKED,
        Verdict.KEPT,
        Verdict.PARKED,
    ]
    assert [tree.node(i).parent for i in range(5)] == [None, 0, 1, 1, 3]
    history = git(workspace, "log", "--first-parent", "--format=%s", "main").splitlines()
    assert history == ["0003 idea 3", "0001 idea 1", "root"]
    assert git(workspace, "branch", "--list", "parked/*", "--format=%(refname:short)").splitlines() == [
        "parked/0002-idea-2",
        "parked/0004-idea-4",
    ]
    assert bench.problems() == []
    assert git(workspace, "status", "--porcelain") == ""
    assert bench.outcome.reason == "the limit of 4 experiments"
    assert known(list(replay(bench.events()).nodes())) == known(list(tree.nodes()))


def test_zero_experiments_score_the_root_and_stop(workspace: Path) -> None:
    tree = Bench(workspace, preset="default").run(0)
    assert tree.experiments == 0
    assert tree.node(0).score is not None
    assert tree.node(0).score.n == 3


def test_a_campaign_goes_on_where_it_stopped(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: 1.0 - 0.01 * e)
    bench = Bench(workspace, trainer=trainer)
    bench.run(2)
    tree = bench.run(5)
    assert tree.experiments == 5
    assert bench.run(5).experiments == 5
    trained = [asked for asked in trainer.asked if asked[0] == "train"]
    assert len(trained) == len(set(trained)) == 6
    assert bench.problems() == []


def test_confirming_trials_get_new_seeds_and_the_screening_trial_does_not_count(workspace: Path) -> None:
    values = {(1, 0): 0.5, (1, 1): 0.9, (1, 2): 0.92, (1, 3): 0.91}
    noise = {0: 1.0, 1: 1.01, 2: 0.99}
    trainer = ScriptedTrainer(lambda e, t: values[e, t] if e else noise[t])
    bench = Bench(workspace, preset="default", trainer=trainer)
    tree = bench.run(1, ratchet={"anchor": False})
    node = tree.node(1)
    assert node.verdict is Verdict.KEPT
    assert node.score is not None
    assert node.score.mean == pytest.approx(0.91)
    assert node.score.n == 3
    seeds = [event.seed for event in bench.events() if isinstance(event, Trained)]
    assert len(seeds) == len(set(seeds)) == 7


def test_main_is_measured_once_more_beside_a_node_that_would_replace_it(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: (0.9 if e else 1.0) + 0.01 * (t % 3))
    bench = Bench(workspace, preset="default", trainer=trainer)
    tree = bench.run(1)
    assert tree.node(1).verdict is Verdict.KEPT
    assert tree.node(0).values == (1.0, 1.01, 1.02, 1.0)
    assert trainer.asked[-2:] == [("train", 0, 3), ("score", 0, 3)]
    assert events_from_git(bench.repository) == bench.events()


def test_a_patch_that_is_better_only_because_the_machine_is_faster_now_does_not_move_main(workspace: Path) -> None:
    def outcome(experiment: int, trial: int) -> float:
        faster = experiment > 0 or trial > 2  # since the root's three trials
        return 1.0 - 0.1 * faster + 0.01 * (trial % 3)

    trainer = ScriptedTrainer(outcome)
    tree = Bench(workspace, preset="default", trainer=trainer).run(1)
    assert tree.node(1).verdict is Verdict.PARKED
    assert tree.node(0).score.n == 6  # three of them beside the candidate


def test_a_real_gain_moves_main_through_a_drift_and_says_so(workspace: Path) -> None:
    def outcome(experiment: int, trial: int) -> float:
        slower = experiment > 0 or trial > 2
        return 1.0 + 0.1 * slower - 0.15 * (experiment > 0) + 0.01 * (trial % 3)

    tree = Bench(workspace, preset="default", trainer=ScriptedTrainer(outcome)).run(1)
    assert tree.node(1).verdict is Verdict.KEPT
    assert "main was measured anew beside it (3 trials)" in tree.node(1).reason


def test_where_main_cannot_be_measured_beside_it_nothing_replaces_main(workspace: Path) -> None:
    starved = Failure(kind=FailureKind.STARVED, message="the neighbours")

    def outcome(experiment: int, trial: int) -> float | Failure:
        return starved if experiment == 0 and trial > 2 else (0.5 if experiment else 1.0) + 0.01 * (trial % 3)

    tree = Bench(workspace, preset="default", trainer=ScriptedTrainer(outcome)).run(1)
    assert tree.node(1).verdict is Verdict.PARKED
    assert tree.node(1).reason == "main could not be measured beside it (starved)"


def test_candidates_in_flight_share_an_anchor(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: 1.0 - 0.1 * e + 0.01 * (t % 3))
    bench = Bench(workspace, preset="default", trainer=trainer)
    bench.run(3, search={"in_flight": 3}, trainer={"slots": 3})
    trained = Counter((node, trial) for what, node, trial in trainer.asked if what == "train")
    assert set(trained.values()) == {1}
    assert [event.experiment for event in bench.events() if isinstance(event, Judged)][-1] == 3


def test_lines_are_counted_against_main_and_not_against_the_parent(workspace: Path, git: Git) -> None:
    """Main loses nine lines; a sibling that then loses two of the root's has seven more than main, and no claim to be
    kept for brevity."""

    def shorter(request: WriteRequest) -> Patch:
        begins = request.sources[0].text.splitlines(keepends=True)
        gone = 10 if request.experiment == 1 else 3
        old = "".join(begins[:gone])
        return Patch(edits=(Edit(path="train.py", old=old, new=f"X = {request.experiment}\n"),))

    source = "".join(f"A_{i} = {i}\n" for i in range(12)) + (workspace / "train.py").read_text()
    (workspace / "train.py").write_text(source)
    git(workspace, "commit", "-qam", "longer")
    trainer = ScriptedTrainer(lambda e, t: (1.0 if e != 2 else 0.9995) + 0.01 * (t % 3 - 1))
    bench = Bench(workspace, policy="best-of-root", preset="default", coder=ScriptedCoder(shorter), trainer=trainer)
    tree = bench.run(2, ratchet={"anchor": False})
    assert tree.node(1).verdict is Verdict.KEPT, tree.node(1).reason
    assert "lines less" in tree.node(1).reason
    assert tree.node(2).verdict is Verdict.PARKED, tree.node(2).reason


def test_a_lucky_screening_trial_does_not_move_main(workspace: Path, git: Git) -> None:
    trainer = ScriptedTrainer(lambda e, t: (0.9 if t == 0 else 1.02) if e else 1.0 + 0.01 * t)
    root = git(workspace, "rev-parse", "main")
    tree = Bench(workspace, preset="default", trainer=trainer).run(1)
    assert tree.node(1).verdict is Verdict.PARKED
    assert git(workspace, "rev-parse", "main") == root


def test_requests_from_outside_are_journalled_once_and_obeyed(workspace: Path) -> None:
    asked = [
        Request(id="1", ask=Ask.PAUSE),
        Request(id="2", ask=Ask.SUBMIT),
        Request(id="3", ask=Ask.RESUME),
        Request(id="4", ask=Ask.STOP, note="enough"),
    ]
    bench = Bench(workspace)
    inbox = FolderInbox(workspace / ".ratchetree" / "inbox")
    for request in asked:
        inbox.put(request)
    (workspace / ".ratchetree" / "inbox" / "0.json").write_text("no request")
    tree = bench.run(50, inbox=inbox)
    assert tree.experiments == 0
    assert bench.outcome == Outcome(reason="enough", by_user=True)
    heard = [event for event in bench.events() if isinstance(event, Requested)]
    assert [event.request for event in heard] == asked
    assert [event.refused is None for event in heard] == [True, False, True, True]
    assert inbox.waiting() == []
    inbox.put(asked[3])  # as if the kill had come between journalling and removing
    assert bench.run(2, inbox=inbox).experiments == 2
    assert events_from_git(bench.repository) == bench.events()


def test_a_barrier_policy_with_many_in_flight_never_stalls_and_never_exceeds_its_limit(workspace: Path) -> None:
    bench = Bench(workspace, policy="beam")
    tree = bench.run(19, search={"in_flight": 5, "beam": {"width": 2, "branch": 3}})
    assert tree.experiments == 19
    assert tree.counts[1] == 0
    assert bench.problems() == []


def test_a_campaign_does_not_end_early_because_one_experiment_ends_while_another_begins(workspace: Path) -> None:
    trainer = ScriptedTrainer(
        lambda e, t: 1.0 - 0.01 * e, turns=lambda job: job.experiment % 2 * (job.experiment // 2 % 40)
    )
    bench = Bench(workspace, policy="beam", trainer=trainer)
    tree = bench.run(80, search={"in_flight": 2, "beam": {"width": 1, "branch": 2}})
    assert tree.experiments == 80
    assert bench.outcome.reason == "the limit of 80 experiments"


STARVED = Failure(kind=FailureKind.STARVED, message="it waited 60% of its time for a CPU")


def test_a_starved_trial_is_void_and_run_again_and_judges_nothing(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: STARVED if e == 1 and len(runs[e, t]) < 3 else 1.0 - 0.01 * e)
    runs: dict[tuple[int, int], list[int]] = {}
    trainer.on_train = lambda job: runs.setdefault((job.experiment, job.trial), []).append(job.run)
    bench = Bench(workspace, trainer=trainer)
    tree = bench.run(1)
    assert runs[1, 0] == [0, 1, 2]
    assert tree.node(1).verdict is Verdict.KEPT
    trained = [event for event in bench.events() if isinstance(event, Trained) and event.experiment == 1]
    assert [event.run for event in trained] == [0, 1, 2]
    assert len({event.seed for event in trained}) == 1
    assert known(list(replay(bench.events()).nodes())) == known(list(tree.nodes()))


def test_a_hopeless_trial_fails_as_such_and_no_coder_is_asked_to_mend_it(workspace: Path) -> None:
    hopeless = Failure(kind=FailureKind.HOPELESS, message="hopeless: after 40 s the loss is 7.2")
    coder = ScriptedCoder(one_line)
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: hopeless if e else 1.0), coder=coder)
    assert bench.run(1).node(1).failure == hopeless
    assert len(coder.requests) == 1


def test_a_printed_score_moves_nothing_where_main_was_measured(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: 1.0 - 0.1 * e, by=lambda job: "printed" if job.experiment else "trusted")
    tree = Bench(workspace, trainer=trainer).run(1)
    assert tree.node(1).verdict is Verdict.PARKED and tree.incumbent == 0
    assert "what the script printed" in tree.node(1).reason


def test_a_trial_that_is_always_starved_fails_as_such_and_no_coder_is_asked_to_mend_it(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: STARVED if e else 1.0)
    coder = ScriptedCoder(one_line)
    bench = Bench(workspace, trainer=trainer, coder=coder)
    tree = bench.run(1)
    assert len([asked for asked in trainer.asked if asked == ("train", 1, 0)]) == 3
    assert tree.node(1).failure == STARVED
    assert len(coder.requests) == 1


def test_a_machine_too_busy_for_the_root_starts_no_campaign(workspace: Path) -> None:
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: STARVED))
    with pytest.raises(RatchetreeError, match=r"too busy to measure the baseline.*starvation = false"):
        bench.run(1)
    bench.trainer = ScriptedTrainer(lambda e, t: 1.0)
    assert bench.run(1).experiments == 1


def test_a_busy_machine_keeps_nobody_from_stopping_before_the_root_is_scored(workspace: Path) -> None:
    busy = True
    starved = Failure(kind=FailureKind.STARVED, message="the neighbours")
    trainer = ScriptedTrainer(lambda e, t: starved if busy else 1.0)
    bench = Bench(workspace, trainer=trainer)
    campaign = bench.campaign(2)
    trainer.on_train = lambda job: campaign.stop("you asked it to")
    assert asyncio.run(campaign.run()) == Outcome(reason="you asked it to", by_user=True)
    bench.journal.close()
    assert [(event.trial, event.run) for event in bench.events() if isinstance(event, Trained)] == [(0, 0)]
    busy, trainer.on_train = False, lambda job: None
    assert bench.run(2).experiments == 2


def test_a_claim_measures_root_and_main_with_new_seeds_and_goes_on_after_a_kill(workspace: Path) -> None:
    spread = (0.0, 0.01, -0.01)
    trainer = ScriptedTrainer(lambda e, t: (0.5 if e else 1.0) + (spread[t % 100] if t >= 1000 else 0.0))
    bench = Bench(workspace, trainer=trainer)
    bench.run(1)

    def kill(job: Job) -> None:
        if trainer.asked.count(("train", 1, 1001)) == 1 and job.trial == 1002:
            raise KeyboardInterrupt

    def claim() -> Claimed:
        campaign = bench.campaign(1)
        try:
            return asyncio.run(campaign.confirm(None, 3))
        finally:
            bench.journal.close()

    trainer.on_train = kill
    with pytest.raises(KeyboardInterrupt):
        claim()
    before = sum(isinstance(event, Repeated) for event in bench.events())
    trainer.on_train = lambda job: None
    claimed = claim()
    assert claimed.node == 1
    assert claimed.validation.gain == pytest.approx(0.5)
    assert claimed.validation.low > 0
    assert claimed.sentence.endswith("the gain is resolved")
    done_before = [event for event in bench.events() if isinstance(event, Repeated)][:before]
    for event in done_before:
        assert trainer.asked.count(("train", event.node, 1000 + event.trial)) == 1
    repeated = [event for event in bench.events() if isinstance(event, Repeated)]
    assert len(repeated) == len({(event.node, event.trial) for event in repeated}) == 6
    assert len({event.seed for event in repeated}) == 6
    assert events_from_git(bench.repository) == bench.events()


def test_there_is_nothing_to_claim_for_the_root_or_for_what_failed(workspace: Path) -> None:
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: CRASH if e == 1 else 1.0))
    bench.run(2)
    for node, says in ((None, "still the root"), (1, "has no score"), (77, "has no score")):
        campaign = bench.campaign(2)
        with pytest.raises(WrongUse, match=says):
            asyncio.run(campaign.confirm(node, 2))
        bench.journal.close()


def test_in_flight_experiments_are_judged_against_main_as_it_is_at_the_decision(workspace: Path) -> None:
    """Both are begun from the root; whichever is judged second must beat the first, not the root."""
    values = {0: 1.0, 1: 0.9, 2: 0.95}
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: values[e]))
    tree = bench.run(2, search={"in_flight": 2})
    assert [tree.node(i).parent for i in (1, 2)] == [0, 0]
    if tree.advances == [0, 1]:
        assert tree.node(2).verdict is Verdict.PARKED
    else:
        assert tree.advances == [0, 2, 1]
    assert bench.problems() == []


# -- what can go wrong with an idea ----------------------------------------------------------------------------------


def test_a_planner_without_an_idea_makes_a_failed_experiment(workspace: Path) -> None:
    class NoIdea:
        async def plan(self, request: PlanRequest) -> PlanReply:
            return PlanReply(outcome=Failure(kind=FailureKind.NO_IDEA, message="nothing left"), call=CALL)

    bench = Bench(workspace, planner=NoIdea())
    tree = bench.run(2)
    assert tree.counts == [0, 0, 0, 0, 2]
    assert tree.node(1).failure == Failure(kind=FailureKind.NO_IDEA, message="nothing left")
    assert tree.node(1).commit is not None
    assert bench.problems() == []


def test_a_patch_that_does_not_apply_gets_one_repair_turn_with_the_exact_error(workspace: Path) -> None:
    bad = Patch(edits=(Edit(path="train.py", old="nowhere to be found", new="x"),))
    coder = ScriptedCoder(lambda r: one_line(r) if r.attempt else bad)
    tree = Bench(workspace, coder=coder).run(1)
    assert tree.node(1).verdict is Verdict.KEPT
    repair = coder.requests[1]
    assert repair.patch == bad
    assert repair.failure is not None
    assert "does not occur" in repair.failure.message


def test_a_second_patch_that_does_not_apply_fails_the_experiment(workspace: Path) -> None:
    bad = Patch(edits=(Edit(path="train.py", old="nowhere to be found", new="x"),))
    coder = ScriptedCoder(lambda r: bad)
    bench = Bench(workspace, coder=coder)
    tree = bench.run(1)
    failure = tree.node(1).failure
    assert failure is not None
    assert failure.kind is FailureKind.NO_PATCH
    assert len(coder.requests) == 2
    assert bench.problems() == []


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (Edit(path="prepare.py", old="", new="x = 1"), FailureKind.OUT_OF_BOUNDS),
        (Edit(path="../evil.py", old="", new="x = 1"), FailureKind.OUT_OF_BOUNDS),
        (Edit(path="train.py", old="def main():", new="def main(:"), FailureKind.SYNTAX),
        (Edit(path="train.py", old="C_A = 1.0", new="C_A = 1.0"), FailureKind.NO_PATCH),
    ],
)
def test_bad_patches_fail_with_their_kind_before_anything_runs(workspace: Path, edit: Edit, kind: FailureKind) -> None:
    trainer = ScriptedTrainer(lambda e, t: 1.0)
    bench = Bench(workspace, trainer=trainer, coder=ScriptedCoder(lambda r: Patch(edits=(edit,))))
    tree = bench.run(1)
    failure = tree.node(1).failure
    assert failure is not None
    assert failure.kind is kind
    assert [asked for asked in trainer.asked if asked[1] == 1] == []
    assert bench.problems() == []


def test_the_same_tree_is_not_tried_twice(workspace: Path) -> None:
    same = Patch(edits=(Edit(path="train.py", old="C_A = 1.0", new="C_A = 3.0"),))
    trainer = ScriptedTrainer(lambda e, t: 1.0 + e)
    tree = Bench(workspace, trainer=trainer, coder=ScriptedCoder(lambda r: same)).run(2)
    failure = tree.node(2).failure
    assert failure is not None
    assert failure.kind is FailureKind.DUPLICATE
    assert failure.message == "the same files as 0001 (idea 1), which was parked"
    assert [asked for asked in trainer.asked if asked[1] == 2] == []


def test_a_crash_gets_one_further_write_turn_with_the_traceback_and_both_attempts_are_kept(
    workspace: Path, git: Git
) -> None:
    crashed: list[int] = []

    def outcome(experiment: int, trial: int) -> float | Failure:
        if experiment == 1 and not crashed:
            crashed.append(1)
            return CRASH
        return 1.0 - 0.1 * experiment

    coder = ScriptedCoder(one_line)
    bench = Bench(workspace, trainer=ScriptedTrainer(outcome), coder=coder)
    tree = bench.run(1)
    assert tree.node(1).verdict is Verdict.KEPT
    assert coder.requests[1].failure == CRASH
    assert "X_1_1" in git(workspace, "show", "refs/ratchetree/0001:train.py")
    assert "X_1_0" in git(workspace, "show", "refs/ratchetree/0001-attempt0:train.py")
    assert bench.problems() == []


def test_a_coder_that_makes_no_repairs_leaves_the_crash_as_the_reason(workspace: Path) -> None:
    no = Failure(kind=FailureKind.NO_PATCH, message="no repairs")
    coder = ScriptedCoder(lambda r: no if r.attempt else one_line(r))
    bench = Bench(workspace, coder=coder, trainer=ScriptedTrainer(lambda e, t: CRASH if e else 1.0))
    tree = bench.run(1)
    assert tree.node(1).failure == CRASH
    assert len(coder.requests) == 2
    assert bench.problems() == []


def test_repairs_can_be_switched_off(workspace: Path) -> None:
    coder = ScriptedCoder(one_line)
    bench = Bench(workspace, coder=coder, trainer=ScriptedTrainer(lambda e, t: CRASH if e else 1.0))
    assert bench.run(1, agents={"repairs": 0}).node(1).failure == CRASH
    assert len(coder.requests) == 1


def test_a_failed_smoke_run_costs_no_trial(workspace: Path) -> None:
    broken = Failure(kind=FailureKind.BUILD, message="build: no")
    trainer = ScriptedTrainer(lambda e, t: 1.0, smoke_outcome=lambda job: broken)
    tree = Bench(workspace, trainer=trainer).run(1)
    assert tree.node(1).failure == broken
    assert ("train", 1, 0) not in trainer.asked


def test_a_failure_of_the_scorer_fails_the_experiment(workspace: Path) -> None:
    broken = Failure(kind=FailureKind.SCORE, message="wrong shape")
    trainer = ScriptedTrainer(lambda e, t: 0.5, score_outcome=lambda job: broken if job.experiment else None)
    tree = Bench(workspace, trainer=trainer).run(1)
    assert tree.node(1).failure == broken
    assert tree.node(1).verdict is Verdict.FAILED


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e200])
def test_a_score_that_is_no_sane_number_is_a_failure(workspace: Path, value: float) -> None:
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: value if e else 1.0))
    failure = bench.run(1).node(1).failure
    assert failure is not None
    assert failure.kind is FailureKind.SCORE
    assert bench.problems() == []


def test_a_confirming_trial_that_crashes_parks_the_node(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: (0.5 if t < 2 else CRASH) if e else 1.0 + 0.01 * t)
    tree = Bench(workspace, preset="default", trainer=trainer).run(1)
    assert tree.node(1).verdict is Verdict.PARKED
    assert "confirming trial failed" in tree.node(1).reason


# -- what can go wrong around it -------------------------------------------------------------------------------------


def test_a_root_that_fails_does_not_start_the_campaign_and_a_mended_one_does(workspace: Path, git: Git) -> None:
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: CRASH))
    with pytest.raises(RatchetreeError, match=r"the baseline failed \(crash: RuntimeError: boom"):
        bench.run(3)
    (workspace / "train.py").write_text((workspace / "train.py").read_text() + "# mended\n")
    git(workspace, "commit", "-qam", "mended")
    bench.trainer = ScriptedTrainer(lambda e, t: 1.0)
    assert bench.run(1).experiments == 1
    assert bench.problems() == []


def test_a_main_that_the_user_moved_before_a_resume_is_named_and_nothing_changes(workspace: Path, git: Git) -> None:
    bench = Bench(workspace)
    bench.run(2)
    expected = git(workspace, "rev-parse", "main")
    git(workspace, "commit", "-q", "--allow-empty", "-m", "mine")
    mine = git(workspace, "rev-parse", "main")
    before = bench.events()
    with pytest.raises(MainMoved, match=f"git update-ref refs/heads/main {expected}"):
        bench.run(4)
    assert git(workspace, "rev-parse", "main") == mine
    assert bench.events() == before
    git(workspace, "update-ref", "refs/heads/main", expected)
    assert bench.run(4).experiments == 4


def test_a_main_that_the_user_moves_during_the_run_stops_it_and_a_resume_finishes_the_move(
    workspace: Path, git: Git
) -> None:
    root = git(workspace, "rev-parse", "main")

    def move(job: Job) -> None:
        if job.experiment == 2:
            git(workspace, "commit", "-q", "--allow-empty", "-m", "mine")

    values = {0: 1.0, 1: 1.1, 2: 0.8}
    bench = Bench(workspace, trainer=ScriptedTrainer(lambda e, t: values.get(e, 2.0), on_train=move))
    with pytest.raises(MainMoved):
        bench.run(3)
    git(workspace, "reset", "-q", "--hard", root)
    bench.trainer = ScriptedTrainer(lambda e, t: values.get(e, 2.0))
    tree = bench.run(3)
    assert tree.node(2).verdict is Verdict.KEPT
    assert bench.problems() == []
    assert ("train", 2, 0) not in bench.trainer.asked


def test_another_metric_or_budget_cannot_continue_a_campaign(workspace: Path) -> None:
    bench = Bench(workspace)
    bench.run(1)
    with pytest.raises(WrongUse, match=r"task\.metric was val_bpb \(min\).* is val_bpb \(max\) now"):
        bench.run(2, task={"metric": {"name": "val_bpb", "direction": "max"}})
    with pytest.raises(WrongUse, match="budget was 300 cpu"):
        bench.run(2, budget={"seconds": 5})


def test_a_stopped_campaign_finishes_the_trial_in_the_air_and_resumes_without_repeating_it(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: (1.0 if e else 1.1) + 0.001 * t)
    bench = Bench(workspace, preset="default", trainer=trainer)
    campaign = bench.campaign(5)

    def stop(job: Job) -> None:
        if (job.experiment, job.trial) == (1, 1):
            campaign.stop("enough")

    trainer.on_train = stop
    outcome = asyncio.run(campaign.run())
    bench.journal.close()
    assert outcome == Outcome(reason="enough", by_user=True)
    assert trainer.asked[-1] == ("score", 1, 1)
    assert campaign.tree.node(1).verdict is None
    trainer.on_train = lambda job: None
    tree = bench.run(5)
    assert tree.counts[1] == 0
    assert len(trainer.asked) == len(set(trainer.asked))
    assert bench.problems() == []


def test_hours_of_training_and_of_the_clock_are_limits(workspace: Path) -> None:
    bench = Bench(workspace)
    tree = bench.run(None, limits={"experiments": 100, "gpu_hours": 3.5 / 3600})
    assert tree.experiments == 3  # the root's second and these three make 4 s of training
    assert bench.outcome.reason == "the limit of 0.000972222 hours of training"
    ticks = iter(range(10**6))
    bench.clock = lambda: 1.8e9 + 60 * next(ticks)
    tree = bench.run(None, limits={"experiments": 100, "hours": 1.0})
    assert 3 < tree.experiments < 60
    assert bench.outcome.reason == "the limit of 1 hours"


def test_an_error_of_the_harness_stops_the_campaign_and_the_next_run_goes_on(workspace: Path) -> None:
    def fail(job: Job) -> None:
        if job.experiment == 2:
            raise OSError(28, "No space left on device")

    trainer = ScriptedTrainer(lambda e, t: 1.0 + e, on_train=fail)
    bench = Bench(workspace, trainer=trainer)
    with pytest.raises(OSError, match="No space left"):
        bench.run(4, search={"in_flight": 3})
    trainer.on_train = lambda job: None
    tree = bench.run(4)
    assert tree.counts == [0, 0, 0, 4, 0]
    assert bench.problems() == []


def test_lost_or_damaged_checkpoints_cost_nothing(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: 1.0)
    bench = Bench(workspace, trainer=trainer)
    campaign = bench.campaign(3)
    trainer.on_train = lambda job: campaign.stop("now") if job.experiment == 2 else None
    asyncio.run(campaign.run())
    bench.journal.close()
    (workspace / ".ratchetree" / "checkpoints.db").write_bytes(b"damaged" * 1000)
    trainer.on_train = lambda job: None
    assert bench.run(3).experiments == 3
    assert bench.problems() == []
    assert len(trainer.asked) == len(set(trainer.asked))


def test_observers_see_every_event_after_it_was_journalled(workspace: Path) -> None:
    class Watcher:
        def __init__(self) -> None:
            self.kinds: list[str] = []

        def event(self, tree: Tree, event: Event) -> None:
            self.kinds.append(event.kind)

        def progress(self, progress: Progress) -> None:
            pass

    watcher = Watcher()
    bench = Bench(workspace, observers=(watcher,))
    bench.run(2)
    assert watcher.kinds == [event.kind for event in bench.events()]


# -- the same story again --------------------------------------------------------------------------------------------


def test_a_journal_rebuilt_from_git_tells_the_same_tree(workspace: Path) -> None:
    values = {1: 0.9, 2: 0.95, 3: CRASH, 4: 0.8, 5: 0.99}
    trainer = ScriptedTrainer(lambda e, t: values.get(e, 1.0))
    bench = Bench(workspace, trainer=trainer)
    tree = bench.run(5)
    rebuilt = replay(events_from_git(bench.repository))
    assert known(list(rebuilt.nodes())) == known(list(tree.nodes()))
    assert list(events_from_git(bench.repository)) == bench.events()


def test_a_rebuilt_journal_remembers_what_was_in_flight(workspace: Path) -> None:
    trainer = ScriptedTrainer(lambda e, t: 1.0)
    bench = Bench(workspace, trainer=trainer)
    campaign = bench.campaign(3)

    def fail(job: Job) -> None:
        if job.experiment == 2:
            raise OSError("killed here")

    trainer.on_train = fail
    with pytest.raises(OSError):
        asyncio.run(campaign.run())
    bench.journal.close()
    events = events_from_git(bench.repository)
    assert replay(events).node(2).commit == campaign.tree.node(2).commit
    SqliteJournal.replace(workspace / ".ratchetree" / "journal.db", events)
    trainer.on_train = lambda job: None
    assert bench.run(3).counts == [0, 0, 0, 3, 0]
    assert bench.problems() == []


SCRIPT = """
import asyncio, json, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import ConstantCoder, ConstantPlanner
from ratchetree.search.campaign import Campaign
from ratchetree.search.experiment import Parts
from ratchetree.search.policies import make_policy
from ratchetree.search.settings import settings_from
from ratchetree.storage.journal import MemoryJournal
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.synthetic import SyntheticTrainer

folder, policy = Path(sys.argv[1]), sys.argv[2]
settings = settings_from({{"search": {{"policy": policy, "in_flight": 1}}, "limits": {{"experiments": 25}}}})
repository = GitRepository(folder, settings.task.editable)
parts = Parts(journal=MemoryJournal(), repository=repository, planner=ConstantPlanner(), coder=ConstantCoder(),
              trainer=SyntheticTrainer(repository.sources), clock=lambda: 1.7e9)
campaign = Campaign(parts=parts, policy=make_policy(policy, {{}}), settings=settings, seed=int(sys.argv[3]),
                    version="0", checkpoints=folder / ".ratchetree-checkpoints")
asyncio.run(campaign.run())
print(json.dumps([(n.id, n.parent, n.verdict, n.title, n.values, n.commit) for n in campaign.tree.nodes()]))
"""


def search_tree(folder: Path, policy: str, *, seed: int, hash_seed: str) -> Any:
    tests = str(Path(__file__).parent.parent)
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(tests=tests), str(folder), policy, str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(said.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["beam", "random"])
def test_the_same_seed_grows_the_same_tree_under_any_hash_seed(workspace: Path, tmp_path: Path, policy: str) -> None:
    import shutil

    trees = []
    for i, (seed, hash_seed) in enumerate(((1, "0"), (1, "4711"), (2, "0"))):
        folder = tmp_path / f"copy {i}"
        shutil.copytree(workspace, folder)
        trees.append(search_tree(folder, policy, seed=seed, hash_seed=hash_seed))
    assert trees[0] == trees[1]
    assert trees[0] != trees[2]
    assert len(trees[0]) == 26


def test_synthetic_campaigns_find_improvements(workspace: Path, constant_agents: tuple[Planner, Coder]) -> None:
    planner, coder = constant_agents
    bench = Bench(workspace, policy="beam", planner=planner, coder=coder, preset="default")
    bench.trainer = SyntheticTrainer(GitRepository(workspace, ("train.py",)).sources)
    tree = bench.run(60, search={"in_flight": 4})
    assert tree.counts[1] == 0
    assert len(tree.advances) > 1
    assert tree.loss[tree.incumbent] < tree.loss[0]
    assert bench.problems() == []
    decided = [event for event in bench.events() if isinstance(event, Judged)]
    assert len(decided) == 61
    assert sum(isinstance(event, Selected | Planned) for event in bench.events()) == 120
