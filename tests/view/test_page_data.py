"""What the page is told: a snapshot, and deltas that add up to the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ratchetree.search.events import Called, Requested
from ratchetree.search.model import Ask, ModelCall, Request
from ratchetree.view.page_data import COLUMNS, PageData
from ratchetree.view.page_detail import delta, summary


def fed(events: list[Any]) -> PageData:
    data = PageData("night")
    data.feed(enumerate(events, start=1))
    return data


def row(snapshot: dict[str, Any], node: int) -> dict[str, Any]:
    return dict(zip(COLUMNS, next(row for row in snapshot["rows"] if row[0] == node), strict=True))


def merged(before: dict[str, Any], *changes: dict[str, Any]) -> dict[str, Any]:
    """What a browser does with deltas."""
    rows = {row[0]: row for row in before["rows"]}
    places = [{flat[k]: flat[k + 1 : k + 3] for k in range(0, len(flat), 3)} for flat in before["layout"]]
    for change in changes:
        rows |= {row[0]: row for row in change.get("rows", [])}
        before = before | {"number": change.get("number", before["number"])}
        before["head"] = before["head"] | change.get("head", {})
        before["spans"] = before["spans"] + change.get("spans", [])
        for known, flat in zip(places, change.get("layout", [[], []]), strict=True):
            known |= {flat[k]: flat[k + 1 : k + 3] for k in range(0, len(flat), 3)}
    layout = [sorted((n, *at) for n, at in known.items() if at[0] >= 0) for known in places]
    return before | {"rows": sorted(rows.values()), "layout": layout}


@pytest.mark.parametrize("direction", ["min", "max"])
def test_a_snapshot_and_all_deltas_are_the_later_snapshot(small: Callable[..., Any], direction: str) -> None:
    events = list(enumerate(small(direction).events, start=1))
    for cut in range(1, len(events), 7):
        data = PageData("night")
        data.feed(events[:cut])
        before = json.loads(data.snapshot(running=True))
        data.feed(events[cut : cut + 5])
        first = json.loads(data.delta(cut, running=True))
        data.feed(events[cut + 5 :])
        rest = json.loads(data.delta(min(cut + 5, len(events)), running=True))
        moves = json.loads(data.moves(cut))
        after = json.loads(fed([e for _, e in events]).snapshot(running=True))
        assert merged(before, first, rest, moves) == merged(after)


def test_rows_say_what_the_tree_knows(small: Callable[..., Any]) -> None:
    snapshot = json.loads(fed(small().events).snapshot(running=True))
    kept = row(snapshot, 5)
    assert (kept["verdict"], kept["n"], kept["values"], kept["parent"]) == (2, 3, [2.01, 2.02, 2.03, 2.04], 3)
    assert kept["mean"] == pytest.approx(2.03)
    invested = row(snapshot, 2)
    assert invested["setback"][:5] == ["open", 0, 4, 0.01, 0.05]
    assert row(snapshot, 4)["failure"] == "crash"
    assert row(snapshot, 8)["verdict"] == 1
    head = snapshot["head"]
    assert (head["incumbent"], head["counts"], head["since_move"]) == (5, [1, 2, 4, 1], 2)


def test_a_closed_line_is_told(small: Callable[..., Any]) -> None:
    story = small()
    data = fed(story.events)
    closing = Requested(time=1.0, request=Request(id="1", ask=Ask.CLOSE, node=2))
    data.feed([(len(story.events) + 1, closing)])
    changed = json.loads(data.delta(len(story.events), running=False))
    assert {node: row(changed, node)["closed"] for node in (0, 2, 6)} == {0: 0, 2: 1, 6: 1}


def test_a_new_node_is_less_than_five_kilobytes_on_the_wire(small: Callable[..., Any]) -> None:
    story = small()
    data = fed(story.events)
    before = data.number
    data.moves(0)
    story.fly(9, 5, "x" * 10_000)
    data.feed(enumerate(story.events[before:], start=before + 1))
    assert len(data.delta(before, running=True)) + len(data.moves(before)) < 5000


@pytest.mark.parametrize("events", [[], "root"])
def test_nothing_and_a_root_without_a_score_are_shown(new_story: Any, events: Any) -> None:
    data = fed(new_story().events if events == "root" else [])
    assert json.loads(data.snapshot(running=False))["head"]["running"] is False


def test_every_text_that_a_model_can_write_is_valid_json(new_story: Any, hostile: dict[str, str]) -> None:
    story = new_story().root(2.0)
    for node, text in enumerate(hostile, start=1):
        story.park(node, 0, 2.1, text)
    snapshot = json.loads(fed(story.events).snapshot(running=False))
    assert [row[3] for row in snapshot["rows"][1:]] == list(hostile.values())


@pytest.mark.parametrize(
    ("before", "after"),
    [("a\nb\nc\n", "a\nB\nc\n"), ("", "x\ny"), ("x\ny", ""), ("a\nb\nc\nd", "b\nc\nX\nd\ne"), ("same", "same")],
)
def test_line_edits_turn_one_text_into_the_other(before: str, after: str) -> None:
    lines = before.split("\n")
    for first, gone, added in delta(before, after):
        lines[first : first + gone] = added
    assert "\n".join(lines) == after


def test_the_summary_names_what_moved_main_what_is_near_and_what_failed(small: Callable[..., Any]) -> None:
    said = summary(small().tree)
    assert [node for node, _ in said["moved"]] == [3, 5]
    assert said["failures"] == {"crash": [4]}
    assert said["promising"][0] == 7


def test_model_calls_cost_what_the_journal_says_and_an_unknown_price_is_never_nothing(new_story: Any) -> None:
    story = new_story().root(2.0).fly(1, 0).fly(2, 0)
    call = ModelCall(backend="claude", model="m", input_tokens=900, output_tokens=100, dollars=0.25)
    for node, attempt, priced in ((1, 0, call), (1, 1, call), (2, 0, replace(call, dollars=None))):
        purpose = "write" if attempt else "plan"
        story.events.append(
            Called(time=story.time, experiment=node, purpose=purpose, attempt=attempt, call=priced, reply="[]")
        )
    snapshot = json.loads(fed(story.events).snapshot(running=True))
    assert (row(snapshot, 1)["cost"], row(snapshot, 2)["cost"]) == (0.5, None)
    head = snapshot["head"]
    assert (head["dollars"], head["dollars_unknown"], head["calls"], head["tokens"]) == (0.5, True, 3, 3000)


def test_a_pause_is_told_until_it_is_resumed_and_what_was_refused_says_why(small: Callable[..., Any]) -> None:
    data = fed(small().events)
    told = []
    for number, (ask, refused) in enumerate(
        ((Ask.PAUSE, None), (Ask.RESUME, "not now"), (Ask.RESUME, None)), start=data.number + 1
    ):
        data.feed([(number, Requested(time=1.0, request=Request(id=str(number), ask=ask), refused=refused))])
        head = json.loads(data.snapshot(running=True))["head"]
        told.append((head["paused"], head["asked"][0], head["asked"][3]))
    assert told == [(True, "pause", ""), (True, "resume", "not now"), (False, "resume", "")]


def test_a_trial_holds_its_slot_for_as_long_as_it_ran_and_not_while_it_waited(small: Callable[..., Any]) -> None:
    spans = json.loads(fed(small().events).snapshot(running=True))["spans"]
    assert spans[0] == [0, 0, 1010.0, 303.0]  # of 304 seconds: one was spent waiting
    assert [span[3] for span in spans if span[0] == 4] == [5.0]  # a crash: all of it
