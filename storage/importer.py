"""An autoresearch run of somebody else as a campaign that every command can read.

A run is a repository with its `results.tsv`, or git history alone, or the table alone. The parent of a row is the last
keep, checked against git where commits exist. Nothing is guessed in silence: `Findings` says it all.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ..search.errors import WrongUse
from ..search.events import CampaignStarted, Event, Settled, experiment_of
from ..search.life import note_text
from ..search.model import Direction
from .foreign_git import Commit, ForeignGit, rows_of
from .import_events import Attempt, events_of_run
from .import_parents import CODE, compare_with_git
from .journal import SqliteJournal
from .repository import MAIN, PINS
from .results_table import Findings, Row, Table, read_table
from .workspace import Workspace, git_in

_TABLES = ("results.tsv", "results.csv", "experiments.tsv", "experiments.csv")
_TABLE_LIKE = re.compile(r"(?:^|/)[^/]*(?:results|experiments)[^/]*\.(?:tsv|csv)$", re.I)
_SEED_ONLY = re.compile(
    r"^(?:try |use |change |changed |new |another |different |random |rng )*seed\b|\bre-?run\b|\breplicat|"
    r"^repeat (?:the )?(?:baseline|best|run)|\bnoise (?:floor|check|test)\b",
    re.I,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user said instead of leaving it to be guessed."""

    metric: str | None = None
    direction: Direction | None = None
    results: Path | None = None  # the table: a file, a file of the repository's last commit, or REVISION:FILE
    root: str | None = None  # the commit the run began at
    noise: float | None = None  # sd between trials of one node


def import_run(source: Path, folder: Path, wishes: Wishes, *, version: str, now: float) -> Findings:
    """Make the new folder a workspace that holds the run at `source`. Raises RatchetreeError; then nothing is
    left behind."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongUse(f"{folder} exists and is not an empty folder: give a new one")
    findings = Findings()
    found, git = _look(source, wishes, findings)
    root = None
    if found is not None:
        table = read_table(_text(found), findings, metric=wishes.metric, direction=wishes.direction)
        findings.read.append(f"{len(table.rows)} rows of {found.name}")
    else:
        assert git is not None
        root = _root(git, wishes, findings)
        name, rows = rows_of(git, root, findings, metric=wishes.metric)
        table = Table(metric=name, direction=wishes.direction or "min", rows=tuple(rows))
        findings.read.append(f"{len(rows)} commits; what stayed on the branch counts as kept")
    rows = _with_root_first(table, findings)
    attempts = _attempts(rows, git, findings, now=now)
    if git is not None:
        root = _root_commit(git, root, attempts, wishes, findings)
        compare_with_git(attempts, git, root, findings)
    noise = wishes.noise if wishes.noise is not None else _noise(attempts, findings)
    was_there = folder.exists()
    try:
        workspace = _make(folder, table, attempts, git, root, findings, source=found)
        events = events_of_run(workspace, table, attempts, root, noise=noise, version=version)
        _write(workspace, events, attempts)
    except BaseException:  # Ctrl-C too: half an import helps nobody, and the folder was empty before
        shutil.rmtree(folder, ignore_errors=True)
        if was_there:
            folder.mkdir()
        raise
    return findings


# -- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    name: str
    raw: bytes


def _look(source: Path, wishes: Wishes, findings: Findings) -> tuple[_File | None, ForeignGit | None]:
    """The table (in the folder, or committed) and the repository, whichever are there."""
    if not source.exists():
        raise WrongUse(f"{source} is not there: give a repository, or a results.tsv")
    if source.is_file():
        return _File(name=source.name, raw=source.read_bytes()), None
    git = ForeignGit(source) if (source / ".git").exists() or (source / "HEAD").exists() else None
    if wishes.results is not None:
        return _named(wishes.results, git), git
    path = next((source / name for name in _TABLES if (source / name).exists()), None)
    if path is not None:
        return _with_rows(_File(name=path.name, raw=path.read_bytes()), git, findings), git
    if git is None:
        raise WrongUse(f"{source} is neither a git repository nor has it a {_TABLES[0]}: name the table with --results")
    committed = ((name, git.text(git.head, name)) for name in _TABLES)
    found = next((_File(name=name, raw=text.encode()) for name, text in committed if text), None)
    if found is None and (others := [name for name in sorted(git.files(git.head)) if _TABLE_LIKE.search(name)]):
        raise WrongUse(f"{source} has no {_TABLES[0]}, but {', '.join(others[:6])}: name one with --results FILE")
    return (_with_rows(found, git, findings) if found else None), git


def _named(path: Path, git: ForeignGit | None) -> _File:
    """The table that the user named: a file, or one in the repository's last commit (or REVISION:FILE)."""
    if path.is_file():
        return _File(name=path.name, raw=path.read_bytes())
    revision, _, inside = str(path).rpartition(":")
    text = git.text(revision or git.head, inside) if git else None
    if text is None:
        raise WrongUse(f"--results {path} is no file, and none of the repository's last commit")
    return _File(name=Path(inside).name, raw=text.encode())


