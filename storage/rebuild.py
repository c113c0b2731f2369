"""The journal from git alone: every node's note holds its events."""

from __future__ import annotations

import json

from ..search.errors import RatchetreeError
from ..search.events import CampaignStarted, Committed, Event, Settled, Written, decode, experiment_of
from .repository import PINS, GitRepository


def events_from_git(repository: GitRepository) -> list[Event]:
    """All events that git remembers, in the journal's order. Raises RatchetreeError if there are none.

    An experiment in flight left its note just before its commit was journalled: that event comes from the pin.
    """
    numbered: dict[int, Event] = {}
    late: list[tuple[int, Event]] = []
    refs = repository.refs()
    for note in repository.notes():
        lines = _parse(note)
        numbered.update(lines)
        number, last = lines[-1]
        node = experiment_of(last)
        commit = refs.get(f"{PINS}{node or 0:04d}")
        if node and commit and not any(isinstance(event, Settled) for _, event in lines):
            attempt = sum(isinstance(event, Written) for _, event in lines) - 1
            late.append((number, Committed(time=last.time, experiment=node, attempt=max(0, attempt), commit=commit)))
    if not numbered:
        raise RatchetreeError(f"{repository.path}: git holds no experiment, so there is nothing to rebuild")
    ordered = [(number, 0, event) for number, event in numbered.items()] + [(n, 1, event) for n, event in late]
    events = [event for _, _, event in sorted(ordered, key=lambda item: item[:2])]
    if not isinstance(events[0], CampaignStarted):
        raise RatchetreeError("git does not remember how the campaign began (the root's note is missing)")
    return events


def _parse(note: str) -> list[tuple[int, Event]]:
    found = []
    for line in note.splitlines():
        try:
            entry = json.loads(line)
            found.append((int(entry["number"]), decode(json.dumps(entry["event"]))))
        except (ValueError, KeyError, TypeError) as error:
            raise RatchetreeError(
                f"refs/notes/ratchetree holds a note that is not ratchetree's: {line[:80]!r}"
            ) from error
    return found
