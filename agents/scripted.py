"""A planner and a coder that do what they are told: for tests, demonstrations, and replaying what somebody wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..search.model import Failure, FailureKind, Idea, ModelCall, Patch
from ..search.ports import Plan, PlanReply, PlanRequest, WriteReply, WriteRequest

PlannerScript = Iterable[Plan | Idea | Failure] | Callable[[PlanRequest], Plan | Idea | Failure]
CoderScript = Iterable[Patch | Failure] | Callable[[WriteRequest], Patch | Failure]

CALL = ModelCall(backend="scripted")


class ScriptedPlanner:
    """Gives the outcomes of a list in the order of the calls, or those of a function of the request.

    A bare Idea is a plan for the policy's first option. Where the list ends, so do the ideas.
    """

    def __init__(self, script: PlannerScript) -> None:
        self.requests: list[PlanRequest] = []  # what it was asked, for whoever wants to look
        self._script = script if callable(script) else _played(script)

    async def plan(self, request: PlanRequest) -> PlanReply:
        """The next outcome."""
        self.requests.append(request)
        outcome = self._script(request)
        plan = Plan(option=0, idea=outcome) if isinstance(outcome, Idea) else outcome
        return PlanReply(outcome=plan, call=CALL)


class ScriptedCoder:
    """Gives the patches of a list in the order of the calls, or those of a function of the request."""

    def __init__(self, script: CoderScript) -> None:
        self.requests: list[WriteRequest] = []
        self._script = script if callable(script) else _written(script)

    async def write(self, request: WriteRequest) -> WriteReply:
        """The next patch."""
        self.requests.append(request)
        return WriteReply(outcome=self._script(request), call=CALL)


def _played(script: Iterable[Plan | Idea | Failure]) -> Callable[[PlanRequest], Plan | Idea | Failure]:
    outcomes: Iterator[Plan | Idea | Failure] = iter(script)
    end = Failure(kind=FailureKind.NO_IDEA, message="the script has ended")
    return lambda request: next(outcomes, end)


def _written(script: Iterable[Patch | Failure]) -> Callable[[WriteRequest], Patch | Failure]:
    outcomes: Iterator[Patch | Failure] = iter(script)
    end = Failure(kind=FailureKind.NO_PATCH, message="the script has ended")
    return lambda request: next(outcomes, end)