def _with_rows(file: _File, git: ForeignGit | None, findings: Findings) -> _File:
    """The table; if somebody has emptied it since, its fullest committed version."""
    if git is None or file.raw.count(b"\n") > 1:
        return file
    sha, text = git.fullest(file.name)
    if text.count("\n") <= 1:
        return file
    findings.guessed.append(f"{file.name} is empty now: its fullest version is read, of {sha[:7]} (--results FILE)")
    return _File(name=file.name, raw=text.encode())


def _text(file: _File) -> str:
    wide = file.raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in file.raw[:4096] and not wide:
        raise WrongUse(f"{file.name} is no text: give a table like results.tsv")
    return file.raw.decode("utf-16" if wide else "utf-8", "replace")


def _with_root_first(table: Table, findings: Findings) -> list[Row]:
    rows = list(table.rows)
    scored = [i for i, row in enumerate(rows) if row.value is not None]
    if not scored:
        raise WrongUse("no row has a score, so there is nothing to show")
    first = next((i for i in scored if rows[i].status == "keep"), scored[0])
    if first or rows[first].status != "keep":
        findings.guessed.append(f"the root is line {rows[first].line}, the first kept row with a score")
    return [rows.pop(first), *rows]


def _attempts(rows: Sequence[Row], git: ForeignGit | None, findings: Findings, *, now: float) -> list[Attempt]:
    attempts: list[Attempt] = []
    taken: set[str] = set()
    words: list[str] = []
    gone: list[str] = []
    twice: list[str] = []
    partial: list[str] = []
    last, time = 0, 0.0
    for i, row in enumerate(rows):
        commit = git.find(row.commit) if git else None
        if git and commit and not git.is_whole(commit.sha, CODE):
            partial.append(f"{i:04d}")
            commit = None
        elif git and commit is None:
            (gone if re.fullmatch(r"[0-9a-fA-F]{7,40}", row.commit) else words).append(
                f"{i:04d}: {row.commit or 'empty'}"
            )
        if commit and commit.sha in taken:
            twice.append(f"{i:04d}: {row.commit}")
            commit = None
        elif commit:
            taken.add(commit.sha)
        time = max(time, _time(row.time) or (commit.time if commit else 0.0))
        attempts.append(Attempt(row=row, commit=commit, parent=last, time=time))
        if row.status == "keep":
            last = i
    findings.count(findings.left_out, gone, "whose commit is not in the repository (reset away and swept): no diff")
    findings.count(findings.left_out, partial, "whose code a partial clone lacks: no diff (fetch it whole)")
    findings.count(findings.left_out, words, "without a commit's hash: no diff")
    findings.count(findings.guessed, twice, "name a commit that an earlier row has: a repeat, shown without a diff")
    if not time:
        findings.left_out.append("times: the run has none, so the page cannot show hours")
    return [replace(attempt, time=attempt.time or now) for attempt in attempts]


def _time(cell: str) -> float | None:
    try:
        return float(cell) if re.fullmatch(r"\d{9,11}(\.\d+)?", cell) else datetime.fromisoformat(cell).timestamp()
    except ValueError:
        return None


def _root(git: ForeignGit, wishes: Wishes, findings: Findings) -> Commit:
    if wishes.root is None:
        return git.beginning(findings)
    found = git.find(wishes.root)
    if found is None:
        raise WrongUse(f"--root {wishes.root!r} is no commit of {git.path}: give its hash")
    return found


def _root_commit(
    git: ForeignGit, root: Commit | None, attempts: list[Attempt], wishes: Wishes, findings: Findings
) -> Commit:
    """The commit of row 0; where the table does not name it, the parent of the first row that has one."""
    if wishes.root is not None or root is not None:
        return root or _root(git, wishes, findings)
    if attempts[0].commit is not None:
        return attempts[0].commit
    first = next((a.commit for a in attempts if a.commit and a.commit.parents), None)
    if first is not None and first.parents[0] in git.commits:
        findings.guessed.append(f"the root's commit is {first.parents[0][:7]}, the parent of the first row with one")
        return git.commits[first.parents[0]]
    return git.beginning(findings)


