"""`ratchetree serve`: the live page. Reads the journal as it grows and tells every browser what changed.

Only this machine can reach it; the Host and Origin headers are checked, so that a foreign page cannot read through a
browser; nothing is loaded from elsewhere. Reading is free; asking the campaign for something takes the token.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from types import FrameType
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as Http
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..search.errors import RatchetreeError, WrongUse
from ..search.model import Ask, Request
from .page_data import Json, PageData, dump
from .page_detail import detail, summary
from .reading import Reading

POLL_SECONDS = 0.02
"""How often the journal is looked at while a browser listens: 1.3 % of a core, the loop included."""
_ALONE_SECONDS = 0.25  # and while none does
_BEAT_SECONDS = 15
_LAYOUT_SECONDS = 0.5  # in a large tree places follow this much later, once for all that happened meanwhile
_QUICK = 1200  # nodes up to which a layout is sent with the rows
_MOST = 64 * 1024  # bytes of a request's body
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ASKS = (Ask.PAUSE, Ask.RESUME, Ask.STOP, Ask.CLOSE, Ask.REOPEN, Ask.REPEAT, Ask.PROMOTE)


class Watcher:
    """The one reader of the journal, for however many browsers."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.data = PageData(reading.name)
        self.running = False
        self.error = ""
        self.ending = False
        self.listeners = 0
        self.news = asyncio.Event()  # replaced at every piece of news
        self._generation = reading.generation
        self._cached: dict[tuple[str, int, int, bool], str] = {}

    async def watch(self) -> None:
        """Until cancelled."""
        looked = 0.0
        while True:
            try:
                fresh = self.reading.changed() and self.look()
                if time.monotonic() - looked > 1:
                    looked, was = time.monotonic(), self.running
                    self.running = self.reading.running()
                    fresh = fresh or was != self.running
                fresh, self.error = fresh or bool(self.error), ""
            except RatchetreeError as error:
                fresh, self.error = str(error) != self.error, str(error)
            if fresh:
                self.tell()
            await asyncio.sleep(POLL_SECONDS if self.listeners else _ALONE_SECONDS)

    def look(self) -> bool:
        """Read what is new; whether there was anything."""
        if self.reading.generation != self._generation:
            self._generation = self.reading.generation
            self.data = PageData(self.reading.name)
        return self.data.feed(self.reading.since(self.data.number))

    def tell(self) -> None:
        """Wake everybody who waits for news."""
        self.news.set()
        self.news = asyncio.Event()

    def message(self, kind: str, after: int) -> str:
        """A delta or the moves since `after`, made once for all who are equally far."""
        key = (kind, after, self.data.number, self.running)
        if key not in self._cached:
            self._cached = {k: v for k, v in self._cached.items() if k[2] == self.data.number}
            data = self.data
            self._cached[key] = data.delta(after, running=self.running) if kind == "delta" else data.moves(after)
        return self._cached[key]

    def snapshot(self, others: list[Json]) -> str:
        """Everything, made once for all who open the page at the same event."""
        key = ("snapshot", 0, self.data.number, self.running)
        if key not in self._cached:
            beside = _others(self, others)
            self._cached = {key: self.data.snapshot(running=self.running, others=beside)}
        return self._cached[key]


def make_app(reading: Reading, *, token: str, hosts: set[str], others: list[Json] | None = None) -> Starlette:
    """The application. hosts: allowed Host headers; others: the courses of campaigns to compare with."""
    watcher = Watcher(reading)

    async def page(_: Http) -> Response:
        return _reply(_document(), "text/html")

    async def asset(http: Http) -> Response:
        name = http.path_params["name"]
        return _reply(_built(name), "text/javascript" if name.endswith("js") else "text/css")

    async def campaign(_: Http) -> Response:
        if watcher.error:
            return _json({"error": watcher.error}, 503)
        watcher.look()
        watcher.running = watcher.reading.running()
        return _reply(watcher.snapshot(others or []).encode(), "application/json")

    async def events(http: Http) -> Response:
        after = http.headers.get("last-event-id") or http.query_params.get("after", "0")
        start = int(after) if after.isdigit() else 0
        return StreamingResponse(_stream(watcher, start, http), headers=_HEADERS, media_type="text/event-stream")

    async def node(http: Http) -> Response:
        number = http.path_params["id"]
        if number not in watcher.data.tree:
            return _json({"error": f"there is no experiment {number:04d}"}, 404)
        return _json(detail(watcher.data.tree, number, reading.events_of(number), reading))

    async def sources(http: Http) -> Response:
        number = http.path_params["id"]
        commit = watcher.data.tree.node(number).commit if number in watcher.data.tree else None
        return _json(dict(reading.files(commit)) if commit else {})

    async def morning(_: Http) -> Response:
        return _json(summary(watcher.data.tree))

    async def ask(http: Http) -> Response:
        return await _ask(http, watcher, token)

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(watcher.watch())
        yield
        task.cancel()

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/built/{name:str}", asset),
            Route("/api/campaign", campaign),
            Route("/api/events", events),
            Route("/api/node/{id:int}", node),
            Route("/api/files/{id:int}", sources),
            Route("/api/summary", morning),
            Route("/api/ask", ask, methods=["POST"]),
        ],
        middleware=[Middleware(_OnlyHere, hosts=hosts)],
        exception_handlers={RatchetreeError: _explain, OSError: _explain},
        lifespan=life,
    )
    app.state.watcher = watcher
    return app


