"""The public `--json` shapes, as plain dictionaries that are always valid JSON: what is unknown or not finite is null.

Keys may be added; they are never renamed or removed. Texts are what models wrote, unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ..search.contracts import Account
from ..search.events import Event
from ..search.model import Failure, Metric, NodeId, Score
from ..search.tree import FAILED, IN_FLIGHT, KEPT, PARKED, ROOT, Node, Tree
from .chronicle import Chronicle
from .costs import cost_json, node_costs, shares_of
from .numbers import SCORER_WORDS, gain_sd
from .setbacks import setback

Json = dict[str, Any]


def status_json(tree: Tree, chronicle: Chronicle, *, running: bool) -> Json:
    """A campaign in numbers, for `status --json`.

    experiments, kept, parked, failed, in_flight    counts; the root is in none of them
    root, incumbent     {id, mean, sd, n}; mean and sd null and n 0 without a score
    metric              {name, direction}
    gain, gain_sd       of the incumbent over the root, positive = better; the sd of that difference of means; null
                        while main's score is the single trial it was picked by
    claim               what `ratchetree confirm` found last: {node, validation, test, sentence, ...} | null
    starved             runs that are void because the machine was taken from them
    noise               sd between trials of one node, null before anything was repeated
    scorer              "trusted" | "printed: self-reported" | "synthetic"
    policy, preset, seed, version, sessions, machine, limits {experiments, hours, gpu_hours}
    started, updated    seconds since the epoch
    running, stopped    whether a process works on it; why the last session ended, null if it did not or was killed
    ran_seconds, train_seconds, per_hour      of all sessions; training alone; experiments judged per hour
    failures            {kind: count}
    stages              {id: what the experiment in flight is at}
    spent               of all model calls, see `cost_json`; and dollars per_experiment and per_gain (0.001 of the
                        metric), null where there is no such number
    """
    known = tree.root_commit is not None
    root = tree.node(ROOT) if known else None
    main = tree.node(tree.incumbent) if known else None
    before, after = root.score if root else None, main.score if main else None
    scorer, limits = chronicle.scorer, chronicle.settings.limits.model_dump() if chronicle.settings else {}
    words = SCORER_WORDS.get(scorer, scorer)
    is_measured = main is not None and not main.is_screened_only
    status = {
        "experiments": tree.experiments,
        "kept": tree.counts[KEPT],
        "parked": tree.counts[PARKED],
        "failed": tree.counts[FAILED],
        "in_flight": tree.counts[IN_FLIGHT],
        "root": {"id": ROOT, **_score(before)},
        "incumbent": {"id": tree.incumbent, **_score(after)},
        "metric": _metric(tree.metric),
        "gain": tree.metric.gain(before.mean, after.mean) if is_measured and before and after else None,
        "gain_sd": gain_sd(tree.noise, before, after) if is_measured and before and after else None,
        "claim": asdict(chronicle.claim) if chronicle.claim else None,
        "starved": chronicle.starved,
        "noise": tree.noise,
        "policy": chronicle.policy,
        "preset": chronicle.preset,
        "scorer": scorer if scorer == words else f"{scorer}: {words}",
        "seed": tree.seed,
        "version": chronicle.version,
        "sessions": chronicle.sessions,
        "machine": asdict(chronicle.machine) if chronicle.machine else None,
        "limits": limits,
        "started": tree.started,
        "updated": chronicle.updated,
        "running": running,
        "stopped": chronicle.stopped,
        "ran_seconds": chronicle.ran_seconds,
        "train_seconds": tree.train_seconds,
        "per_hour": chronicle.per_hour,
        "failures": {str(kind): count for kind, count in sorted(chronicle.failures.items())},
        "stages": {str(node): stage for node, stage in sorted(chronicle.stages.items())},
    }
    shares = shares_of(tree, chronicle.spending) if known else {}
    status["spent"] = cost_json(chronicle.spending.total) | {
        "per_experiment": shares.get("per experiment"),
        "per_gain": shares.get("per 0.001 of gain"),
    }
    return valid(status)


def tree_json(tree: Tree, account: Account) -> Json:
    """All nodes, ascending, for `tree --json`: {metric, incumbent, noise, nodes}.

    Of every node: id, parent (null for the root), depth, verdict ("kept" | "parked" | "failed", null in flight),
    score {mean, sd, n} | null, failure {kind, message} | null, title, hypothesis, category, commit, branch, main (the
    commit main moved to), lines_added, lines_removed, seconds, asked, by (who scored: trusted | printed | synthetic),
    trials (values, the screening trial first), gain (over the parent, positive = better), reason (the ratchet's
    sentence), setback (contract and outcome | null), started, ended.
    """
    return {
        "metric": _metric(tree.metric),
        "incumbent": tree.incumbent,
        "noise": _number(tree.noise),
        "nodes": [valid(_node(tree, node, account)) for node in tree.nodes()],
    }


def node_json(tree: Tree, node_id: NodeId, account: Account, events: Iterable[Event] = ()) -> Json:
    """One node, for `show --json`; KeyError if there is none.

    What `tree_json` has of it, and: idea, report (of its last training run), failure.detail, path (ids from the root
    to it), children, metric, incumbent, spent (on its model calls, from its own `events`; see `cost_json`).
    """
    node = tree.node(node_id)
    shape = _node(tree, node, account)
    if node.failure:
        shape["failure"]["detail"] = node.failure.detail
    shape |= {
        "idea": asdict(node.idea) if node.idea else None,
        "report": asdict(node.report) if node.report else None,
        "path": tree.path(node_id),
        "children": tree.children().get(node_id, []),
        "metric": _metric(tree.metric),
        "incumbent": tree.incumbent,
        "spent": cost_json(node_costs(events)),
    }
    return valid(shape)


def _node(tree: Tree, node: Node, account: Account) -> Json:
    promised = setback(tree, node, account)
    before = float(tree.loss[node.parent]) if node.parent is not None else None
    return {
        "id": node.id,
        "parent": node.parent,
        "depth": node.depth,
        "verdict": str(node.verdict) if node.verdict else None,
        "score": _score(node.score) if node.score else None,
        "failure": _failure(node.failure) if node.failure else None,
        "title": node.title,
        "hypothesis": node.idea.hypothesis if node.idea else "",
        "category": node.idea.category if node.idea else "",
        "commit": node.commit,
        "branch": node.branch,
        "main": node.main,
        "lines_added": node.lines_added,
        "lines_removed": node.lines_removed,
        "seconds": node.seconds,
        "asked": str(node.asked),
        "by": node.by,
        "trials": list(node.values),
        "gain": before - float(tree.loss[node.id]) if node.score and before is not None else None,
        "reason": node.reason,
        "setback": asdict(promised) if promised else None,
        "started": node.started,
        "ended": node.ended,
    }


def _metric(metric: Metric) -> Json:
    return {"name": metric.name, "direction": metric.direction}


def _score(score: Score | None) -> Json:
    return {"mean": score.mean, "sd": score.sd, "n": score.n} if score else {"mean": None, "sd": None, "n": 0}


def _failure(failure: Failure) -> Json:
    return {"kind": str(failure.kind), "message": failure.message}


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def valid(shape: Json) -> Json:
    """The same shape without what JSON cannot hold."""
    return {key: _value(value) for key, value in shape.items()}


def _value(value: Any) -> Any:
    """Shapes are three levels deep at most, so that the recursion is too."""
    if isinstance(value, dict):
        return valid(value)
    if isinstance(value, list | tuple):
        return [_value(inner) for inner in value]
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value