def _noise(attempts: list[Attempt], findings: Findings) -> float | None:
    """The spread of one tree's trials, as far as the run shows it: rows that changed the seed alone."""
    squares, rows, same = [], [], []
    for i, attempt in enumerate(attempts):
        before, value = attempts[attempt.parent].row.value, attempt.row.value
        if not i or value is None or before is None or not _SEED_ONLY.search(attempt.row.description):
            continue
        if abs(value - before) <= 1e-5 * abs(before):  # the same seed again: that the machine repeats itself, no spread
            same.append(f"{i:04d}")
            continue
        squares.append((value - before) ** 2 / 2)
        rows.append(f"{i:04d}")
    findings.count(findings.guessed, same, "repeat a run to the last digits, so they say nothing of the noise")
    if not squares:
        findings.guessed.append("the noise is unknown, because no row repeats another: give it with --noise SD")
        return None
    noise = math.sqrt(math.fsum(squares) / len(squares))
    findings.guessed.append(
        f"the noise is {noise:.2g} (sd of a trial), from {len(rows)} row{'s' * (len(rows) > 1)} that changed the seed "
        f"alone ({', '.join(rows[:6])}); give a better one with --noise SD"
    )
    return noise


# -- writing ------------------------------------------------------------------------------------------------------


def _make(
    folder: Path,
    table: Table,
    attempts: list[Attempt],
    git: ForeignGit | None,
    root: Commit | None,
    findings: Findings,
    *,
    source: _File | None,
) -> Workspace:
    """The folder with its repository, main at the root, and ratchetree.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    git_in(folder, "init", "--quiet", "--initial-branch=main")
    editable = ["train.py"]
    if git is None or root is None:
        (folder / "program.md").write_text("Imported from a table of results: there is no code here to go on from.\n")
        _write_toml(folder, table, editable)
        assert source is not None
        (folder / source.name).write_bytes(source.raw)
        git_in(folder, "add", "--all")
        git_in(folder, "commit", "--quiet", "--message", f"Imported from {source.name}")
        findings.left_out.append("code: a table alone has none, so `ratchetree run` has nothing to go on from")
        return Workspace(folder)
    git.copy_to(folder, [root.sha, *(a.commit.sha for a in attempts if a.commit)])
    git_in(folder, "update-ref", MAIN, root.sha)
    files = git.files(root.sha)
    if "train.py" not in files:
        last = next((a.commit.sha for a in reversed(attempts) if a.commit and a.row.status == "keep"), root.sha)
        editable = [f for f in git.changed(root.sha, last) if f.endswith(".py") and f in files][:8] or ["train.py"]
        findings.guessed.append(f"what may be edited: {', '.join(editable)} (change it in ratchetree.toml)")
    git_in(folder, "reset", "--quiet", "--hard", "main")
    if not (folder / "ratchetree.toml").exists():
        _write_toml(folder, table, editable, uv="uv.lock" in files)
    missing = [name for name in ("program.md", *editable) if name not in files]
    if missing:
        findings.left_out.append(f"{', '.join(missing)}: missing at the root, so `ratchetree run` cannot go on")
    return Workspace(folder)


def _write_toml(folder: Path, table: Table, editable: list[str], *, uv: bool = False) -> None:
    command = ["uv", "run", editable[0]] if uv else ["python", editable[0]]
    (folder / "ratchetree.toml").write_text(
        "# Made by `ratchetree import`. Scores are what the run wrote down itself: self-reported.\n\n"
        f"[task]\neditable = {json.dumps(editable)}\ncommand  = {json.dumps(command)}\n"
        f'metric   = {{ name = "{table.metric}", direction = "{table.direction}" }}\nscorer   = "printed"\n\n'
        '[budget]\nkind     = "wall"\nseconds  = 600\n\n[search]\npolicy   = "ratchet"\n\n'
        '[ratchet]\npreset   = "default"\n',
        encoding="utf-8",
    )


def _write(workspace: Workspace, events: list[Event], attempts: list[Attempt]) -> None:
    """Pins, branches, notes, main, and the journal last: it makes the folder a campaign."""
    repository = workspace.repository()
    repository.ignore_own_files()
    commits = {i: a.commit.sha for i, a in enumerate(attempts) if i and a.commit}
    notes: dict[int, list[tuple[int, Event]]] = {}
    for number, event in enumerate(events, start=1):
        owner = experiment_of(event) or 0
        notes.setdefault(owner if owner in commits else 0, []).append((number, event))
    started = events[0]
    assert isinstance(started, CampaignStarted)
    branches = {e.experiment: e.branch for e in events if isinstance(e, Settled)}
    for node, own in notes.items():
        commit = commits.get(node, started.root_commit)
        if node:
            repository.set_ref(f"{PINS}{node:04d}", commit)
        repository.settle(node=node, commit=commit, branch=branches.get(node) if node else None, note=note_text(own))
    tips = [event.main for event in events if isinstance(event, Settled) and event.main]
    repository.set_ref(MAIN, tips[-1])
    git_in(workspace.folder, "reset", "--quiet", "--hard", "main")
    SqliteJournal.replace(workspace.journal_path, events)
