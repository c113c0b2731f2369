"""The one data shape behind the live page and the report: a campaign as columns, kept up to date event by event.

A snapshot holds everything that the two views, the table and the header need; a delta holds the rows and places that
changed after a given event, so that a page which slept for an hour gets one small answer. Texts that only one node
needs (idea, log, files) come from `page_detail`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from ..search.events import CampaignStarted, Event, Judged, Planned, Scored, Selected, Trained, experiment_of
from ..search.model import NodeId, TrialReport, Verdict
from ..search.tree import IN_FLIGHT, ROOT, Tree
from .chronicle import Chronicle
from .layout import lay_out
from .numbers import SCORER_WORDS, gain_sd
from .plain import plain
from .setbacks import setback
from .shapes import status_json

Json = dict[str, Any]

COLUMNS = (
    "id",
    "parent",
    "verdict",  # 1 in flight, 2 kept, 3 parked, 4 failed: as in `Tree.state`
    "title",
    "category",
    "asked",
    "mean",
    "sd",
    "n",
    "values",  # of all trials, the screening trial first
    "by",
    "seconds",
    "started",
    "ended",
    "added",
    "removed",
    "failure",
    "expected",  # forecast change of the metric; 0 = none
    "setback",  # null | [state, used, horizon, expected dip, most dip, dip, paid by, spent]
    "closed",
    "policy",
    "cost",  # dollars of its model calls; null where a price is not known
)
_TITLE = 200

Places = dict[NodeId, tuple[int, int]]
"""Where nodes are drawn. A fold at node n has the number -1-n; what has no place itself is in the fold above it."""


class PageData:
    """A campaign as the page sees it. Feed it events with their numbers; ask for a snapshot or a delta."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree, self.chronicle = Tree(), Chronicle()
        self.number = 0
        self._touched: dict[NodeId, int] = {}  # last event that changed the node's row
        self._moved: list[dict[NodeId, int]] = [{}, {}]  # and its place, folded and not
        self._layouts: list[Places] = [{}, {}]  # folded, unfolded
        self._laid_out = 0  # number of the event the layouts are of
        self._shape = 0  # number of the last event that changes layouts
        self._policies: dict[NodeId, str] = {}
        self._spans: list[tuple[int, list[Any]]] = []  # (number, [node, trial, end, seconds in its slot])
        self._known: Json = {}  # the head as it was told last
        self._news: dict[str, int] = {}  # and the event at which each part of it changed
        self._written: dict[NodeId, str] = {}  # rows as JSON, until they are touched again

    # -- writing ------------------------------------------------------------------------------------------------

    def feed(self, events: Iterable[tuple[int, Event]]) -> bool:
        """Take in events; whether there were any."""
        before = self.number
        for number, event in events:
            self.tree.apply(event)
            self.chronicle.observe(self.tree, event)
            self._note(number, event)
            self.number = number
        return self.number != before

    def _note(self, number: int, event: Event) -> None:
        node = ROOT if isinstance(event, CampaignStarted) else experiment_of(event)
        if node is None:
            for changed in self.tree.ids() if event.kind == "requested" else ():
                self._touch(changed, number)  # closing a line changes all its rows
            return
        self._touch(node, number)
        if isinstance(event, CampaignStarted | Selected | Planned | Judged):
            self._shape = number
        if isinstance(event, Selected):
            self._policies[node] = self.chronicle.policy
        if isinstance(event, Trained):
            self._spans.append((number, [node, event.trial, round(event.time, 1), round(_in_slot(event), 1)]))
        if isinstance(event, Selected | Planned | Scored | Judged) and self.chronicle.contracts:
            self._touch_promises(node, number)

    def _touch(self, node: NodeId, number: int) -> None:
        self._touched[node] = number
        self._written.pop(node, None)

    def _touch_promises(self, node: NodeId, number: int) -> None:
        """What happens on a contract's line changes what has come of it; a node's score changes its children's dips."""
        line_of = self.chronicle.account.line_of
        line = line_of.get(node, -1)
        for promised in self.chronicle.contracts:
            if line_of.get(promised, -2) == line or self.tree.parent[promised] == node:
                self._touch(promised, number)

    # -- reading ------------------------------------------------------------------------------------------------

    def snapshot(self, *, running: bool, **more: Any) -> str:
        """Everything, as JSON text; `more` goes in beside it."""
        self._lay_out()
        shape = {
            "name": self.name,
            "columns": COLUMNS,
            "layout": [_places(layout, None) for layout in self._layouts],
            "machine": status_json(self.tree, self.chronicle, running=running)["machine"],
            **more,
        }
        return self._message(0, running=running, more=shape)

    def delta(self, after: int, *, running: bool) -> str:
        """What changed after event number `after`, places apart, as JSON text."""
        return self._message(after, running=running, more={})

    def moves(self, after: int) -> str:
        """The places that changed after event number `after`, as JSON text. Costs a layout if there is none yet (60 ms
        at 5,000 nodes), so it may be asked for less often."""
        self._lay_out()
        moved = [{node for node, at in known.items() if at > after} for known in self._moved]
        return dump({"layout": [_places(layout, only) for layout, only in zip(self._layouts, moved, strict=True)]})

    @property
    def laid_out(self) -> bool:
        """Whether the places are those of the last event."""
        return self._laid_out >= self._shape

    def _message(self, after: int, *, running: bool, more: Json) -> str:
        """Rows are written once and kept as text: of five thousand a few change from one message to the next."""
        nodes = sorted(node for node, at in self._touched.items() if at > after)
        stale = [node for node in nodes if node not in self._written]
        for node in stale:
            self._written[node] = dump(self._row(node))
        shape = {
            "number": self.number,
            "spans": [span for number, span in self._spans if number > after],
            "head": self._head_since(after, running=running),
            **more,
        }
        return f'{dump(shape)[:-1]},"rows":[{",".join(self._written[node] for node in nodes)}]}}'

    def _head_since(self, after: int, *, running: bool) -> Json:
        """What of the head changed after an event; `running` always, because it changes without one."""
        for name, value in self._head(running=running).items():
            if name not in self._known or self._known[name] != value:
                self._known[name], self._news[name] = value, self.number
        return {
            name: value
            for name, value in self._known.items()
            if not after or self._news[name] > after or name == "running"
        }

    def _row(self, node_id: NodeId) -> list[Any]:
        node = self.tree.node(node_id)
        promise = setback(self.tree, node, self.chronicle.account)
        score = node.score
        return [
            node_id,
            node.parent,
            int(self.tree.state[node_id]),
            plain(node.title, _TITLE),
            plain(node.idea.category, 40) if node.idea else "",
            str(node.asked),
            _round(score.mean) if score else None,
            _round(score.sd) if score else None,
            score.n if score else 0,
            [_round(value) for value in node.values],
            node.by,
            round(node.seconds, 1),
            round(node.started, 1),
            round(node.ended, 1) if node.ended is not None else None,
            node.lines_added,
            node.lines_removed,
            str(node.failure.kind) if node.failure else "",
            _round(node.idea.expected_change) if node.idea else 0,
            None
            if promise is None
            else [
                promise.state,
                promise.used,
                promise.contract.horizon,
                _round(promise.contract.expected_dip),
                _round(promise.contract.max_dip),
                _round(promise.dip),
                promise.paid_by,
                promise.spent,
            ],
            int(node_id in self.tree.closed),
            self._policies.get(node_id, ""),
            _round(self.chronicle.spending.of(node_id).dollars),
        ]

    def _head(self, *, running: bool) -> Json:
        tree, chronicle = self.tree, self.chronicle
        if tree.root_commit is None:
            return {"running": running}
        root, main = tree.node(ROOT), tree.node(tree.incumbent)
        both = root.score is not None and main.score is not None
        limits = chronicle.settings.limits.model_dump(exclude_none=True) if chronicle.settings else {}
        judged = tree.experiments - tree.counts[IN_FLIGHT]
        moves, spent = [count for count, _ in chronicle.advances], chronicle.spending.total
        return {
            "metric": {"name": tree.metric.name, "direction": tree.metric.direction},
            "incumbent": tree.incumbent,
            "advances": list(tree.advances),
            "counts": tree.counts[1:],
            "noise": _round(tree.noise),
            "freedom": tree.noise_freedom,
            "gain": _round(tree.metric.gain(root.score.mean, main.score.mean)) if both else None,  # type: ignore[union-attr]
            "gain_sd": _round(gain_sd(tree.noise, root.score, main.score)) if both else None,  # type: ignore[arg-type]
            "policy": chronicle.policy,
            "preset": chronicle.preset,
            "scorer": SCORER_WORDS.get(root.by, root.by),
            "limits": limits,
            "slots": chronicle.settings.trainer.slots if chronicle.settings else 1,
            "started": tree.started,
            "updated": chronicle.updated,
            "begun": chronicle.begun,
            "running": running,
            "stopped": chronicle.stopped,
            "paused": chronicle.paused,
            "asked": _asked(chronicle),
            "ran": round(chronicle.ran_seconds, 1),
            "trained": round(tree.train_seconds, 1),
            "per_hour": _round(chronicle.per_hour),
            "dollars": _round(spent.priced),
            "dollars_unknown": spent.unpriced > 0,
            "calls": spent.calls,
            "tokens": spent.tokens,
            "since_move": judged - moves[-1] if moves else judged,
            "longest": max((b - a for a, b in pairwise(moves)), default=0),
            "failures": {str(kind): n for kind, n in chronicle.failures.items()},
            "stages": {str(node): stage for node, stage in chronicle.stages.items()},
            "sessions": chronicle.sessions,
            "claim": plain(chronicle.claim.sentence, 400) if chronicle.claim else "",
            "starved": chronicle.starved,
            "screened": main.is_screened_only,
        }

    def _lay_out(self) -> None:
        if self.laid_out and self._laid_out:
            return
        for i, fold in enumerate((True, False)):
            layout = lay_out(self.tree, fold=fold)
            new = layout.place | {-1 - f.at: (f.x, f.y) for f in layout.folds}
            old, moved = self._layouts[i], self._moved[i]
            for node, at in new.items():
                if old.get(node) != at:
                    moved[node] = self.number
            for node in old.keys() - new.keys():
                moved[node] = self.number
            self._layouts[i] = new
        self._laid_out = self.number

    def course(self) -> list[list[float]]:
        """Main's value over [experiments judged, hours, dollars, value]: what campaigns are compared by."""
        hours: dict[int, float] = {}
        judged, dollars = 0, 0.0
        points: list[list[float]] = []
        for node in self.tree.nodes():
            if node.verdict is None:
                continue
            judged += node.id != ROOT
            dollars += self.chronicle.spending.of(node.id).priced
            hours[node.id] = ((node.ended or node.started) - (self.tree.started or 0.0)) / 3600
            if node.verdict is Verdict.KEPT and node.score is not None:
                points.append([judged, round(hours[node.id], 4), round(dollars, 4), node.score.mean])
        if points:
            end = max(hours.values())
            points.append([judged, round(end, 4), round(dollars, 4), points[-1][3]])
        return points


def _asked(chronicle: Chronicle) -> list[Any] | None:
    """[what, node, note, why it was refused, when] of what somebody asked last."""
    if (heard := chronicle.asked) is None:
        return None
    request = heard.request
    return [str(request.ask), request.node, plain(request.note, 200), plain(heard.refused or "", 200), heard.time]


def _in_slot(event: Trained) -> float:
    """Seconds that the run held its slot, up to the event's time; its `seconds` count the wait for a slot too."""
    if isinstance(event.outcome, TrialReport):
        return event.outcome.startup_seconds + event.outcome.train_seconds
    return event.seconds


def _places(places: Places, only: set[NodeId] | None) -> list[int]:
    """Flat number, x, y triples; what is not drawn any more has the place -1, 0."""
    if only is None:
        return [number for node, (x, y) in places.items() for number in (node, x, y)]
    return [number for node in sorted(only) for number in (node, *places.get(node, (-1, 0)))]


def _round(value: float | None) -> float | None:
    """Nine significant digits; None for what JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.9g}")


def dump(shape: Json | list[Any]) -> str:
    """JSON text, as short as it gets."""
    text = json.dumps(shape, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace").decode()
