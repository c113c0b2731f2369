"""The tree is a replay of events: columns, scores, and what a prefix of the events means."""

import math
from collections.abc import Callable, Iterator

import pytest

from ratchetree.search.events import (
    CampaignStarted,
    Committed,
    Event,
    Judged,
    Planned,
    Scored,
    Selected,
    Settled,
    Trained,
    Written,
    decode,
    encode,
)
from ratchetree.search.memory import Memory
from ratchetree.search.model import (
    Edit,
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    Patch,
    Score,
    ScoreReport,
    TrialReport,
    Verdict,
)
from ratchetree.search.tree import Tree, replay

MACHINE = Machine(host="h", cpu="c", cpus=1, memory_gb=1.0)
CALL = ModelCall(backend="test")
REPORT = TrialReport(startup_seconds=1.0, train_seconds=10.0, cpu_seconds=10.0, peak_memory_mb=100.0)


def started(direction: str = "min") -> CampaignStarted:
    return CampaignStarted(
        time=0.0,
        version="0",
        seed=1,
        metric=Metric(name="val_bpb", direction=direction),  # type: ignore[arg-type]
        root_commit="0" * 40,
        root_digest="root",
        policy="beam",
        preset="default",
        settings="{}",
        machine=MACHINE,
    )


def trial(experiment: int, index: int, value: float, time: float = 0.0) -> list[Event]:
    return [
        Trained(time=time, experiment=experiment, trial=index, seed=1, seconds=11.0, outcome=REPORT),
        Scored(time=time, experiment=experiment, trial=index, seconds=2.0, outcome=ScoreReport(value=value)),
    ]


def root(*values: float, direction: str = "min") -> list[Event]:
    events: list[Event] = [started(direction)]
    for index, value in enumerate(values):
        events += trial(0, index, value)
    events.append(Judged(time=0.0, experiment=0, verdict=Verdict.KEPT, reason="the root", against=0))
    events.append(Settled(time=0.0, experiment=0, main="0" * 40, branch=None))
    return events


def idea(title: str = "an idea", category: str = "optimizer") -> Idea:
    return Idea(title=title, hypothesis="h", mechanism="m", category=category, brief=title)


def begin(experiment: int, parent: int, title: str = "an idea") -> list[Event]:
    return [
        Selected(time=1.0, experiment=experiment, options=(Expansion(node=parent),)),
        Planned(
            time=1.0,
            experiment=experiment,
            parent=parent,
            asked=ExpansionKind.IMPROVE,
            outcome=idea(title),
            call=CALL,
        ),
        Written(
            time=1.0,
            experiment=experiment,
            attempt=0,
            patch=Patch(edits=(Edit(path="train.py", old="a", new="b"),)),
            failure=None,
            digest=f"files of {experiment}",
            lines_added=2,
            lines_removed=1,
            call=CALL,
        ),
        Committed(time=1.0, experiment=experiment, attempt=0, commit=f"{experiment:040d}"),
    ]


def judge(experiment: int, verdict: Verdict, against: int = 0, failure: Failure | None = None) -> Judged:
    return Judged(time=2.0, experiment=experiment, verdict=verdict, reason="r", against=against, failure=failure)


def test_the_root_has_the_mean_of_all_its_trials_and_gives_the_first_noise() -> None:
    tree = replay(root(1.0, 1.2, 1.1))
    node = tree.node(0)
    assert node.score == Score(mean=pytest.approx(1.1), sd=pytest.approx(0.1), n=3)
    assert tree.noise == pytest.approx(0.1)
    assert tree.noise_freedom == 2
    assert node.verdict is Verdict.KEPT
    assert tree.experiments == 0
    assert node.title == "root"


def test_one_trial_has_no_spread_and_no_noise() -> None:
    tree = replay(root(1.0))
    assert tree.node(0).score == Score(mean=1.0, sd=None, n=1)
    assert tree.noise is None


def test_the_screening_trial_drops_out_of_the_score_when_a_confirming_trial_comes() -> None:
    events = [*root(1.0, 1.2, 1.1), *begin(1, 0), *trial(1, 0, 0.5)]
    tree = replay(events)
    assert tree.node(1).score == Score(mean=0.5, sd=None, n=1)
    for event in [*trial(1, 1, 0.9), *trial(1, 2, 1.0)]:
        tree.apply(event)
    node = tree.node(1)
    assert node.values == (0.5, 0.9, 1.0)
    assert node.score == Score(mean=pytest.approx(0.95), sd=pytest.approx(math.sqrt(0.005)), n=2)
    # pooled: the root's squares 0.02 with 2 degrees of freedom, these 0.005 with 1
    assert tree.noise == pytest.approx(math.sqrt(0.025 / 3))


def test_a_kept_node_is_the_incumbent_from_its_verdict_on() -> None:
    tree = replay([*root(1.0), *begin(1, 0), *trial(1, 0, 0.9)])
    assert tree.incumbent == 0
    tree.apply(judge(1, Verdict.KEPT))
    assert tree.incumbent == 1
    assert tree.advances == [0, 1]
    assert tree.node(1).main is None
    tree.apply(Settled(time=3.0, experiment=1, main="c" * 40, branch=None))
    assert tree.node(1).main == "c" * 40
    assert tree.node(1).ended == 3.0


