"""A workspace as the page, the report and the terminal app read it, running or not."""

from __future__ import annotations

import time

from ..search.errors import RatchetreeError
from ..search.events import Event
from ..search.model import NodeId, Request
from .inbox import new_id
from .journal import SqliteJournal
from .lock import is_held
from .repository import GitRepository
from .workspace import Workspace

_LOG = 64 * 1024  # bytes of a log's end


class WorkspaceReading:
    """Implements view.reading.Reading. Belongs to the thread that made it, as SQLite's connections do."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.name = workspace.folder.name
        workspace.settings()
        self._journal: SqliteJournal | None = None
        self._file: tuple[int, int] | None = None
        self._repository: GitRepository | None = None
        self._version = -1
        self.generation = 0
        self._open()

    def _open(self) -> None:
        """Open the journal if it is there, or if another file has taken its place."""
        path = self._workspace.journal_path
        try:
            stat = path.stat()
        except FileNotFoundError:
            return
        if self._file != (stat.st_dev, stat.st_ino):
            if self._journal is not None:
                self._journal.close()
                self.generation += 1
            self._journal, self._file, self._version = SqliteJournal.read(path), (stat.st_dev, stat.st_ino), -1

    def changed(self) -> bool:
        """Whether anybody committed to the file, or began another."""
        self._open()
        if self._journal is None:
            return False
        version = self._journal.data_version()
        changed, self._version = version != self._version, version
        return changed

    def since(self, number: int) -> list[tuple[int, Event]]:
        """Events with a higher number."""
        return list(self._journal.since(number)) if self._journal else []

    def events_of(self, node: NodeId) -> list[Event]:
        """The node's own events."""
        return [event for _, event in self._journal.events(node)] if self._journal else []

    def running(self) -> bool:
        """Whether a campaign holds the lock."""
        return is_held(self._workspace.lock_path)

    def files(self, commit: str) -> dict[str, str]:
        """The editable files at a commit."""
        try:
            if self._repository is None:
                self._repository = self._workspace.repository()
            return {file.path: file.text for file in self._repository.sources(commit)}
        except (RatchetreeError, ValueError):  # no such commit, or not all files in it
            return {}

    def log(self, node: NodeId) -> str | None:
        """The end of the log."""
        return self._workspace.log(node, None, last=_LOG)

    def curve(self, node: NodeId) -> list[float]:
        """Training losses."""
        return self._workspace.curve(node)

    def ask(self, request: Request) -> None:
        """Into the inbox."""
        self._workspace.inbox.put(request)

    def request_id(self) -> str:
        """A fresh id."""
        return new_id(time.time())
