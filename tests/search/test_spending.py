"""What model calls cost: sums, unknown prices, and the reserve that limits keep."""

from __future__ import annotations

import json

import pytest

from ratchetree.search.events import Called, Event, Judged, Planned, Selected, Written, decode, encode
from ratchetree.search.model import Expansion, ExpansionKind, Failure, FailureKind, ModelCall, Verdict
from ratchetree.search.spending import Spending

NOTHING = Failure(kind=FailureKind.NO_IDEA, message="")


def called(experiment: int, dollars: float | None, tokens: int = 100, purpose: str = "plan") -> Called:
    call = ModelCall(backend="claude", model="m", input_tokens=tokens - 10, output_tokens=10, dollars=dollars)
    event = Called(time=0.0, experiment=experiment, purpose="plan", attempt=0, call=call, reply="{}")
    return event if purpose == "plan" else Called(**{**_fields(event), "purpose": "write"})


def _fields(event: Called) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


def planned(experiment: int, call: ModelCall) -> Planned:
    return Planned(time=0.0, experiment=experiment, parent=0, asked=ExpansionKind.IMPROVE, outcome=NOTHING, call=call)


def selected(experiment: int) -> Selected:
    return Selected(time=0.0, experiment=experiment, options=(Expansion(node=0),))


def judged(experiment: int) -> Judged:
    return Judged(time=0.0, experiment=experiment, verdict=Verdict.FAILED, reason="", against=0)


def spent(*events: Event) -> Spending:
    spending = Spending()
    for event in events:
        spending.observe(event)
    return spending


def test_calls_are_added_up_by_experiment_and_the_summary_counts_for_nothing() -> None:
    summary = ModelCall(backend="claude", model="m", dollars=0.0, seconds=9.0)
    spending = spent(called(1, 0.5), called(1, 0.25), planned(1, summary), called(2, 1.0))
    assert (spending.total.dollars, spending.total.tokens, spending.total.calls) == (1.75, 300, 3)
    assert (spending.of(1).dollars, spending.of(2).dollars, spending.of(3).dollars) == (0.75, 1.0, 0.0)
    assert spending.total.seconds == 0.0


def test_an_unknown_price_makes_the_sum_unknown_and_never_smaller() -> None:
    spending = spent(called(1, 0.5), called(2, None))
    assert spending.total.dollars is None
    assert (spending.total.priced, spending.total.unpriced) == (0.5, 1)
    command = spent(
        called(1, 0.5), planned(1, ModelCall(backend="claude", model="m", dollars=0.0)), _written(1, "codex")
    )
    assert command.total.dollars is None, "what a command costs is not known, also beside a model that has a price"
    assert spent(planned(1, ModelCall(backend="offline"))).total.dollars == 0.0


def _written(experiment: int, model: str) -> Written:
    return Written(
        time=0.0,
        experiment=experiment,
        attempt=0,
        patch=None,
        failure=NOTHING,
        digest="",
        lines_added=0,
        lines_removed=0,
        call=ModelCall(backend="command", model=model),
    )


def test_a_limit_keeps_what_the_experiments_in_the_air_may_still_cost() -> None:
    # The dearest experiment so far cost $1.00 and 100 tokens, so each may cost $1.50 and 150; 2 has used up $0.40 and
    # 40 of that, 3 nothing yet.
    spending = spent(called(1, 1.0), judged(1), called(2, 0.4, 40), selected(3))
    # 1.40 spent; 1.10 and 1.50 still to come, and 1.50 for one more: 5.50
    assert spending.room(tokens=None, dollars=5.5) is None
    assert spending.room(tokens=None, dollars=5.49) == "the limit of 5.49 dollars"
    # 140 spent; 110 and 150 still to come, and 150 for one more: 550
    assert spending.room(tokens=550, dollars=None) is None
    assert spending.room(tokens=549, dollars=None) == "the limit of 549 tokens"
    assert spending.room(tokens=None, dollars=None) is None


def test_before_anything_is_known_a_campaign_may_begin_but_not_when_the_limit_is_reached() -> None:
    assert spent().room(tokens=1, dollars=0.01) is None
    assert spent(called(1, 0.01, 10)).room(tokens=10, dollars=None) == "the limit of 10 tokens"


def test_journals_of_the_first_version_are_still_read() -> None:
    event = planned(1, ModelCall(backend="offline", seconds=0.5))
    body = json.loads(encode(event))
    body["call"] = {"backend": "offline", "seconds": 0.5, "model": ""}
    assert decode(json.dumps(body)) == event
    assert event.call.cost == 0.0


@pytest.mark.parametrize("event", [called(1, None), called(2, 0.125)])
def test_a_call_comes_back_from_the_journal_as_it_was(event: Called) -> None:
    assert decode(encode(event)) == event
