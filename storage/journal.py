"""The journal: an append-only `events` table in `.ratchetree/journal.db`, and views that any SQLite tool can read.

One process writes (the campaign holds the lock); readers open the file read-only at any time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..search.errors import RatchetreeError
from ..search.events import Event, decode, encode, experiment_of
from ..search.model import NodeId
from ..search.tree import ROOT

if TYPE_CHECKING:
    from sqlite_utils import Database

SCHEMA = 1
"""PRAGMA user_version of the files this code writes; a higher one was written by a newer ratchetree."""

_INSERT = "INSERT INTO events (time, kind, experiment, body) VALUES (?, ?, ?, ?)"
_VIEWS = {
    "experiments": """
        SELECT p.experiment AS id,
               json_extract(p.body, '$.parent') AS parent,
               json_extract(p.body, '$.outcome.title') AS title,
               json_extract(p.body, '$.outcome.category') AS category,
               json_extract(j.body, '$.verdict') AS verdict,
               json_extract(j.body, '$.reason') AS reason,
               json_extract(j.body, '$.failure.kind') AS failure,
               (SELECT json_extract(c.body, '$.commit') FROM events c
                 WHERE c.experiment = p.experiment AND c.kind = 'committed' ORDER BY c.number DESC LIMIT 1) AS "commit",
               p.time AS planned, j.time AS judged
        FROM events p LEFT JOIN events j ON j.experiment = p.experiment AND j.kind = 'judged'
        WHERE p.kind = 'planned'""",
    "trials": """
        SELECT t.experiment, json_extract(t.body, '$.trial') AS trial, json_extract(t.body, '$.seed') AS seed,
               (SELECT json_extract(s.body, '$.outcome.value') FROM events s
                 WHERE s.experiment = t.experiment AND s.kind = 'scored' AND s.number > t.number
                   AND json_extract(s.body, '$.trial') = json_extract(t.body, '$.trial')
                 ORDER BY s.number LIMIT 1) AS value,
               json_extract(t.body, '$.outcome.kind') AS failure,
               json_extract(t.body, '$.seconds') AS seconds,
               json_extract(t.body, '$.outcome.startup_seconds') AS startup_seconds,
               json_extract(t.body, '$.outcome.train_seconds') AS train_seconds,
               json_extract(t.body, '$.outcome.cpu_seconds') AS cpu_seconds,
               json_extract(t.body, '$.outcome.peak_memory_mb') AS peak_memory_mb,
               json_extract(t.body, '$.outcome.steps') AS steps,
               json_extract(t.body, '$.outcome.tokens') AS tokens,
               t.time AS time
        FROM events t WHERE t.kind = 'trained'""",
    "model_calls": """
        SELECT c.experiment,
               coalesce(json_extract(c.body, '$.purpose'), CASE c.kind WHEN 'planned' THEN 'plan' ELSE 'write' END)
                   AS purpose,
               coalesce(json_extract(c.body, '$.attempt'), 0) AS attempt,
               json_extract(c.body, '$.call.backend') AS backend, json_extract(c.body, '$.call.model') AS model,
               json_extract(c.body, '$.call.seconds') AS seconds,
               coalesce(json_extract(c.body, '$.call.input_tokens'), 0) AS input_tokens,
               coalesce(json_extract(c.body, '$.call.output_tokens'), 0) AS output_tokens,
               coalesce(json_extract(c.body, '$.call.cache_write_tokens'), 0) AS cache_write_tokens,
               coalesce(json_extract(c.body, '$.call.cache_read_tokens'), 0) AS cache_read_tokens,
               CASE json_extract(c.body, '$.call.model') WHEN '' THEN 0.0
                    ELSE json_extract(c.body, '$.call.dollars') END AS dollars,
               json_extract(c.body, '$.call.request_id') AS request_id, json_extract(c.body, '$.call.stop') AS stop,
               json_extract(c.body, '$.call.error') AS error, c.time
        FROM events c
        WHERE c.kind = 'called' OR c.kind IN ('planned', 'written') AND NOT EXISTS (
            SELECT 1 FROM events d WHERE d.experiment = c.experiment AND d.kind = 'called'
               AND json_extract(d.body, '$.purpose') = CASE c.kind WHEN 'planned' THEN 'plan' ELSE 'write' END)""",
}


class SqliteJournal:
    """A journal in a file. Open it for writing with `create`, for reading with `read`."""

    def __init__(self, path: Path, database: Database) -> None:
        self._path = path
        self._database = database

    @classmethod
    def create(cls, path: Path) -> SqliteJournal:
        """Open for writing, made new if missing. Raises RatchetreeError for a damaged or newer file."""
        from sqlite_utils import Database

        path.parent.mkdir(parents=True, exist_ok=True)
        with _explained(path):
            if not path.exists():
                cls._make(path)
            # Autocommit: every event is durable when append returns, power cuts included (measured: 0.2 ms each).
            connection = sqlite3.connect(path, isolation_level=None)
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise sqlite3.DatabaseError(said)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            journal = cls(path, Database(connection))
            journal._migrate()
        return journal

    @classmethod
    def _make(cls, path: Path) -> None:
        """An empty journal, made beside its place: nobody who reads meanwhile meets a file without its tables."""
        from sqlite_utils import Database

        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            cls(unfinished, Database(connection))._migrate()
        unfinished.replace(path)

    @classmethod
    def read(cls, path: Path) -> SqliteJournal:
        """Open read-only, also while a campaign writes. Raises RatchetreeError if it is missing or damaged."""
        from sqlite_utils import Database

        if not path.exists():
            raise RatchetreeError(f"there is no journal at {path}: nothing has run here yet")
        with _explained(path):
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            journal = cls(path, Database(connection))
            journal._check_version()
        return journal

    @classmethod
    def replace(cls, path: Path, events: Iterable[Event]) -> Path | None:
        """Write a whole journal anew, in one transaction; where the old file, if there was one, is kept."""
        kept = aside(path)
        journal = cls.create(path)
        rows = [(event.time, event.kind, experiment_of(event), encode(event)) for event in events]
        with closing(journal._database.conn.cursor()) as cursor:
            cursor.execute("BEGIN")
            cursor.executemany(_INSERT, rows)
            cursor.execute("COMMIT")
        journal.close()
        return kept

    def append(self, event: Event) -> int:
        """Store the event durably; its number."""
        try:
            cursor = self._database.conn.execute(
                _INSERT,
                (event.time, event.kind, experiment_of(event), encode(event)),
            )
        except sqlite3.OperationalError as error:
            raise RatchetreeError(
                f"the journal cannot be written ({error}); nothing is lost: mend it, run again"
            ) from error
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def events(self, experiment: NodeId | None = None) -> Iterator[tuple[int, Event]]:
        """All events with their numbers, in order; or those of one experiment (the root's with the campaign's own)."""
        where, values = "", ()  # type: tuple[str, tuple[NodeId, ...]]
        if experiment is not None:
            where, values = "WHERE experiment = ?", (experiment,)
            if experiment == ROOT:
                where += " OR experiment IS NULL"
        with _explained(self._path):
            for number, body in self._database.conn.execute(
                f"SELECT number, body FROM events {where} ORDER BY number", values
            ):
                yield number, decode(body)

    def since(self, number: int) -> Iterator[tuple[int, Event]]:
        """Events with a higher number, in order."""
        with _explained(self._path):
            rows = self._database.conn.execute(
                "SELECT number, body FROM events WHERE number > ? ORDER BY number", [number]
            )
            for found, body in rows:
                yield found, decode(body)

    def data_version(self) -> int:
        """Another number as soon as any other process has written."""
        with _explained(self._path):
            (version,) = self._database.conn.execute("PRAGMA data_version").fetchone()
        return int(version)

    def restart(self) -> None:
        """Put the file aside and begin an empty one."""
        self.close()
        aside(self._path)
        fresh = SqliteJournal.create(self._path)
        self._database = fresh._database

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self._database.conn.close()

    def _migrate(self) -> None:
        database = self._database
        self._check_version()
        if "events" not in database.table_names():
            database["events"].create(  # type: ignore[union-attr]
                {"number": int, "time": float, "kind": str, "experiment": int, "body": str},
                pk="number",
                not_null=["time", "kind", "body"],
            )
            database["events"].create_index(["experiment", "kind"])  # type: ignore[union-attr]
        for name, sql in _VIEWS.items():
            database.create_view(name, sql, replace=True)
        database.conn.execute(f"PRAGMA user_version = {SCHEMA}")

    def _check_version(self) -> None:
        (version,) = self._database.conn.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise RatchetreeError(
                f"{self._path} was written by a newer ratchetree (format {version}, this one reads up to {SCHEMA}): "
                "update ratchetree"
            )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns SQLite's word for a file that cannot be used into ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RatchetreeError(
            f"{path} cannot be opened ({error}): is the folder writable, and the disk full?"
        ) from error
    except sqlite3.DatabaseError as error:
        raise RatchetreeError(
            f"{path} is damaged ({error}); bring it back from git with: ratchetree rebuild"
        ) from error
    except ValueError as error:
        raise RatchetreeError(
            f"{path} holds an event that this ratchetree does not know; update ratchetree, or bring the journal back "
            "from git with: ratchetree rebuild"
        ) from error


def aside(path: Path) -> Path | None:
    """Rename a journal (with its write-ahead log) so that nothing is lost; the new name, None if there was none."""
    if not path.exists():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = path.with_name(f"{path.name}.{stamp}")
    count = 1
    while target.exists():
        target = path.with_name(f"{path.name}.{stamp}-{count}")
        count += 1
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


class MemoryJournal:
    """A journal that forgets when the process ends: for simulations and tests."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events: list[Event] = list(events)

    def append(self, event: Event) -> int:
        """Keep the event; its number."""
        self._events.append(event)
        return len(self._events)

    def events(self, experiment: NodeId | None = None) -> Iterator[tuple[int, Event]]:
        """As SqliteJournal.events."""
        wanted = (experiment, None) if experiment == ROOT else (experiment,)
        for number, event in enumerate(list(self._events), start=1):
            if experiment is None or experiment_of(event) in wanted:
                yield number, event

    def restart(self) -> None:
        """Begin an empty one."""
        self._events = []
