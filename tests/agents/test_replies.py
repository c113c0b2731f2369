"""What a planner may say, and what becomes of it: never a guess, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.agents.replies import parse_plan
from ratchetree.search.model import Expansion, ExpansionKind, Failure, FailureKind, Knob, SetbackContract
from ratchetree.search.ports import Option, Plan
from ratchetree.search.tree import Tree

OPTIONS = (
    Option(expansion=Expansion(node=0), sources=()),
    Option(expansion=Expansion(node=3, kind=ExpansionKind.TRANSPLANT, source=2), sources=()),
)
PLAN: dict[str, Any] = {
    "option": 1,
    "operator": "refine",
    "source": None,
    "title": "five layers",
    "hypothesis": "More layers compose more.",
    "mechanism": "one more block",
    "category": "Architecture",
    "brief": "Set DEPTH to 5.",
    "expected_change": -0.01,
    "contract": None,
    "knobs": [],
}


class KnownNodes(Tree):
    """A tree that has the nodes 0 to 4."""

    def __contains__(self, node: object) -> bool:
        return node in range(5)


def parsed(text: str) -> Plan | Failure:
    return parse_plan(text, OPTIONS, KnownNodes())


def changed(**values: Any) -> Plan | Failure:
    return parsed(json.dumps(PLAN | values))


def test_a_plan_is_read() -> None:
    plan = changed(contract={"expected_dip": 0.01, "max_dip": 0.02, "horizon": 4})
    assert isinstance(plan, Plan)
    assert (plan.option, plan.idea.title, plan.idea.category) == (0, "five layers", "architecture")
    assert plan.idea.contract == SetbackContract(expected_dip=0.01, max_dip=0.02, horizon=4)
    assert plan.idea.expected_change == -0.01


@pytest.mark.parametrize(
    "text",
    [
        "Here is my plan:\n```json\n%s\n```\nGood luck!",
        "{not json} %s",
        '{"thought": "an object that is no plan"} %s',
        "好的，这是计划：%s",
        "\ufeff%s",
        "%s\n\n" + "and then " * 50_000,
    ],
)
def test_a_plan_is_found_in_any_wrapping(text: str) -> None:
    plan = parsed(text % json.dumps(PLAN))
    assert isinstance(plan, Plan)
    assert plan.idea.brief == "Set DEPTH to 5."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("I cannot do that.", "no JSON object"),
        ("Ich würde den Lernschritt verkleinern.", "no JSON object"),
        ("{" * 5000, "no JSON object"),
        ("x" * 1_000_000, "no JSON object"),
        ('{"option": 1}', "operator"),
        ("[1, 2, 3]", "no JSON object"),
        ("\x1b[2J\x00\x07" * 100, "no JSON object"),
    ],
)
def test_what_is_no_plan_is_a_failure_that_says_why(text: str, why: str) -> None:
    outcome = parsed(text)
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.NO_IDEA
    assert why in outcome.message
    assert len(outcome.message) <= 300


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"option": 3}, "option 3 does not exist; there are 1 to 2"),
        ({"option": 0}, "option 0"),
        ({"option": "the second"}, "option"),
        ({"operator": "delete"}, "operator"),
        ({"operator": "combine", "source": 99}, "99 does not"),
        ({"operator": "retry"}, "needs a source"),
        ({"operator": "combine", "source": 0}, "0000 is the root"),
        ({"operator": "tune"}, "tune needs knobs"),
        ({"operator": "tune", "knobs": [{"name": "LR", "low": 2, "high": 1}]}, "knobs"),
        ({"operator": "tune", "knobs": [{"name": "import os", "low": 1, "high": 2}]}, "knobs"),
        ({"brief": ""}, "brief"),
        ({"brief": "x" * 10_000}, "10,000 characters"),
        ({"contract": {"expected_dip": 0.2, "max_dip": 0.1, "horizon": 4}}, "contract"),
        ({"contract": {"expected_dip": -1, "max_dip": 0.1, "horizon": 4}}, "contract"),
        ({"expected_change": float("nan")}, "expected_change"),
        ({"title": None}, "title"),
    ],
)
def test_a_plan_that_makes_no_sense_is_a_failure_that_says_why(values: dict[str, Any], why: str) -> None:
    outcome = changed(**values)
    assert isinstance(outcome, Failure)
    assert why in outcome.message


def test_what_a_model_writes_is_cleaned() -> None:
    plan = changed(
        title="\x1b[31mred\x1b[0m\nalert \u202e" + "x" * 500, category="\x1b[1m<b>Very bold</b>", hypothesis="a\rb"
    )
    assert isinstance(plan, Plan)
    assert plan.idea.title.startswith("red alert x")
    assert len(plan.idea.title) == 100
    assert plan.idea.category == "b-very-bold-b"
    assert plan.idea.hypothesis == "b"


def test_knobs_and_sources_belong_to_their_operators() -> None:
    tune = changed(operator="tune", knobs=[{"name": "LR", "low": 0.01, "high": 0.1, "log": True}], source=2)
    assert isinstance(tune, Plan)
    assert (tune.idea.knobs, tune.idea.source) == ((Knob(name="LR", low=0.01, high=0.1, log=True),), None)
    refine = changed(knobs=[{"name": "LR", "low": 0.01, "high": 0.1}], source=2)
    assert isinstance(refine, Plan)
    assert (refine.idea.knobs, refine.idea.source) == ((), None)


def test_where_a_transplant_is_asked_for_it_is_one() -> None:
    plan = changed(option=2)
    assert isinstance(plan, Plan)
    assert (plan.option, plan.idea.operator, plan.idea.source) == (1, "combine", 2)


LEAVES = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_no_reply_is_an_exception(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(PLAN | {"brief": value}), json.dumps(PLAN | {"contract": value})):
        assert isinstance(parsed(text), Plan | Failure)
