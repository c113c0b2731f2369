"""A planner and a coder that do what they are told: for tests, demonstrations, and replaying what somebody wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..search.model import Failure, FailureKind, Idea, ModelCall, Patch
from ..search.ports import CallLog, Plan, PlanReply, PlanRequest, WriteReply, WriteRequest
from .conversation import CannotAsk, Prompt, Reply
from .editor import TOOL

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


class ScriptedSpeaker:
    """Implements Speaker for the model-backed agents: gives the replies of a list in the order of the calls, a string
    being a reply in text. Where the list ends, it cannot be asked."""

    name, model = "scripted", "scripted-model"

    def __init__(self, *replies: Reply | str) -> None:
        self.prompts: list[Prompt] = []  # what it was asked
        self._replies = [text_reply(reply) if isinstance(reply, str) else reply for reply in replies]

    async def say(self, prompt: Prompt, log: CallLog) -> Reply:
        """The next reply."""
        self.prompts.append(prompt)
        if not self._replies:
            raise CannotAsk("the script has ended")
        reply = self._replies.pop(0)
        log.record(ModelCall(backend=self.name, model=self.model, dollars=0.0), reply.encode())
        return reply

    @property
    def last_words(self) -> str:
        """What it was told last: texts and results of tools."""
        content = self.prompts[-1].messages[-1]["content"]
        return "\n".join(str(block.get("text", block.get("content", ""))) for block in content)


def text_reply(text: str, stop: str = "end_turn") -> Reply:
    """A reply in text."""
    return Reply(content=({"type": "text", "text": text},) if text else (), stop=stop)


def tool_reply(*inputs: object) -> Reply:
    """A reply that uses the text-editor tool."""
    uses = ({"type": "tool_use", "id": f"t{i}", "name": TOOL["name"], "input": use} for i, use in enumerate(inputs))
    return Reply(content=tuple(uses), stop="tool_use")
