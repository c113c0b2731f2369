"""A recorded campaign once more: the same ideas on the same nodes, the same patches, every reply byte for byte.

Everything is looked up by experiment, so it does not matter in which order trials end, nor how many are in flight. What
is measured anew may come out otherwise, and with it a verdict.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from ..search.events import Called, Event, Judged, Planned, Selected, Written
from ..search.model import Expansion, Failure, FailureKind, ModelCall, NodeId
from ..search.ports import CallLog, Plan, PlanReply, PlanRequest, Policy, WriteReply, WriteRequest
from ..search.tree import ABSENT, IN_FLIGHT, Tree

CALL = ModelCall(backend="replay")  # nothing is paid for


class Recording:
    """What planner, coder and policy said in a campaign."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.planned: dict[NodeId, Planned] = {}
        self.written: dict[tuple[NodeId, int], Written] = {}
        self.selected: dict[NodeId, Selected] = {}
        self.judged_before: dict[NodeId, int] = {}  # when an experiment was selected: how many were judged,
        self.judged: list[NodeId] = []  # of these, in order
        self._replies: dict[tuple[NodeId, str, int], list[str]] = {}
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case Selected():
                self.selected[event.experiment] = event
                self.judged_before[event.experiment] = len(self.judged)
            case Called() if event.reply:
                self._replies.setdefault((event.experiment, event.purpose, event.attempt), []).append(event.reply)
            case Planned():
                self.planned[event.experiment] = event
            case Written():
                self.written[event.experiment, event.attempt] = event
            case Judged():
                self.judged.append(event.experiment)
            case _:
                pass

    def repeat(self, log: CallLog) -> None:
        """Journal the replies of one plan or writing again, but for those that are there."""
        for reply in self._replies.get((log.experiment, log.purpose, log.attempt), [])[len(log.replies) :]:
            log.record(CALL, reply)


@dataclass(frozen=True, slots=True)
class ReplayPlanner:
    """Implements ports.Planner: the recorded experiment's outcome."""

    recording: Recording

    async def plan(self, request: PlanRequest) -> PlanReply:
        """The same idea on the same node; a Failure of kind no-idea where there is no such thing."""
        self.recording.repeat(request.calls)
        recorded = self.recording.planned.get(request.experiment)
        if recorded is None:
            return PlanReply(outcome=_missing(FailureKind.NO_IDEA, request.experiment), call=CALL)
        if isinstance(recorded.outcome, Failure):
            return PlanReply(outcome=recorded.outcome, call=CALL)
        offered = [option.expansion for option in request.options]
        fitting = [i for i, e in enumerate(offered) if (e.node, e.kind) == (recorded.parent, recorded.asked)]
        fitting += [i for i, e in enumerate(offered) if e.node == recorded.parent]
        if not fitting:
            message = (
                f"in the recording {request.experiment:04d} set out from {recorded.parent:04d}, which is no option"
            )
            return PlanReply(outcome=Failure(kind=FailureKind.NO_IDEA, message=message), call=CALL)
        return PlanReply(outcome=Plan(option=fitting[0], idea=recorded.outcome), call=CALL)


@dataclass(frozen=True, slots=True)
class ReplayCoder:
    """Implements ports.Coder: the recorded attempt's patch, or why there was none."""

    recording: Recording

    async def write(self, request: WriteRequest) -> WriteReply:
        """The same patch; a Failure of kind no-patch where there is no such attempt."""
        self.recording.repeat(request.calls)
        recorded = self.recording.written.get((request.experiment, request.attempt))
        outcome = (recorded.patch or recorded.failure) if recorded else None
        return WriteReply(outcome=outcome or _missing(FailureKind.NO_PATCH, request.experiment), call=CALL)


class RecordedOrder:
    """Implements Policy over another one: each experiment has the recorded options, once everything is judged that was
    judged when they were drawn up. Beyond the recording the other policy goes on."""

    def __init__(self, inner: Policy, recording: Recording) -> None:
        self._inner = inner
        self._recording = recording

    def observe(self, tree: Tree, event: Event) -> None:
        """For the other policy."""
        self._inner.observe(tree, event)

    def rank(self, tree: Tree, k: int, rng: random.Random) -> list[Expansion]:
        """The recorded options; none while one of the experiments before them is not judged yet."""
        recording, number = self._recording, tree.next_id
        recorded = recording.selected.get(number)
        if recorded is None:
            return self._inner.rank(tree, k, rng)
        before = recording.judged[: recording.judged_before[number]]
        if any(node not in tree or tree.state[node] in (ABSENT, IN_FLIGHT) for node in before):
            return []
        return list(recorded.options)[:k]


def _missing(kind: FailureKind, experiment: NodeId) -> Failure:
    return Failure(kind=kind, message=f"the recording has nothing more of experiment {experiment:04d}")
