"""What another policy would have made of a recorded campaign's own children. Pure.

Where it expands a node, it gets the node's next recorded child, with its trials and its failure. A choice without a
recorded child left is not covered; then its next choice counts. So the answer is about the order of choices only, and
worth little where coverage is low, which is why it is always given.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..events import CampaignStarted, Event, Judged, Planned, Scored, Selected, Trained
from ..model import Expansion, Failure, NodeId, Score, ScoreReport, Verdict
from ..ports import Policy
from ..ratchet import Confirm, Preset, decide
from ..tree import ROOT, Tree

_CHOICES = 64  # how far down its list a policy is followed to a recorded child


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of it."""

    policy: str
    experiments: int  # recorded children that it used
    recorded: int  # that there are
    first_choice: float  # share of its first choices that were covered
    main: float  # score of main in the end, metric's unit
    advances: int  # moves of main


def replay_policy(
    name: str, policy: Policy, events: Sequence[Event], *, preset: Preset, seed: int, limit: int | None = None
) -> Replayed:
    """Let the policy choose among the recorded children, one after the other, up to `limit` of them."""
    recorded = _Recorded(events)
    tree, rng = Tree(), random.Random(seed)

    def take(event: Event) -> None:
        tree.apply(event)
        policy.observe(tree, event)

    for event in recorded.root:
        take(event)
    ours = {ROOT: ROOT}  # recorded id -> id here
    theirs = {ROOT: ROOT}
    used = covered = asked = 0
    while limit is None or used < limit:
        options = policy.rank(tree, _CHOICES, rng)
        chosen = next((o for o in options if recorded.left(theirs[o.node])), None)
        asked += 1
        covered += bool(options) and chosen is options[0]
        if chosen is None:
            break
        node, child = tree.next_id, recorded.next_child(theirs[chosen.node])
        ours[child], theirs[node] = node, child
        _live(take, tree, recorded, child, node, chosen, preset)
        used += 1
    return Replayed(
        policy=name,
        experiments=used,
        recorded=recorded.size,
        first_choice=covered / max(asked, 1),
        main=tree.metric.value(float(tree.loss[tree.incumbent])),
        advances=len(tree.advances) - 1,
    )


class _Recorded:
    """A journal, by child."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.root: list[Event] = []
        self.planned: dict[NodeId, Planned] = {}
        self.values: dict[NodeId, list[float]] = {}
        self.failure: dict[NodeId, Failure | None] = {}
        self._children: dict[NodeId, list[NodeId]] = {}
        for event in events:
            if isinstance(event, CampaignStarted) or (
                isinstance(event, Scored | Trained | Judged) and event.experiment == ROOT
            ):
                self.root.append(event)
            elif isinstance(event, Planned):
                self.planned[event.experiment] = event
            elif isinstance(event, Scored) and isinstance(event.outcome, ScoreReport):
                self.values.setdefault(event.experiment, []).append(event.outcome.value)
            elif isinstance(event, Judged):
                self.failure[event.experiment] = event.failure
                self._children.setdefault(self.planned[event.experiment].parent, []).append(event.experiment)
        self.size = len(self.failure)

    def left(self, node: NodeId) -> bool:
        return bool(self._children.get(node))

    def next_child(self, node: NodeId) -> NodeId:
        return self._children[node].pop(0)


def _live(
    take: object, tree: Tree, recorded: _Recorded, child: NodeId, node: NodeId, chosen: Expansion, preset: Preset
) -> None:
    """The recorded child's life, under this campaign's number and against this campaign's main."""
    assert callable(take)
    take(Selected(time=0.0, experiment=node, options=(chosen,)))
    take(replace(recorded.planned[child], experiment=node, parent=chosen.node))
    values = recorded.values.get(child, [])
    verdict, reason = Verdict.FAILED, "as recorded"
    for trial, value in enumerate(values):
        report = ScoreReport(value=value)
        take(Scored(time=0.0, experiment=node, trial=trial, seconds=0.0, outcome=report))
        main = tree.incumbent
        bar = Score(mean=tree.metric.value(float(tree.loss[main])), sd=None, n=int(tree.trials[main]))
        answer = decide(preset, tree.metric, values=tuple(values[: trial + 1]), incumbent=bar, noise=tree.noise)
        verdict, reason = Verdict.PARKED, "the recording holds no more trials"
        if not isinstance(answer, Confirm):
            verdict, reason = answer.verdict, answer.reason
            break
    failure = recorded.failure[child] if verdict is Verdict.FAILED else None
    take(Judged(time=0.0, experiment=node, verdict=verdict, reason=reason, against=tree.incumbent, failure=failure))
