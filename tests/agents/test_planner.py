"""The model-backed planner over a speaker that says what it is told to, on trees that grow as a campaign's do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

import pytest

from ratchetree.agents.digest import history, tokens_of
from ratchetree.agents.fencing import unfenced
from ratchetree.agents.planner import PLATEAU, REPLIES, ModelPlanner
from ratchetree.agents.scripted import ScriptedSpeaker as Said
from ratchetree.agents.scripted import text_reply as text
from ratchetree.search.model import (
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Knob,
    SetbackContract,
)
from ratchetree.search.ports import CallLog, Plan, PlanReply, PlanRequest

PLAN: dict[str, Any] = {
    "option": 1,
    "operator": "refine",
    "source": None,
    "title": "a larger A",
    "hypothesis": "h",
    "mechanism": "m",
    "category": "optimizer",
    "brief": "Set A to 3.",
    "expected_change": 0.0,
    "contract": None,
    "knobs": [],
}
SCRIPT = "A = 1\nB = 0.5\n\n\ndef main():\n    return A + B\n"


@pytest.fixture
def grown(world: Callable[[str], Any]) -> Any:
    return world(SCRIPT)


def idea(title: str = "t", **values: Any) -> Idea:
    return Idea(**{"title": title, "hypothesis": "h", "mechanism": "m", "category": "c", "brief": title} | values)


def plan(**values: Any) -> str:
    return json.dumps(PLAN | values)


def ask(speaker: Said, request: PlanRequest, **others: Any) -> PlanReply:
    return asyncio.run(ModelPlanner(speaker, **others).plan(request))


def test_a_plan_names_an_option_and_what_to_try_there(grown: Any) -> None:
    speaker = Said(plan())
    reply = ask(speaker, grown.request(0))
    assert isinstance(reply.outcome, Plan)
    assert (reply.outcome.option, reply.outcome.idea.brief) == (0, "Set A to 3.")
    [prompt] = speaker.prompts
    assert prompt.schema is not None
    assert "Make it better." in prompt.system
    assert ("train.py", SCRIPT) in unfenced(speaker.last_words)


def test_a_reply_that_is_no_plan_gets_a_second_try_with_the_reason(grown: Any) -> None:
    speaker = Said("Let me think.", plan(option=7), plan())
    reply = ask(speaker, grown.request(0))
    assert isinstance(reply.outcome, Plan)
    assert "option 7 does not exist" in speaker.last_words
    assert [m["role"] for m in speaker.prompts[-1].messages] == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "empty"),
        ("nothing to say", "no JSON"),
        (text("I cannot help with that.", "refusal"), "refused"),
        (text('{"option": 1, "opera', "max_tokens"), "cut off"),
    ],
)
def test_what_stays_no_plan_is_a_failure(grown: Any, reply: Any, why: str) -> None:
    speaker = Said(*[reply] * REPLIES)
    outcome = ask(speaker, grown.request(0)).outcome
    assert isinstance(outcome, Failure)
    assert (outcome.kind, why in outcome.message) == (FailureKind.NO_IDEA, True)


def test_what_was_tried_or_is_in_flight_is_not_proposed_again(grown: Any) -> None:
    grown.end(grown.begin(idea("old", brief="Set A to 3.")), loss=1.1)
    grown.begin(idea("flying", brief="Set B to one hundred and five in all the places where it stands today"))
    near = "Set B to one hundred and five in all the places where it stands today"
    speaker = Said(plan(), plan(brief=near.upper()), plan(brief="Set A to 4."))
    outcome = ask(speaker, grown.request(0)).outcome
    assert isinstance(outcome, Plan)
    assert outcome.idea.brief == "Set A to 4."
    first, second = (p.messages[-1]["content"][0]["text"] for p in speaker.prompts[1:])
    assert "was tried there already: 0001 parked (on 0000, c): old" in first
    assert "0002 is trying almost the same right now: flying" in second


def test_a_brief_that_lost_elsewhere_comes_back_only_as_a_retry(grown: Any) -> None:
    other = grown.grow(SCRIPT.replace("B = 0.5", "B = 0.6"), idea=idea("other"), loss=0.9)
    lost = grown.grow(SCRIPT.replace("A = 1", "A = 3"), idea=idea("three", brief="Set A to 3."), parent=other, loss=1.2)
    speaker = Said(plan(), plan(operator="retry", source=lost))
    outcome = ask(speaker, grown.request(0)).outcome
    assert isinstance(outcome, Plan)
    assert (outcome.idea.operator, outcome.idea.source) == ("retry", lost)
    assert f"lost on another node; only a retry may take it up, with a reason: {lost:04d} parked" in speaker.last_words


def test_the_history_says_in_words_what_is_better_and_what_may_be_chance(grown: Any) -> None:
    grown.tree._stated_noise = 0.02
    grown.tree.trials[0] = 3
    for at, loss in ((2, 0.9), (4, 0.99)):
        told = idea(f"A {at}", hypothesis=f"{at} is more")
        node = grown.grow(SCRIPT.replace("A = 1", f"A = {at}"), idea=told, loss=loss)
        grown.score(node, loss)
    grown.tree.trials[0] = 3
    shown = history(grown.request(0), 5000)
    assert "0001 parked (on 0000, c): A 2; val_bpb 0.9, 0.1 better than its parent; why: 2 is more" in shown
    assert "val_bpb 0.99, 0.01 better (may be noise) than its parent" in shown
    assert "A: 1 → 2: 0.1 better (0001); 1 → 4: 0.01 better (may be noise) (0002)" in shown
    assert "category c: 2 tried, 2 better than their parent (at most by 0.1 val_bpb), 0 kept, 0 failed" in shown


def test_recorded_replies_are_not_asked_for_again(grown: Any) -> None:
    speaker, recorded = Said(plan()), [text("no plan").encode()]
    request = changed(grown.request(0), calls=CallLog(replies=tuple(recorded)))
    assert isinstance(ask(speaker, request).outcome, Plan)
    assert len(speaker.prompts) == 1


def test_a_plateau_changes_what_is_asked_for(grown: Any) -> None:
    for i in range(PLATEAU):
        assert ("small steps have stopped" in asked(grown)) is False
        grown.end(grown.begin(idea(f"t{i}")), loss=1.5)
    assert f"Main has not moved for {PLATEAU} experiments" in asked(grown)


def asked(grown: Any, *nodes: int, **others: Any) -> str:
    speaker = Said(plan(brief="x y z"))
    ask(speaker, grown.request(*nodes, **others))
    return speaker.last_words


def test_the_policys_reason_and_the_differences_are_shown(grown: Any) -> None:
    grown.texts[1] = SCRIPT.replace("A = 1", "A = 2")
    grown.end(grown.begin(idea("two")), loss=1.2)
    words = asked(grown, 0, 1, kind=ExpansionKind.INVEST)
    assert "## Option 1: node 0000, a setback under contract is welcome" in words
    assert "This is main." in words
    assert "-A = 1\n+A = 2" in words
    grown.end(grown.begin(idea("crash")), loss=None)
    assert "it failed: mend it" in asked(grown, 2, kind=ExpansionKind.REPAIR)


def test_the_history_has_what_happened(grown: Any) -> None:
    contract = SetbackContract(expected_dip=0.1, max_dip=0.2, horizon=5)
    first = grown.begin(idea("dip", category="architecture", contract=contract, expected_change=0.1))
    grown.end(first, loss=1.05)
    grown.begin(idea("on the dip", operator="refine"), parent=first)
    grown.end(grown.begin(idea("bad\x1b[31m\nnews")), loss=None)
    shown = history(grown.request(0), 5000)
    assert "0002 (on 0001, c): on the dip" in shown
    assert "max_dip" not in shown
    assert "may be 0.2 worse than main, 4 of 5 experiments left" in shown
    assert "category architecture: 1 tried, 0 better than their parent" in shown
    assert "0003 failed (on 0000, c): bad news" in shown


def test_no_experiment_is_told_of_twice_but_for_what_is_open(grown: Any) -> None:
    contract = SetbackContract(expected_dip=0.1, max_dip=0.2, horizon=5)
    for i in range(6):
        grown.end(grown.begin(idea(f"t{i}", contract=contract if i == 5 else None)), loss=1.0 + i / 100)
    grown.begin(idea("flying"), parent=1)
    shown = history(grown.request(0), 5000)
    assert [sum(line.startswith(f"{node:04d} ") for line in shown.splitlines()) for node in range(1, 8)] == [
        *[1] * 5,
        2,  # it has an open contract
        1,
    ]


@pytest.mark.parametrize("budget", [500, 4000, 12_000])
def test_the_history_of_ten_thousand_nodes_stays_within_its_budget(grown: Any, budget: int) -> None:
    for i in range(10_000):
        parent = i // 2
        node = grown.begin(idea(f"step {i} ünd mehr", category=f"kind{i % 300}", operator="refine"), parent=parent)
        if i < 9_990:
            grown.end(node, loss=None if i % 7 == 0 else 1.0 + (i % 91) / 100)
            grown.tree.loss[node] = 1.0 + (i % 91) / 100
    shown = history(grown.request(0, 4000, 17), budget)
    assert tokens_of(shown) <= budget
    assert tokens_of(shown) > 0.7 * min(budget, 8000)
    assert shown == history(grown.request(0, 4000, 17), budget)


class TestTuning:
    """The operator that hands constants to Optuna."""

    KNOBS = ({"name": "B", "low": 0.1, "high": 2.0, "log": True},)

    def begin(self, grown: Any) -> Plan:
        outcome = ask(Said(plan(operator="tune", knobs=list(self.KNOBS))), grown.request(0)).outcome
        assert isinstance(outcome, Plan)
        return outcome

    def test_the_planner_begins_a_study_and_the_rest_costs_nothing(self, grown: Any) -> None:
        outcome = self.begin(grown)
        assert outcome.idea.knobs == (Knob(name="B", low=0.1, high=2.0, log=True),)
        briefs = [outcome.idea.brief]
        head = grown.begin(outcome.idea)
        for turn in range(5):
            grown.end(head + turn, loss=1.0 - 0.01 * turn)
            reply = ask(Said(), grown.request(0, seed=turn + 1))
            assert isinstance(reply.outcome, Plan)
            assert (reply.call.backend, reply.call.cost) == ("tune", 0.0)
            assert reply.outcome.idea.source == head
            briefs.append(reply.outcome.idea.brief)
            grown.begin(reply.outcome.idea)
        assert len(set(briefs)) == 6
        assert all(brief.startswith("set B = ") for brief in briefs)
        assert isinstance(ask(Said(), grown.request(0)).outcome, Failure), "six are enough: a model is asked again"

    def test_the_same_journal_gives_the_same_values(self, grown: Any, world: Any) -> None:
        assert self.begin(grown).idea.brief == self.begin(world(SCRIPT)).idea.brief

    def test_a_constant_that_is_not_there_is_refused_with_the_reason(self, grown: Any) -> None:
        speaker = Said(plan(operator="tune", knobs=[{"name": "Z", "low": 1, "high": 2}]), plan())
        assert isinstance(ask(speaker, grown.request(0)).outcome, Plan)
        assert "no single top-level line gives a number to Z" in speaker.last_words
