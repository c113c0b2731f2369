"""What the page shows of one node only, and the morning summary: texts, so they travel apart from the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from difflib import SequenceMatcher
from typing import Any

from ..search.events import Called, Checked, Event, Planned, Scored, Trained, Written
from ..search.model import Failure, NodeId, ScoreReport, TrialReport, Verdict
from ..search.tree import ROOT, Tree
from .page_data import Json
from .plain import plain, plain_lines
from .reading import Reading
from .shapes import valid

_LOG_LINES = 200
_WIDE = 400  # characters of a log's line
_POINTS = 200  # of a loss curve
_TEXT = 8000  # characters of what a model wrote


def detail(tree: Tree, node_id: NodeId, events: Sequence[Event], reading: Reading) -> Json:
    """Everything about one node but its files; KeyError if there is none. events: its own."""
    node = tree.node(node_id)
    idea = node.idea
    failure = node.failure
    shape: Json = {
        "id": node_id,
        "idea": {name: _text(value) if isinstance(value, str) else value for name, value in asdict(idea).items()}
        if idea
        else None,
        "reason": _text(node.reason),
        "commit": node.commit,
        "branch": node.branch,
        "main": node.main,
        "report": asdict(node.report) if node.report else None,
        "failure": {"kind": str(failure.kind), "message": _text(failure.message), "detail": _lines(failure.detail)}
        if failure
        else None,
        "calls": _calls(events),
        "trials": _trials(events),
        "checks": [
            [event.attempt, str(event.failure.kind) if event.failure else "", event.seconds]
            for event in events
            if isinstance(event, Checked)
        ],
        "log": _lines(reading.log(node_id) or ""),
        "curve": _curve(reading.curve(node_id)),
    }
    return valid(shape)


def delta(before: str, after: str) -> list[list[Any]]:
    """Line edits that turn one text into another: [first line, lines removed, lines added], from the end upward, so
    that applying one moves none of the others. What both ends share is not looked at."""
    old, new = before.split("\n"), after.split("\n")
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    old_end, new_end = len(old) - tail, len(new) - tail
    matcher = SequenceMatcher(None, old[head:old_end], new[head:new_end], autojunk=False)
    return [
        [head + a, b - a, new[head + c : head + d]]
        for tag, a, b, c, d in reversed(matcher.get_opcodes())
        if tag != "equal"
    ]


def summary(tree: Tree) -> Json:
    """The morning summary's lists of nodes: what moved main and why, what is promising and parked, what failed."""
    noise = tree.noise or 0.0
    main = float(tree.loss[tree.incumbent])
    judged = [node for node in tree.nodes() if node.id != ROOT and node.verdict is not None]
    parked = [node for node in judged if node.verdict is Verdict.PARKED and node.score is not None]
    near = sorted(parked, key=lambda node: float(tree.loss[node.id]))[:8]
    categories: dict[str, list[int]] = {}
    for node in judged:
        row = categories.setdefault(plain(node.idea.category, 40) if node.idea else "(no idea)", [0, 0, 0])
        row[0] += 1
        row[1] += node.verdict is Verdict.KEPT
        row[2] += node.verdict is Verdict.FAILED
    failures: dict[str, list[int]] = {}
    for node in judged:
        if node.failure is not None:
            failures.setdefault(str(node.failure.kind), []).append(node.id)
    return {
        "moved": [[n, plain(tree.node(n).idea.hypothesis, 400) if tree.idea(n) else ""] for n in tree.advances[1:]],  # type: ignore[union-attr]
        "promising": [node.id for node in near if float(tree.loss[node.id]) - main <= 2 * noise or node in near[:3]],
        "failures": failures,
        "categories": categories,
        "root_commit": tree.root_commit,
    }


def _calls(events: Sequence[Event]) -> list[Json]:
    """Every call to planner and coder: where calls are journalled one by one, plans and patches only say what came of
    them."""
    told = {event.purpose for event in events if isinstance(event, Called)}
    calls: list[Json] = []
    for event in events:
        if not isinstance(event, Called | Planned | Written):
            continue
        call = asdict(event.call) | {"tokens": event.call.tokens, "dollars": event.call.cost, "failed": ""}
        if isinstance(event, Called):
            call |= {"for": f"{event.purpose} {event.attempt or ''}".strip(), "failed": _text(event.call.error)}
        else:
            purpose = "plan" if isinstance(event, Planned) else "write"
            outcome = event.outcome if isinstance(event, Planned) else event.failure
            failed = _text(f"{outcome.kind}: {outcome.message}") if isinstance(outcome, Failure) else ""
            if purpose in told and not failed:
                continue
            call |= {"for": purpose if isinstance(event, Planned) else f"write {event.attempt}", "failed": failed}
        calls.append(call)
    return calls


def _trials(events: Sequence[Event]) -> list[Json]:
    trials: dict[int, Json] = {}
    for event in events:
        if isinstance(event, Trained):
            outcome = event.outcome
            trials[event.trial] = {"trial": event.trial, "seed": event.seed, "seconds": event.seconds, "value": None}
            if isinstance(outcome, TrialReport):
                trials[event.trial] |= {"report": asdict(outcome)}
            else:
                trials[event.trial] |= {"failed": _text(f"{outcome.kind}: {outcome.message}")}
        elif isinstance(event, Scored):
            trial = trials.setdefault(event.trial, {"trial": event.trial, "seed": None, "seconds": 0.0})
            if isinstance(event.outcome, ScoreReport):
                trial |= asdict(event.outcome)
            else:
                trial["failed"] = _text(f"{event.outcome.kind}: {event.outcome.message}")
    return [trials[number] for number in sorted(trials)]


def _curve(losses: list[float]) -> list[float]:
    if len(losses) > _POINTS:
        losses = [losses[round(i * (len(losses) - 1) / (_POINTS - 1))] for i in range(_POINTS)]
    return [float(f"{loss:.5g}") for loss in losses]


def _lines(text: str) -> str:
    """The end of a log as harmless lines."""
    return "\n".join(line[:_WIDE] for line in plain_lines(text[-64_000:])[-_LOG_LINES:])


def _text(text: str) -> str:
    return "\n".join(plain_lines(text[:_TEXT]))
