"""A recorded campaign's replies once more, byte for byte: to see a campaign again, or to test without a model."""

from __future__ import annotations

from collections.abc import Iterable

from ..search.events import Called, Event
from ..search.model import ModelCall, NodeId
from ..search.ports import CallLog
from .conversation import CannotAsk, Prompt, Reply


class Recording:
    """Implements Speaker: the reply that the same experiment got for the same purpose, in the same turn."""

    name = "replay"
    model = ""  # nothing is paid for

    def __init__(self, events: Iterable[Event]) -> None:
        self._replies: dict[tuple[NodeId, str, int], list[str]] = {}
        for event in events:
            if isinstance(event, Called) and event.reply:
                key = (event.experiment, event.purpose, event.attempt)
                self._replies.setdefault(key, []).append(event.reply)
        self._given: dict[tuple[NodeId, str, int], int] = {}

    async def say(self, prompt: Prompt, log: CallLog) -> Reply:
        """The next recorded reply; CannotAsk where the recording ends."""
        key = (log.experiment, log.purpose, log.attempt)
        turn = self._given.get(key, len(log.replies))
        replies = self._replies.get(key, [])
        if turn >= len(replies):
            raise CannotAsk(
                f"the recording has no reply {turn + 1} for experiment {log.experiment:04d} ({log.purpose})"
            )
        self._given[key] = turn + 1
        log.record(ModelCall(backend=self.name), replies[turn])
        return Reply.decode(replies[turn])
