"""What is said to a model and what it answers, in the Messages API's own shapes, and the rule that no answer is paid
for twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..search.errors import RatchetreeError
from ..search.model import ModelCall
from ..search.ports import CallLog

Block = dict[str, Any]
"""A content block: {"type": "text", "text": ...}, a tool_use, a tool_result, ..."""

Message = dict[str, Any]
"""{"role": "user" | "assistant", "content": [blocks]}"""

HOUR = {"type": "ephemeral", "ttl": "1h"}
FIVE_MINUTES = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One request; the parts that stay the same come first, so that a server can cache them."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[Block, ...] = ()
    schema: dict[str, Any] | None = None  # JSON schema of the answer, where it must be an object


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished answer."""

    content: tuple[Block, ...]
    stop: str  # end_turn, tool_use, max_tokens, refusal, ...

    @property
    def text(self) -> str:
        """Its text blocks."""
        return "\n".join(str(block.get("text", "")) for block in self.content if block.get("type") == "text")

    @property
    def tool_uses(self) -> list[Block]:
        """The tools it wants to use, in order."""
        return [block for block in self.content if block.get("type") == "tool_use"]

    def encode(self) -> str:
        """As it is journalled."""
        return json.dumps({"stop": self.stop, "content": list(self.content)}, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Reply:
        """The inverse of `encode`."""
        value = json.loads(text)
        return cls(content=tuple(value["content"]), stop=value["stop"])


class CannotAsk(RatchetreeError):
    """This request gets no answer however often it is sent; others may."""


class Speaker(Protocol):
    """Whoever answers prompts: a model behind a server, or a recording."""

    name: str  # the backend's
    model: str

    async def say(self, prompt: Prompt, log: CallLog) -> Reply:
        """The answer, after it was recorded in `log`. Raises CannotAsk, Unavailable, or WrongUse for a wrong key."""


@dataclass(slots=True)
class Dialogue:
    """The calls of one plan or one write, in order: what the journal has already is not asked again."""

    speaker: Speaker
    log: CallLog
    turn: int = field(default=0, init=False)

    async def ask(self, prompt: Prompt) -> Reply:
        """The next answer."""
        self.turn += 1
        if self.turn <= len(self.log.replies):
            return Reply.decode(self.log.replies[self.turn - 1])
        return await self.speaker.say(prompt, self.log)

    def summary(self, seconds: float) -> ModelCall:
        """For Planned and Written; the tokens are in the calls themselves."""
        return ModelCall(backend=self.speaker.name, model=self.speaker.model, seconds=round(seconds, 3), dollars=0.0)


def text_block(text: str, cache: dict[str, str] | None = None) -> Block:
    """A text block, remembered by the server up to here if `cache` says so."""
    block: Block = {"type": "text", "text": text}
    return block | {"cache_control": cache} if cache else block


def said(*blocks: Block) -> Message:
    """A user's message."""
    return {"role": "user", "content": list(blocks)}


def answered(reply: Reply) -> Message:
    """An assistant's message, exactly as it came."""
    return {"role": "assistant", "content": list(reply.content)}
