"""The journal: one contract for both implementations, and what a file can suffer."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchetree.search.errors import RatchetreeError
from ratchetree.search.events import CampaignStarted, CampaignStopped, Event, Judged, Selected
from ratchetree.search.model import Expansion, Machine, Metric, Verdict
from ratchetree.storage.journal import MemoryJournal, SqliteJournal

STARTED = CampaignStarted(
    time=0.0,
    version="0",
    seed=1,
    metric=Metric(),
    root_commit="0" * 40,
    root_digest="r",
    policy="beam",
    preset="default",
    settings="{}",
    machine=Machine(host="h", cpu="c", cpus=1, memory_gb=1.0),
)
EVENTS: list[Event] = [
    STARTED,
    Judged(time=1.0, experiment=0, verdict=Verdict.KEPT, reason="the root", against=0),
    Selected(time=2.0, experiment=1, options=(Expansion(node=0),)),
    CampaignStopped(time=3.0, reason="ümlaut \u202e and \x1b[31m"),
]


@pytest.fixture(params=["sqlite", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SqliteJournal | MemoryJournal]:
    if request.param == "memory":
        return MemoryJournal
    return lambda: SqliteJournal.create(tmp_path / ".ratchetree" / "journal.db")


def test_events_come_back_in_order_with_their_numbers(make: Callable[[], SqliteJournal | MemoryJournal]) -> None:
    journal = make()
    assert [journal.append(event) for event in EVENTS] == [1, 2, 3, 4]
    assert list(journal.events()) == list(enumerate(EVENTS, start=1))


def test_one_experiments_events_and_the_roots_with_the_campaigns(
    make: Callable[[], SqliteJournal | MemoryJournal],
) -> None:
    journal = make()
    for event in EVENTS:
        journal.append(event)
    assert [number for number, _ in journal.events(1)] == [3]
    assert [number for number, _ in journal.events(0)] == [1, 2, 4]


def test_a_restarted_journal_is_empty(make: Callable[[], SqliteJournal | MemoryJournal]) -> None:
    journal = make()
    journal.append(STARTED)
    journal.restart()
    assert list(journal.events()) == []
    assert journal.append(STARTED) == 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.create(path)
    for event in EVENTS:
        journal.append(event)
    journal.close()
    return path


def test_a_restart_keeps_the_old_file_beside(path: Path) -> None:
    journal = SqliteJournal.create(path)
    journal.restart()
    journal.close()
    kept = [other for other in path.parent.glob("journal.db.*") if not other.name.endswith(("-wal", "-shm"))]
    assert len(kept) == 1
    assert len(list(SqliteJournal.read(kept[0]).events())) == 4


def test_a_reader_sees_events_while_the_writer_goes_on(path: Path) -> None:
    writer, reader = SqliteJournal.create(path), SqliteJournal.read(path)
    writer.append(EVENTS[3])
    assert len(list(reader.events())) == 5
    with pytest.raises(RatchetreeError):
        reader.append(EVENTS[3])


def test_who_reads_while_a_journal_is_made_never_meets_half_of_one(tmp_path: Path) -> None:
    paths = [tmp_path / str(i) / "journal.db" for i in range(40)]

    def make_all() -> None:
        for path in paths:
            SqliteJournal.create(path).close()

    making = threading.Thread(target=make_all)
    making.start()
    for path in paths:
        while True:
            try:
                journal = SqliteJournal.read(path)
                break
            except RatchetreeError as error:
                assert "nothing has run here yet" in str(error)
        assert list(journal.events()) == []
        journal.close()
    making.join()


def test_a_journal_that_was_half_made_when_its_maker_was_killed_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "journal.db.new").write_bytes(b"half")
    journal = SqliteJournal.create(tmp_path / "journal.db")
    assert journal.append(STARTED) == 1
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["journal.db"]


def test_a_missing_journal_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(RatchetreeError, match="nothing has run here yet"):
        SqliteJournal.read(tmp_path / "journal.db")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_journal_cut_in_the_middle_is_called_damaged_and_the_way_back_is_named(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(RatchetreeError, match="ratchetree rebuild"):
        list(SqliteJournal.create(path).events())


def test_something_else_under_its_name_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database at all, but long enough to have a header" * 20)
    with pytest.raises(RatchetreeError, match="is damaged"):
        SqliteJournal.create(path)


def test_a_journal_of_a_newer_version_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    for opened in (SqliteJournal.create, SqliteJournal.read):
        with pytest.raises(RatchetreeError, match="newer ratchetree"):
            opened(path)
    assert path.read_bytes() == before


def test_an_event_that_this_version_does_not_know_is_named_as_such(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO events (time, kind, body) VALUES (1, 'dreamt', '{\"kind\":\"dreamt\"}')")
    connection.commit()
    connection.close()
    with pytest.raises(RatchetreeError, match="does not know"):
        list(SqliteJournal.read(path).events())


def test_any_sqlite_tool_can_read_the_views(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        for view in ("experiments", "trials", "model_calls"):
            connection.execute(f"SELECT * FROM {view}").fetchall()
    connection.close()
