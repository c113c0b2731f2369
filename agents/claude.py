"""Asking a model through the `anthropic` SDK, at Anthropic or any server that speaks the Messages API (`base_url`).

Answers are streamed. The SDK's own retries are off: one loop here knows which troubles pass by themselves (it waits as
long as it takes, as a campaign never stops to ask), which cost money although nothing came of them (they are
journalled), and which will never pass.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ..search.errors import Unavailable, WrongUse
from ..search.model import ModelCall
from ..search.ports import CallLog
from .conversation import HOUR, CannotAsk, Prompt, Reply, text_block
from .fencing import one_line
from .prices import Price

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0  # seconds between two tries while a server is away; doubled each time
LOST_TRIES = 3  # how often an answer may break off or come too late: each of them may have been paid for
REFUSALS = 5  # requests refused in a row, each for good, after which it is not the requests that are wrong
LARGEST_REPLY = 2_000_000  # characters; a server that ignores max_tokens must not fill the journal
NO_KEY = "no-key"  # what servers that ask for none are told


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the model is, and who asks. Never printed, never stored."""

    key: str | None = None
    token: str | None = None  # a bearer token in place of a key
    base_url: str | None = None  # None: Anthropic's own

    def __repr__(self) -> str:
        """Without the key."""
        return f"Access(base_url={self.base_url!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why there is no answer, and what to do about it."""

    kind: Literal["wait", "lost", "unstructured", "forbidden", "never"]
    message: str  # one line
    after: float | None = None  # seconds the server asks us to wait


