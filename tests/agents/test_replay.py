"""A recorded campaign speaks again, whatever the order in which its experiments end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ratchetree.agents.replay import RecordedOrder, Recording, ReplayCoder, ReplayPlanner
from ratchetree.search.events import Called, Event, Planned, Selected, Written
from ratchetree.search.model import Edit, Expansion, ExpansionKind, Failure, FailureKind, Idea, ModelCall, Patch
from ratchetree.search.ports import CallLog, Plan

CALL = ModelCall(backend="claude", model="m")
PATCH = Patch(edits=(Edit(path="train.py", old="A = 1", new="A = 2"),))
NOTHING: Failure | None = None


def idea(title: str) -> Idea:
    return Idea(title=title, hypothesis="", mechanism="", category="c", brief=title)


def selected(experiment: int, *nodes: int) -> Selected:
    return Selected(time=0.0, experiment=experiment, options=tuple(Expansion(node=node) for node in nodes))


def called(experiment: int, purpose: Any, reply: str, attempt: int = 0) -> Called:
    return Called(time=0.0, experiment=experiment, purpose=purpose, attempt=attempt, call=CALL, reply=reply)


def planned(experiment: int, parent: int, outcome: Idea | Failure) -> Planned:
    kind = ExpansionKind.IMPROVE
    return Planned(time=0.0, experiment=experiment, parent=parent, asked=kind, outcome=outcome, call=CALL)


def written(experiment: int, patch: Patch | None, failure: Failure | None, attempt: int = 0) -> Written:
    return Written(
        time=0.0,
        experiment=experiment,
        attempt=attempt,
        patch=patch,
        failure=failure,
        digest="d",
        lines_added=1,
        lines_removed=1,
        call=CALL,
    )


class Seven:
    """A policy of one mind."""

    def observe(self, tree: Any, event: Event) -> None:
        pass

    def rank(self, tree: Any, k: int, rng: random.Random) -> list[Expansion]:
        return [Expansion(node=7)]


@pytest.fixture
def grown(world: Callable[[str], Any]) -> Any:
    return world("A = 1\n")


def test_replies_of_one_experiment_are_journalled_again_byte_for_byte_and_once(grown: Any) -> None:
    events: list[Event] = [called(2, "plan", "x"), called(1, "plan", "a"), called(1, "plan", "b")]
    events += [planned(2, 0, idea("two")), planned(1, 0, idea("one")), called(1, "write", "w", attempt=1)]
    heard: list[str] = []
    log = CallLog(experiment=1, replies=("a",), record=lambda call, reply: heard.append(reply))
    request = replace(grown.request(0), experiment=1, calls=log)
    outcome = asyncio.run(ReplayPlanner(Recording(events)).plan(request)).outcome
    assert (outcome, heard) == (Plan(option=0, idea=idea("one")), ["b"])


def test_the_recorded_parent_is_taken_wherever_it_stands_among_the_options(grown: Any) -> None:
    grown.grow("A = 2\n", idea=idea("two"))
    planner = ReplayPlanner(Recording([planned(2, 1, idea("on one"))]))
    outcome = asyncio.run(planner.plan(grown.request(0, 1))).outcome
    assert outcome == Plan(option=1, idea=idea("on one"))
    missing = asyncio.run(planner.plan(grown.request(0))).outcome
    assert isinstance(missing, Failure)
    assert "0002 set out from 0001" in missing.message


def test_attempts_have_their_own_patches_and_failures(grown: Any) -> None:
    failure = Failure(kind=FailureKind.NO_PATCH, message="no")
    coder = ReplayCoder(Recording([written(1, PATCH, NOTHING), written(1, None, failure, attempt=1)]))
    outcomes = [asyncio.run(coder.write(grown.writing(idea("t"), attempt=attempt))).outcome for attempt in (0, 1, 2)]
    assert outcomes[:2] == [PATCH, failure]
    assert isinstance(outcomes[2], Failure)
    assert "nothing more of experiment 0001" in outcomes[2].message


def test_options_come_when_all_is_judged_that_was_judged_then_and_later_ones_from_the_policy(grown: Any) -> None:
    recorded = Recording([])
    recorded.selected = {3: selected(3, 2, 0)}
    recorded.judged, recorded.judged_before = [2, 1], {3: 1}
    policy = RecordedOrder(Seven(), recorded)

    def ranked() -> list[int]:
        return [expansion.node for expansion in policy.rank(grown.tree, 3, random.Random(1))]

    first, second = grown.begin(idea("one")), grown.begin(idea("two"))
    assert ranked() == []
    grown.end(second, loss=0.9)
    assert ranked() == [2, 0], "the first was not judged when the recorded options were drawn up"
    grown.end(first, loss=0.8)
    grown.begin(idea("three"))
    assert ranked() == [7], "beyond the recording the other policy decides"