def test_attempts_and_in_flight_follow_the_planners_choice_of_parent() -> None:
    tree = replay([*root(1.0), *begin(1, 0), *trial(1, 0, 1.1), judge(1, Verdict.PARKED)])
    tree.apply(Selected(time=1.0, experiment=2, options=(Expansion(node=0), Expansion(node=1))))
    assert (tree.attempts[0], tree.in_flight[0], tree.depth[2]) == (2, 1, 1)
    planned = Planned(time=1.0, experiment=2, parent=1, asked=ExpansionKind.IMPROVE, outcome=idea("b"), call=CALL)
    tree.apply(planned)
    assert (tree.attempts[0], tree.in_flight[0]) == (1, 0)
    assert (tree.attempts[1], tree.in_flight[1], tree.depth[2]) == (1, 1, 2)
    tree.apply(judge(2, Verdict.FAILED, failure=Failure(kind=FailureKind.CRASH, message="boom")))
    assert (tree.attempts[1], tree.in_flight[1]) == (1, 0)
    assert tree.node(2).failure == Failure(kind=FailureKind.CRASH, message="boom")
    assert not tree.is_expandable(2)
    assert tree.path(2) == [0, 1, 2]


def test_counts_leave_the_root_out() -> None:
    events = [*root(1.0)]
    for experiment, verdict in ((1, Verdict.KEPT), (2, Verdict.PARKED), (3, Verdict.FAILED)):
        events += [*begin(experiment, 0), judge(experiment, verdict)]
    events += begin(4, 0)
    tree = replay(events)
    assert tree.counts == [0, 1, 1, 1, 1]
    assert tree.experiments == 4
    assert len(tree) == 5
    assert tree.next_id == 5


def test_seconds_add_up_over_trials_and_scoring() -> None:
    tree = replay([*root(1.0), *begin(1, 0), *trial(1, 0, 0.9), *trial(1, 1, 0.9)])
    assert tree.node(1).seconds == 26.0
    assert tree.train_seconds == 30.0


def test_maximised_metrics_have_mirrored_losses() -> None:
    low = replay([*root(1.0, 1.2), *begin(1, 0), *trial(1, 0, 0.9)])
    high = replay([*root(-1.0, -1.2, direction="max"), *begin(1, 0), *trial(1, 0, -0.9)])
    assert list(low.loss[:2]) == list(high.loss[:2])
    assert high.node(1).score == Score(mean=-0.9, sd=None, n=1)
    assert high.metric.gain(-1.1, -0.9) == pytest.approx(0.2)
    assert low.metric.gain(1.1, 0.9) == pytest.approx(0.2)


def test_events_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="0001 before it was begun"):
        replay([*root(1.0), judge(1, Verdict.PARKED)])
    with pytest.raises(ValueError, match="begins experiment 0001 twice"):
        replay([*root(1.0), *begin(1, 0), *begin(1, 0)])


def all_events() -> Iterator[Event]:
    yield from root(1.0, 1.1)
    yield from begin(1, 0)
    yield from trial(1, 0, 0.9)
    yield judge(1, Verdict.KEPT)
    yield Settled(time=3.0, experiment=1, main="c" * 40, branch=None)
    yield from begin(2, 1)
    yield Trained(
        time=3.0,
        experiment=2,
        trial=0,
        seed=1,
        seconds=1.0,
        outcome=Failure(kind=FailureKind.CRASH, message="m", detail="d"),
    )


def test_every_event_survives_its_json() -> None:
    for event in all_events():
        assert decode(encode(event)) == event


def test_what_is_no_event_is_refused() -> None:
    for body in ("", "{}", "[]", '{"kind":"unheard_of"}', encode(started())[:-5]):
        with pytest.raises(ValueError):
            decode(body)


def test_a_chain_of_a_hundred_thousand_nodes_is_replayed_and_walked_without_recursion() -> None:
    tree = replay(root(1.0))
    for experiment in range(1, 100_001):
        tree.apply(Selected(time=1.0, experiment=experiment, options=(Expansion(node=experiment - 1),)))
        tree.apply(judge(experiment, Verdict.KEPT))
    assert tree.depth[100_000] == 100_000
    assert len(tree.path(100_000)) == 100_001
    assert len(tree.advances) == 100_001


def observe(memory: Memory) -> Callable[[Tree, Event], None]:
    def both(tree: Tree, event: Event) -> None:
        tree.apply(event)
        memory.observe(tree, event)

    return both


def test_memory_counts_what_became_of_an_idea_on_any_parent() -> None:
    tree, memory = Tree(), Memory()
    take = observe(memory)
    for event in [*root(1.0), *begin(1, 0, "raise LR"), *trial(1, 0, 0.9)]:
        take(tree, event)
    assert memory.brief("raise LR").in_flight == 1
    assert memory.tried_on(0) == {"raise LR"}
    take(tree, judge(1, Verdict.KEPT))
    for event in [*begin(2, 1, "raise LR"), *trial(2, 0, 0.95), judge(2, Verdict.PARKED)]:
        take(tree, event)
    for event in [*begin(3, 1, "raise LR"), judge(3, Verdict.FAILED)]:
        take(tree, event)
    record = memory.brief("raise LR")
    assert (record.tried, record.improved, record.kept, record.failed, record.in_flight) == (3, 1, 1, 1, 0)
    assert memory.categories["optimizer"].tried == 3
    assert memory.brief("never heard of").tried == 0
    assert memory.tried_on(2) == frozenset()
