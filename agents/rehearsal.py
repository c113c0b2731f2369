"""A server that speaks the wire protocol of `/v1/messages` and is no model: to rehearse a campaign and what it costs.

JSON and SSE, tools, structured output, `count_tokens`, a prompt cache with its times to live, and every way in which a
real server fails, on demand. It checks requests as strictly as the real one, so that what passes here is well-formed.
It is made of the standard library: a test needs to cut a connection in mid-sentence, which frameworks are there to
prevent. Tokens are counted as bytes / 4. What it says comes from a `Brain`; see `rehearsed.py` for the one that ships.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from .conversation import Block

Body = dict[str, Any]
SMALLEST_CACHED = 1024  # tokens; shorter prefixes are not remembered
_KNOWN_KEYS = {
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stream",
    "output_config",
    "stop_sequences",
    "metadata",
    "thinking",
    "service_tier",
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says."""

    content: tuple[Block, ...]
    stop: str = "end_turn"


Brain = Callable[[Body], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail."""

    status: int = 0  # an HTTP error in place of an answer
    message: str = "rehearsed"
    retry_after: float | None = None
    raw: bytes | None = None  # sent as the whole body of a 200
    cut_after: int | None = None  # events of the stream, then the connection ends
    error_after: int | None = None  # events of the stream, then an `overloaded_error` in it
    delay: float = 0.0  # seconds before the first byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One answer as the server counted it."""

    request_id: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int  # of them
    cache_read_tokens: int
    whole: bool  # whether it was sent to its end

    @property
    def tokens(self) -> int:
        """Of all kinds together."""
        return self.input_tokens + self.output_tokens + self.cache_write_tokens + self.cache_read_tokens


@dataclass
class Rehearsal:
    """The server; use it as a context manager, or `start` and `stop` it. `faults` is asked with the number of each
    request to `/v1/messages`, from 0."""

    brain: Brain
    port: int = 0  # 0: any that is free
    key: str | None = None  # the only key that it takes; None: any
    models: tuple[str, ...] = ()  # that it knows; empty: any
    structured: bool = True  # whether it knows output_config
    counts: bool = True  # whether it knows count_tokens
    faults: Callable[[int], Fault | None] = lambda number: None
    seconds: Callable[[int], float] = lambda number: 0.0  # how long an answer takes
    clock: Callable[[], float] = time.monotonic
    bills: list[Bill] = field(default_factory=list)
    requests: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.thinking = threading.Lock()  # Python before 3.11.8 cannot parse in two threads at once (SystemError)
        self._cache: dict[str, float] = {}  # hash of a prefix -> when it is forgotten
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Be gone."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what a request goes through ------------------------------------------------------------------------------

    def take(self, body: Body) -> tuple[int, Fault | None]:
        """The request's number, and how it is to fail."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
        return number, self.faults(number)

    def problem(self, body: Body, headers: Any) -> tuple[int, str] | None:
        """(status, message) of what is wrong with a request; None if nothing is."""
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and key != self.key:
            return 401, "invalid x-api-key"
        if not headers.get("anthropic-version"):
            return 400, "anthropic-version: header is required"
        if self.models and body.get("model") not in self.models:
            return 404, f"model: {body.get('model')}"
        if not self.structured and "output_config" in body:
            return 400, "output_config: Extra inputs are not permitted"
        wrong = problem_of(body)
        return (400, wrong) if wrong else None

    def count(self, body: Body) -> dict[str, int]:
        """Input tokens by kind, as the prompt cache has it."""
        position, marks = 0, list[tuple[int, str, float]]()
        running = sha256()
        for block, cache in _blocks(body):
            text = json.dumps(block, sort_keys=True)
            running.update(text.encode())
            position += tokens(text)
            if cache:
                marks.append((position, running.hexdigest(), 3600.0 if cache.get("ttl") == "1h" else 300.0))
        marks = [mark for mark in marks if mark[0] >= SMALLEST_CACHED]
        now = self.clock()
        with self._lock:
            known = [at for at, name, _ in marks if self._cache.get(name, -1.0) > now]
            read, end = max(known, default=0), max((at for at, _, _ in marks), default=0)
            for _, name, ttl in marks:
                self._cache[name] = now + ttl
        hours = [at for at, _, ttl in marks if ttl > 300]
        for_hour = max(0, max(hours, default=0) - read)
        written = max(0, end - read)
        return {"input": position - max(read, end), "read": read, "write_1h": for_hour, "write_5m": written - for_hour}

    def charge(self, number: int, body: Body, counted: dict[str, int], output: int, *, whole: bool) -> None:
        """Put an answer on the bill."""
        bill = Bill(
            request_id=request_id(number),
            model=str(body["model"]),
            input_tokens=counted["input"],
            output_tokens=output,
            cache_write_tokens=counted["write_1h"] + counted["write_5m"],
            cache_write_1h_tokens=counted["write_1h"],
            cache_read_tokens=counted["read"],
            whole=whole,
        )
        with self._lock:
            self.bills.append(bill)


def tokens(text: str) -> int:
    """The server's idea of tokens."""
    return -(-len(text.encode()) // 4)


def request_id(number: int) -> str:
    """The name of a request."""
    return f"req_rehearsal_{number:06d}"


def problem_of(body: Body) -> str | None:
    """What the real server would not accept."""
    unknown = sorted(body.keys() - _KNOWN_KEYS)
    if unknown:
        return f"{unknown[0]}: Extra inputs are not permitted"
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        return "max_tokens: Field required"
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        return "tool_choice: forcing a tool is not supported by this model"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or messages[0].get("role") != "user":
        return "messages: first message must use the user role"
    wanted: list[str] = []
    for index, message in enumerate(messages):
        content = message["content"]
        if message.get("role") != ("user", "assistant")[index % 2]:
            return f"messages.{index}: roles must alternate"
        if not content:
            return f"messages.{index}: content must not be empty"
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
            return f"messages.{index}: text content blocks must be non-empty"
        given = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(given) != sorted(wanted):
            return f"messages.{index}: every tool_use needs its tool_result in the next message"
        wanted = [block["id"] for block in blocks if block["type"] == "tool_use"]
    caches = [cache for _, cache in _blocks(body) if cache]
    if len(caches) > 4:
        return f"A maximum of 4 blocks with cache_control may be provided. Found {len(caches)}."
    ages = [cache.get("ttl", "5m") for cache in caches]
    if ages != sorted(ages):
        return "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
    return None


def _blocks(body: Body) -> Iterator[tuple[Any, dict[str, Any] | None]]:
    """(block without its mark, mark) in the order in which the server reads a prompt: tools, system, messages."""
    system = body.get("system", [])
    parts = [*body.get("tools", []), *([{"type": "text", "text": system}] if isinstance(system, str) else system)]
    for message in body.get("messages", []):
        content = message["content"]
        parts += [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in parts:
        yield {key: value for key, value in part.items() if key != "cache_control"}, part.get("cache_control")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(server: Rehearsal) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            path = self.path.partition("?")[0]
            if path == "/v1/messages/count_tokens" and server.counts:
                wrong = server.problem({"max_tokens": 1, **body}, self.headers)
                total = sum(tokens(json.dumps(block)) for block, _ in _blocks(body))
                self._json({"input_tokens": total}) if wrong is None else self._error(*wrong, number=0)
            elif path == "/v1/messages":
                self._messages(body)
            else:
                self._error(404, f"no such path: {path}", number=0)

        def _messages(self, body: Body) -> None:
            number, fault = server.take(body)
            wrong = server.problem(body, self.headers)
            if wrong is not None:
                return self._error(*wrong, number=number)
            fault = fault or Fault()
            if fault.delay:
                time.sleep(fault.delay)
            if fault.raw is not None:
                return self._send(200, fault.raw, number, "text/event-stream")
            if fault.status:
                return self._error(fault.status, fault.message, number=number, retry_after=fault.retry_after)
            if seconds := server.seconds(number):
                time.sleep(seconds)
            with server.thinking:
                answer, counted = server.brain(body), server.count(body)
            if body.get("stream"):
                return self._stream(number, body, answer, counted, fault)
            output = sum(tokens(json.dumps(block)) for block in answer.content)
            server.charge(number, body, counted, output, whole=True)
            return self._json(_message(number, body, answer, counted, output), number)

        def _stream(self, number: int, body: Body, answer: Answer, counted: dict[str, int], fault: Fault) -> None:
            events = list(_events(number, body, answer, counted))
            sent = events if fault.cut_after is None else events[: fault.cut_after]
            if fault.error_after is not None:
                error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
                sent = [*events[: fault.error_after], error]
            ends = [event["usage"]["output_tokens"] for event in sent if event["type"] == "message_delta"]
            # What the client could see is what is charged: the rest of a reply that breaks off is generated for nobody.
            server.charge(number, body, counted, ends[0] if ends else 1, whole=sent is events)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("request-id", request_id(number))
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for event in sent:
                data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            if fault.cut_after is None:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True

        def _error(self, status: int, message: str, *, number: int, retry_after: float | None = None) -> None:
            name = _TYPES.get(status, "api_error")
            body = {"type": "error", "error": {"type": name, "message": message}, "request_id": request_id(number)}
            extra = {"retry-after": f"{retry_after:g}"} if retry_after is not None else {}
            self._send(status, json.dumps(body).encode(), number, "application/json", extra)

        def _json(self, value: Any, number: int = 0) -> None:
            self._send(200, json.dumps(value).encode(), number, "application/json")

        def _send(self, status: int, data: bytes, number: int, kind: str, extra: dict[str, str] | None = None) -> None:
            self.send_response(status)
            headers = {"content-type": kind, "content-length": str(len(data)), "request-id": request_id(number)}
            for name, value in {**headers, **(extra or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    return Handler


def _usage(counted: dict[str, int], output: int) -> dict[str, Any]:
    return {
        "input_tokens": counted["input"],
        "output_tokens": output,
        "cache_read_input_tokens": counted["read"],
        "cache_creation_input_tokens": counted["write_1h"] + counted["write_5m"],
        "cache_creation": {
            "ephemeral_1h_input_tokens": counted["write_1h"],
            "ephemeral_5m_input_tokens": counted["write_5m"],
        },
    }


def _message(number: int, body: Body, answer: Answer, counted: dict[str, int], output: int) -> Body:
    return {
        "id": f"msg_rehearsal_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": list(answer.content),
        "stop_reason": answer.stop,
        "stop_sequence": None,
        "usage": _usage(counted, output),
    }


def _events(number: int, body: Body, answer: Answer, counted: dict[str, int]) -> Iterator[Body]:
    """The answer as a stream: each text and each tool input in pieces."""
    begun = _message(number, body, answer, counted, 1) | {"content": [], "stop_reason": None}
    yield {"type": "message_start", "message": begun}
    output = 0
    for index, block in enumerate(answer.content):
        text = block["text"] if block["type"] == "text" else json.dumps(block["input"])
        output += tokens(text) + 4
        empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        yield {"type": "ping"}
        size = max(400, len(text) // 50)
        for start in range(0, len(text), size):
            piece = text[start : start + size]
            delta = {"type": "input_json_delta", "partial_json": piece}
            if block["type"] == "text":
                delta = {"type": "text_delta", "text": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": answer.stop, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": output}}
    yield {"type": "message_stop"}
