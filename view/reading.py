"""What the page and the report read of a workspace beyond the events. `cli.py` fills it in: view imports no storage."""

from __future__ import annotations

from typing import Protocol

from ..search.events import Event
from ..search.model import NodeId, Request


class Reading(Protocol):
    """A campaign's folder, read only; `ask` alone leaves something there, for the campaign to find."""

    name: str  # of the folder, for the title
    generation: int  # goes up when another journal takes the place of the one that was read

    def events_of(self, node: NodeId) -> list[Event]:
        """The node's own events, in order."""

    def changed(self) -> bool:
        """Whether the journal may have grown since the last call; cheap."""

    def since(self, number: int) -> list[tuple[int, Event]]:
        """Events with a higher number, in order. Raises RatchetreeError."""

    def running(self) -> bool:
        """Whether a campaign's process works here now."""

    def files(self, commit: str) -> dict[str, str]:
        """The editable files at a commit; empty where they are not there."""

    def log(self, node: NodeId) -> str | None:
        """The end of what the node's last trial printed, as it printed it."""

    def curve(self, node: NodeId) -> list[float]:
        """Training losses of the node's last trial."""

    def ask(self, request: Request) -> None:
        """Leave a request for the campaign."""

    def request_id(self) -> str:
        """A fresh id for a request."""