class Claude:
    """Implements Speaker. `say` gets a line when the server goes away and when it is back."""

    name = "claude"

    def __init__(
        self,
        access: Access,
        *,
        model: str,
        max_tokens: int,
        timeout_seconds: float,
        price: Price | None,
        tell: Callable[[str], None] = lambda line: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.model = model
        self._access = access
        self._max_tokens = max_tokens
        self._timeout = timeout_seconds
        self._price = price
        self._tell = tell
        self._sleep = sleep
        self._client: AsyncAnthropic | None = None
        self._structured = True  # until the server says that it cannot
        self._answered = False  # in this session: a key that worked is not called wrong
        self._away = False
        self._refused = 0

    async def check(self) -> None:
        """Ask the server something that costs nothing; WrongUse if it knows neither the key nor the model."""
        import anthropic
        import httpx2

        try:
            await self._connected().messages.count_tokens(
                model=self.model, messages=[{"role": "user", "content": "?"}], timeout=15
            )
        except (anthropic.APIError, httpx2.HTTPError) as error:
            trouble = trouble_of(error, structured=False)
            # A server of somebody else's may not count tokens at all; then the first call will tell.
            not_found = isinstance(error, anthropic.NotFoundError) and self.model not in trouble.message
            if trouble.kind == "forbidden" and not not_found:
                raise WrongUse(trouble.message) from None

    async def close(self) -> None:
        """Let go of the connections; a further question opens new ones."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def say(self, prompt: Prompt, log: CallLog) -> Reply:
        """See Speaker."""
        lost, wait = 0, FIRST_WAIT
        while True:
            outcome = await self._try(prompt, log)
            if isinstance(outcome, Reply):
                self._back()
                return outcome
            if outcome.kind == "unstructured":
                self._structured = False
                continue
            if outcome.kind == "forbidden" and not self._answered:
                raise WrongUse(outcome.message)
            if outcome.kind == "never":
                self._refused += 1
                if self._refused >= REFUSALS:
                    raise WrongUse(f"{outcome.message}; {REFUSALS} requests in a row were refused like this")
                raise CannotAsk(outcome.message)
            lost += outcome.kind == "lost"
            if lost >= LOST_TRIES:
                raise CannotAsk(f"no whole answer in {LOST_TRIES} tries: {outcome.message}")
            self._gone(outcome.message)
            await self._pause(outcome.after if outcome.after is not None else wait, log)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _try(self, prompt: Prompt, log: CallLog) -> Reply | Trouble:
        import anthropic
        import httpx2

        begun = time.perf_counter()
        stream: Any = None
        try:
            async with asyncio.timeout(self._timeout):
                async with self._connected().messages.stream(**self._arguments(prompt)) as stream:
                    message = await stream.get_final_message()
        except TimeoutError:
            trouble = Trouble(kind="lost", message=f"no answer from {self.model} within {self._timeout:g} s")
        except (anthropic.APIError, httpx2.HTTPError, httpx2.StreamError) as error:
            trouble = trouble_of(error, structured=self._structured and prompt.schema is not None)
        except (ValueError, AssertionError, RuntimeError, AttributeError, TypeError) as error:
            # what the SDK's stream reader says to events out of order or not in the API's shape
            trouble = Trouble(kind="lost", message=f"the answer is no stream of messages: {one_line(str(error))}")
        else:
            reply = Reply(content=tuple(_plain(block) for block in message.content), stop=message.stop_reason or "")
            text = reply.encode()
            if len(text) <= LARGEST_REPLY:
                log.record(self._call(message.usage, begun, stream.request_id, stop=reply.stop), text)
                return reply
            trouble = Trouble(kind="lost", message=f"the answer has {len(text):,} characters")
        if stream is not None and (usage := _usage_so_far(stream)) is not None:  # it began: it will be on the bill
            log.record(self._call(usage, begun, stream.request_id, error=trouble.message), "")
            return replace(trouble, kind="lost")
        return trouble

    def _arguments(self, prompt: Prompt) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self._max_tokens,
            "system": [text_block(prompt.system, HOUR)],
            "messages": list(prompt.messages),
        }
        if prompt.tools:
            arguments["tools"] = list(prompt.tools)
        if prompt.schema is not None and self._structured:
            from anthropic import transform_schema

            schema = transform_schema(prompt.schema)
            arguments["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return arguments

    def _call(self, usage: Any, begun: float, request_id: str | None, *, stop: str = "", error: str = "") -> ModelCall:
        written = usage.cache_creation_input_tokens or 0
        by_age = usage.cache_creation
        for_hour = by_age.ephemeral_1h_input_tokens if by_age is not None else written
        tokens = {"input": usage.input_tokens or 0, "output": usage.output_tokens or 0}
        read = usage.cache_read_input_tokens or 0
        dollars = None
        if self._price is not None:
            dollars = self._price.dollars(**tokens, write_5m=written - for_hour, write_1h=for_hour, read=read)
        return ModelCall(
            backend=self.name,
            model=self.model,
            seconds=round(time.perf_counter() - begun, 3),
            input_tokens=tokens["input"],
            output_tokens=tokens["output"],
            cache_write_tokens=written,
            cache_read_tokens=read,
            dollars=dollars,
            request_id=one_line(request_id or "", 80),
            stop=stop,
            error=error,
        )

    def _connected(self) -> AsyncAnthropic:
        if self._client is None:
            import anthropic

            key = self._access.key or (None if self._access.token else NO_KEY)
            self._client = anthropic.AsyncAnthropic(
                api_key=key,
                auth_token=self._access.token,
                base_url=self._access.base_url,
                max_retries=0,
                timeout=self._timeout,
            )
        return self._client

    async def _pause(self, seconds: float, log: CallLog) -> None:
        left = min(seconds, 3600.0)
        while left > 0:
            if log.stopping():
                raise Unavailable("the model's server does not answer, and the campaign is stopping")
            await self._sleep(min(1.0, left))
            left -= 1.0

    def _gone(self, message: str) -> None:
        if not self._away:
            self._away = True
            self._tell(f"{message}; trying again until it answers")

    def _back(self) -> None:
        self._answered, self._refused = True, 0
        if self._away:
            self._away = False
            self._tell(f"{self.model} answers again")


def trouble_of(error: Exception, *, structured: bool) -> Trouble:
    """What an exception of the SDK means. `structured`: the request asked for an answer in a JSON schema."""
    import anthropic

    if not isinstance(error, anthropic.APIStatusError):
        if isinstance(error, anthropic.APIConnectionError) and not isinstance(error, anthropic.APITimeoutError):
            return Trouble(kind="wait", message="the model's server cannot be reached")
        kind = type(error).__name__
        return Trouble(kind="lost", message=f"the answer broke off ({kind}: {one_line(str(error), 120)})")
    status, words = error.status_code, one_line(error.api_message or str(error), 160)
    line = f"the model's server says {status}: {words}"
    if error.request_id:
        line += f" (request {one_line(error.request_id, 60)})"
    if status == 400 and structured and any(word in words for word in ("output_config", "output_format", "schema")):
        return Trouble(kind="unstructured", message=line)
    if status in (401, 402, 403, 404) or "credit balance" in words:
        hints = {401: "check ANTHROPIC_API_KEY", 404: "check agents.*.model and base_url", 402: "check the account"}
        return Trouble(kind="forbidden", message=f"{line}; {hints.get(status, 'check the account')}")
    if status in (408, 409, 429) or status >= 500 or status == 200:  # 200: an error in mid-stream
        return Trouble(kind="wait", message=line, after=_retry_after(error))
    return Trouble(kind="never", message=line)


def _retry_after(error: Any) -> float | None:
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _usage_so_far(stream: Any) -> Any:
    try:
        return stream.current_message_snapshot.usage
    except AssertionError:  # the SDK's word for: no message has begun
        return None


def _plain(block: Any) -> dict[str, Any]:
    found: dict[str, Any] = block.model_dump(mode="json", exclude_none=True, exclude={"parsed_output"})
    return found
