"""The planner's pick against the policy's own."""

from ratchetree.search.events import CampaignStarted, Event, Judged, Planned, Scored, Selected
from ratchetree.search.model import (
    Expansion,
    ExpansionKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    ScoreReport,
    Verdict,
)
from ratchetree.search.picks import planner_picks


def scored(node: int, value: float) -> Scored:
    return Scored(time=0.0, experiment=node, trial=0, seconds=0.0, outcome=ScoreReport(value=value))


def begun() -> list[Event]:
    started = CampaignStarted(
        time=0.0,
        version="0",
        seed=1,
        metric=Metric(),
        root_commit="r",
        root_digest="r",
        policy="p",
        preset="naive",
        settings="{}",
        machine=Machine(host="h", cpu="c", cpus=1, memory_gb=1.0),
    )
    return [started, scored(0, 1.0), Judged(time=0.0, experiment=0, verdict=Verdict.KEPT, reason="", against=0)]


def experiment(node: int, options: tuple[int, ...], parent: int, value: float, *, kept: bool) -> list[Event]:
    idea = Idea(title="t", hypothesis="", mechanism="", category="c", brief=str(node))
    asked, call = ExpansionKind.IMPROVE, ModelCall(backend="t")
    verdict = Verdict.KEPT if kept else Verdict.PARKED
    return [
        Selected(time=0.0, experiment=node, options=tuple(Expansion(node=option) for option in options)),
        Planned(time=0.0, experiment=node, parent=parent, asked=asked, outcome=idea, call=call),
        scored(node, value),
        Judged(time=0.0, experiment=node, verdict=verdict, reason="", against=0),
    ]


def test_a_planner_that_was_given_no_choice_is_not_judged() -> None:
    report = planner_picks([*begun(), *experiment(1, (0,), 0, 0.9, kept=True)])
    assert report.agreed.judged == report.overruled.judged == 0
    assert "never given a choice" in report.sentence()


def test_an_overruled_pick_is_held_against_what_the_passed_over_node_brought_to_others() -> None:
    events = [
        *begun(),
        *experiment(1, (0,), 0, 1.1, kept=False),
        *experiment(2, (0, 1), 0, 0.9, kept=True),  # agreed, kept
        *experiment(3, (2, 1), 1, 1.2, kept=False),  # overruled: 2 is passed over for 1, and nothing comes of it
        *experiment(4, (2, 1), 2, 0.8, kept=True),  # agreed, kept
        *experiment(5, (2,), 2, 0.95, kept=False),  # no choice, but it counts for what 2 brings: 1 of 2
        *experiment(6, (5, 1), 1, 1.0, kept=False),  # overruled, improved; nothing ever went on from 5
    ]
    report = planner_picks(events)
    assert (report.agreed.judged, report.agreed.kept) == (2, 2)
    assert (report.overruled.judged, report.overruled.improved, report.overruled.kept) == (2, 1, 0)
    assert (report.covered, report.covered_improved, report.covered_kept) == (1, 0, 0)
    assert (report.passed_over_improved, report.passed_over_kept) == (0.5, 0.5)
    assert "another in 2 (0 kept)" in report.sentence()


def test_another_kind_at_the_same_node_is_overruled_but_passes_no_node_over() -> None:
    invest = Expansion(node=0, kind=ExpansionKind.INVEST)
    events = experiment(1, (0, 0), 0, 1.1, kept=False)
    events[0] = Selected(time=0.0, experiment=1, options=(invest, Expansion(node=0)))
    report = planner_picks([*begun(), *events])
    assert (report.agreed.judged, report.overruled.judged, report.covered) == (0, 1, 0)