def listen(port: int) -> socket.socket:
    """A socket on the loopback interface; port 0 takes any free one. Raises WrongUse if it is in use."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(("127.0.0.1", port))
        opened.listen(128)  # whoever comes before the server is up waits
    except (OSError, OverflowError) as error:
        opened.close()
        raise WrongUse(f"--port {port} cannot be used ({getattr(error, 'strerror', error)}): give another") from error
    return opened


def serve(reading: Reading, opened: socket.socket, *, token: str, others: list[Json] | None = None) -> None:
    """Answer until interrupted."""
    import uvicorn

    port = opened.getsockname()[1]
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
    app = make_app(reading, token=token, hosts=hosts, others=others)
    watcher: Watcher = app.state.watcher

    class Server(uvicorn.Server):
        """Ends the event streams too, which would go on for as long as browsers listen."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            watcher.ending = True
            watcher.tell()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, server_header=False, ws="none")
    Server(config).run(sockets=[opened])


class _OnlyHere:
    """Refuses what a foreign page could send through a browser: another Host (DNS rebinding) or another Origin."""

    def __init__(self, app: ASGIApp, hosts: set[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            http = Http(scope)
            origin = http.headers.get("origin")
            foreign = origin is not None and origin not in {f"http://{host}" for host in self._hosts}
            if http.headers.get("host") not in self._hosts or foreign:
                await _json({"error": "this page answers to this machine only"}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _stream(watcher: Watcher, after: int, http: Http) -> AsyncIterator[str]:
    """Server-sent events: what changed since `after`, now and whenever something does."""
    watcher.listeners += 1
    try:
        async for message in _told(watcher, after, http):
            yield message
    finally:
        watcher.listeners -= 1


async def _told(watcher: Watcher, after: int, http: Http) -> AsyncIterator[str]:
    sent = placed = after
    since: float | None = None  # when places began to be out of date
    yield "retry: 1000\n\n"
    while not (watcher.ending or await http.is_disconnected()):
        news, number = watcher.news, watcher.data.number
        if sent > number:  # another journal: begin again
            yield "event: anew\ndata: {}\n\n"
            return
        quiet = sent == number
        if not quiet or watcher.news is not news:
            yield f"id: {number}\nevent: delta\ndata: {watcher.message('delta', sent)}\n\n"
            sent = number
        if placed < number:
            since = since or time.monotonic()
            late = len(watcher.data.tree) <= _QUICK or time.monotonic() - since >= _LAYOUT_SECONDS
            if late:
                yield f"id: {number}\nevent: places\ndata: {watcher.message('places', placed)}\n\n"
                placed, since = number, None
        wait = _LAYOUT_SECONDS if placed < number else _BEAT_SECONDS
        if watcher.data.number != sent:
            continue
        try:
            await asyncio.wait_for(news.wait(), wait)
            if watcher.data.number == sent and not watcher.ending:  # the process started or ended
                yield f"event: delta\ndata: {watcher.message('delta', sent)}\n\n"
        except TimeoutError:
            if wait == _BEAT_SECONDS:
                yield "event: beat\ndata: {}\n\n"


async def _ask(http: Http, watcher: Watcher, token: str) -> Response:
    given = http.headers.get("authorization", "").removeprefix("Bearer ")
    if not secrets.compare_digest(given.encode(), token.encode()):
        return _json({"error": "the token that was printed at start is missing or wrong"}, 403)
    if http.headers.get("content-type", "").split(";")[0] != "application/json":
        return _json({"error": "send JSON"}, 415)
    body = await http.body()
    if len(body) > _MOST:
        return _json({"error": "too long"}, 413)
    try:
        request = _request(json.loads(body), watcher)
    except (ValueError, TypeError, AttributeError) as error:
        return _json({"error": str(error) or "not understood"}, 400)
    watcher.reading.ask(request)
    return _json({"asked": request.id})


def _request(body: dict[str, Any], watcher: Watcher) -> Request:
    """A request from what a browser sent; ValueError with what is wrong with it."""
    ask = Ask(body["ask"]) if body.get("ask") in list(Ask) else None
    if ask not in _ASKS:
        raise ValueError(f"{body.get('ask')!r} cannot be asked here; allowed: {', '.join(_ASKS)}")
    node, trials = body.get("node"), body.get("trials", 1)
    if ask in (Ask.PAUSE, Ask.RESUME, Ask.STOP):
        node = None
    elif type(node) is not int or node not in watcher.data.tree:
        raise ValueError(f"there is no experiment {node!r}")
    if type(trials) is not int or not 1 <= trials <= 20:
        raise ValueError(f"{trials!r} trials: allowed are 1 to 20")
    note = str(body.get("note", ""))
    return Request(id=watcher.reading.request_id(), ask=ask, node=node, note=note[:2000], trials=trials)


def _others(watcher: Watcher, others: list[Json]) -> list[Json]:
    return [{"name": watcher.data.name, "points": watcher.data.course()}, *others] if others else []


async def _explain(_: Http, error: Exception) -> Response:
    """A journal or a log that cannot be read is said to the browser; the server goes on."""
    return _json({"error": str(error)}, 503)


def _built(name: str) -> bytes:
    found = files("ratchetree") / "view" / "page" / "built" / name
    return found.read_bytes() if name in ("page.js", "page.css") else b""


def _document() -> bytes:
    body = (files("ratchetree") / "view" / "page" / "body.html").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>ratchetree</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        '<link rel="preload" as="fetch" href="api/campaign" crossorigin>\n'
        f'<link rel="stylesheet" href="built/page.css"></head>\n<body>\n{body}<script src="built/page.js"></script>\n'
        "</body></html>\n"
    ).encode()


def _reply(content: bytes, media_type: str, status: int = 200) -> Response:
    return Response(content, status, headers=_HEADERS, media_type=media_type)


def _json(shape: Json, status: int = 200) -> Response:
    return _reply(dump(shape).encode(), "application/json", status)
