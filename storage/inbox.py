"""What people ask of a running campaign: one small file a request, so that any process may ask and none is lost."""

from __future__ import annotations

import secrets
from pathlib import Path

from ..search.errors import RatchetreeError
from ..search.events import decode_request, encode_request
from ..search.model import Request


class FolderInbox:
    """Implements ports.Inbox in a folder. Requests come in the order of their ids, which `new_id` makes ascending."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, request: Request) -> None:
        """Leave a request; it is there whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        half = self._folder / f".{request.id}.half"
        half.write_text(encode_request(request), encoding="utf-8")
        half.replace(self._folder / f"{request.id}.json")

    def waiting(self) -> list[Request]:
        """All requests that were not removed yet, oldest first; what is no request is put aside."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                found.append(decode_request(path.read_text(encoding="utf-8")))
            except ValueError:
                path.replace(path.with_suffix(".refused"))
        return found

    def remove(self, identifier: str) -> None:
        """The request is journalled."""
        (self._folder / f"{identifier}.json").unlink(missing_ok=True)


def new_id(now: float) -> str:
    """An id for a request made at `now` (seconds since the epoch): later ones sort after earlier ones."""
    if now < 0:
        raise RatchetreeError("the clock is before 1970: set it right")
    return f"{int(now * 1000):014d}-{secrets.token_hex(4)}"
