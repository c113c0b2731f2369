"""ratchetree as tools of the Model Context Protocol: a user's own coding agent is the researcher. Speaks stdio.

What a tool answers is JSON; what went wrong is one line. The protocol itself is the official package's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mcp.server import MCPServer

from ..search.errors import RatchetreeError
from .prompts import template


class Desk(Protocol):
    """What the tools do."""

    def ask(self, *, tokens: int = 12_000) -> dict[str, Any]:
        """The shortlist and the digest."""

    def submit(
        self,
        *,
        parent: int,
        diff: str,
        title: str,
        hypothesis: str = "",
        category: str = "outside",
        dip: float = 0.0,
        within: int = 0,
    ) -> dict[str, Any]:
        """Leave a patch for the campaign."""

    def show(self, node: int) -> dict[str, Any]:
        """One experiment."""

    def request(self, identifier: str) -> dict[str, Any]:
        """What became of a submission."""

    def status(self) -> dict[str, Any]:
        """Where the campaign stands."""


def serve(desk: Desk) -> None:
    """Answer on standard input and output until the other side is done."""
    build(desk).run("stdio")


def build(desk: Desk) -> MCPServer:
    """The server with its tools."""
    server: MCPServer = MCPServer("ratchetree", instructions=template("researcher"))

    def ask(tokens: int = 12_000) -> dict[str, Any]:
        """The policy's shortlist of nodes with their files, the program, and what was tried with what result."""
        return _answer(lambda: desk.ask(tokens=tokens))

    def submit(
        parent: int,
        diff: str,
        title: str,
        hypothesis: str = "",
        category: str = "outside",
        dip: float = 0.0,
        within: int = 0,
    ) -> dict[str, Any]:
        """Try a patch (a unified diff of the editable files) on a node; the campaign trains, scores and judges it.

        Is it worse first and sets up something better? Announce that: dip, how much worse it is expected to get, in the
        metric's unit, and within, in how many experiments that go on from it that has paid off.
        """
        return _answer(
            lambda: desk.submit(
                parent=parent,
                diff=diff,
                title=title,
                hypothesis=hypothesis,
                category=category,
                dip=dip,
                within=within,
            )
        )

    def show(experiment: int) -> dict[str, Any]:
        """One experiment: verdict, score, failure and its traceback, reason."""
        return _answer(lambda: desk.show(experiment))

    def submission(request: str) -> dict[str, Any]:
        """The experiment that a submission became, or why it was refused."""
        return _answer(lambda: desk.request(request))

    def status() -> dict[str, Any]:
        """Where the campaign stands: main, gain, noise, counts, cost."""
        return _answer(desk.status)

    for tool in (ask, submit, show, submission, status):
        server.tool()(tool)
    return server


def _answer(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A tool's answer; what the user did wrong is an answer too, so that the agent can do better."""
    try:
        return work()
    except RatchetreeError as error:
        return {"error": str(error)}
