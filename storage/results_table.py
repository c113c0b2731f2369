"""Other people's `results.tsv`: rows by header, with everything that had to be guessed or left out said aloud.

Reads text only; what the rows become is `importer.py`'s business.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from ..search.errors import WrongUse
from ..search.model import Direction, FailureKind

Status = Literal["keep", "discard", "crash"]
_KEEP = "keep keeps kept baseline accept accepted merge merged improve improved improvement success win best advance"
_DISCARD = (
    "discard discarded pruned park parked reject rejected revert reverted reset worse neutral no-improvement "
    "noimprovement skip-merge regress regression drop dropped flat"
)
_CRASH = {
    "crash": FailureKind.CRASH,
    "crashed": FailureKind.CRASH,
    "fail": FailureKind.CRASH,
    "failed": FailureKind.CRASH,
    "error": FailureKind.CRASH,
    "invalid": FailureKind.CRASH,
    "oom": FailureKind.OUT_OF_MEMORY,
    "timeout": FailureKind.TIMEOUT,
    "killed": FailureKind.TIMEOUT,
    "nan": FailureKind.NOT_FINITE,
    "diverged": FailureKind.NOT_FINITE,
}
_ENDED = {"complete", "completed", "finished", "done", "ok", "succeeded"}
"""What tools of hyperparameter search write of a trial that ended: nobody has judged it."""
_PARAMETER = re.compile(r"^(?:params|parameters|config|hyperparameters)[._/]", re.I)
_ASIDE = re.compile(r"^(?:params|parameters|config|hyperparameters|tags|user_attrs|system_attrs)[._/]", re.I)
_UNFINISHED = {"running", "pending", "todo", "queued", "wip", "in-progress", "started"}
_STATUS: dict[str, Status] = {
    **dict.fromkeys(_KEEP.split(), "keep"),
    **dict.fromkeys(_DISCARD.split(), "discard"),
    **dict.fromkeys(_CRASH, "crash"),
}
_COLUMNS = {  # ours -> what the field calls it
    "commit": ("commit", "commit_hash", "hash", "sha", "git_commit", "rev"),
    "status": ("status", "verdict", "decision", "result", "outcome", "action", "state"),
    "description": ("description", "desc", "title", "idea", "change", "notes", "note", "experiment", "what", "name"),
    "memory_gb": ("memory_gb", "peak_vram_gb", "vram_gb", "mem_gb", "peak_memory_gb"),
    "memory_mb": ("memory_mb", "peak_vram_mb", "vram_mb", "mem_mb", "peak_memory_mb"),
    "seconds": ("seconds", "train_seconds", "training_seconds", "duration", "time_s", "elapsed", "runtime"),
    "time": ("timestamp", "time", "date", "datetime", "started", "finished", "datetime_start", "start_time", "created"),
}
_NO_METRIC = set("exp exp_id id iter iteration step steps num n run # params_m mfu experiment index seed trial".split())
_METRICS = (
    *("val_bpb", "val_loss", "bpb", "loss", "ppl", "perplexity", "score", "metric", "metric_value", "value"),
    *("accuracy", "acc"),
)
_UP = re.compile(r"acc|score|reward|return|f1|auc|bleu|rouge|pass|win|throughput|speedup|sharpe|r2|iou|psnr", re.I)
_DOWN = re.compile(r"loss|bpb|ppl|perplex|err|mse|mae|rmse|wer|cer|latency|time|seconds|cost|nll", re.I)
_NOTHING = {"", "-", "--", "n/a", "na", "none", "null", "crash", "failed", "oom", "timeout", "error", "?"}
"""What a cell without a number may say."""
_CODES = (0.0, 100.0, 999.0)
"""Numbers that people write for a crash."""
_UNNAMED = ["commit", "metric", "memory_gb", "status", "description"]
"""The field's columns, for a table without a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One experiment as somebody wrote it down."""

    line: int  # where it begins in the table, from 1
    commit: str  # what the table says: a hash, a word, HEAD~2, or nothing
    value: float | None  # None: no score
    status: Status
    failure: FailureKind | None  # for crashes
    description: str
    memory_mb: float
    seconds: float
    time: str  # as written


@dataclass(slots=True)
class Findings:
    """What an import read, guessed, left out and could not reconcile: one line each."""

    read: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    disagree: list[str] = field(default_factory=list)

    def count(self, into: list[str], lines: Iterable[object], words: str) -> None:
        """Note a thing that happened on several lines, if it did: "3 rows with ... (lines 4, 9, 12)"."""
        found = list(lines)
        if found:
            shown = ", ".join(map(str, found[:6])) + (", ..." if len(found) > 6 else "")
            into.append(f"{len(found)} {'row' if len(found) == 1 else 'rows'} {words} ({shown})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A whole table."""

    metric: str
    direction: Direction
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a table before its rows are read."""

    header: list[str]
    judged: bool  # whether a column says what was kept


def read_table(text: str, findings: Findings, *, metric: str | None, direction: Direction | None) -> Table:
    """Rows of a results table. Raises WrongUse if it cannot be one."""
    cells = list(_cells(text.removeprefix("\ufeff"), findings))
    if not cells:
        raise WrongUse("the table is empty: give a results.tsv with a header and a row per experiment")
    header = [name.strip().lower().replace(" ", "_") for name in cells[0][1]]
    if not any(name in known for name in header for known in _COLUMNS.values()):
        header = _header_of([row for _, row in cells])
        findings.guessed.append(f"the table has no header: columns taken as {', '.join(header)}")
    else:
        del cells[0]
    if not cells:
        raise WrongUse(f"the table has a header ({', '.join(header[:8])}) but no row: nothing was written down yet")
    at = {ours: next((header.index(n) for n in names if n in header), None) for ours, names in _COLUMNS.items()}
    column = _metric_column(header, cells, at, metric)
    called = _only(header, cells, "metric_name") or header[column].removeprefix("metrics.")
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", called)
    if metric is None:
        findings.guessed.append(f"the metric is the column {name!r} (--metric NAME)")
    words = {_at(row, at["status"]).lower() for _, row in cells}
    judged = at["status"] is not None and not (words & _ENDED and all(_STATUS.get(word) != "keep" for word in words))
    rows = list(_rows(cells, at, column, _Known(header=header, judged=judged), findings))
    which = direction or _stated(header, cells) or _direction(name, rows, findings)
    if not judged:
        rows = _statuses(rows, which)
        why = "there is no status column" if at["status"] is None else "no column says what was kept"
        findings.guessed.append(f"{why}: a row is a keep if it beats all rows before it")
    return Table(metric=name if name[:1].isalpha() else f"m_{name}", direction=which, rows=tuple(rows))


def _header_of(rows: list[list[str]]) -> list[str]:
    """Names for the columns of a table without a header: the field's five, or by what they hold."""
    width = max(map(len, rows))
    if width <= len(_UNNAMED):
        return _UNNAMED
    names, columns = [f"column_{i + 1}" for i in range(width)], [[_at(row, i) for row in rows] for i in range(width)]
    tests = {
        "status": lambda cell: cell.lower() in _STATUS,
        "commit": lambda cell: re.fullmatch(r"[0-9a-fA-F]{7,40}|HEAD.*", cell) is not None,
        "description": lambda cell: " " in cell and _number(cell.split()[0]) is None,
    }
    for name, test in tests.items():
        shares = [sum(map(test, column)) / len(rows) for column in columns]
        best = max(range(width), key=lambda i: (shares[i], i))
        if shares[best] > 0.5:
            names[best] = name
    return names


def _only(header: list[str], cells: list[tuple[int, list[str]]], name: str) -> str:
    """What a column says in every row; empty if it is not there or says several things."""
    said = {_at(row, header.index(name)) for _, row in cells} if name in header else set()
    return said.pop() if len(said) == 1 else ""


def _stated(header: list[str], cells: list[tuple[int, list[str]]]) -> Direction | None:
    """The direction, if a column states it."""
    said = _only(header, cells, "metric_direction") or _only(header, cells, "direction")
    found = re.match(r"(min|lower|down)|(?:max|higher|up)", said, re.I)
    return None if found is None else "min" if found[1] else "max"


def _cells(text: str, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """(line, cells), with cells that hold line breaks put together again."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if "\t" not in first and "," in first:
        reader = csv.reader(io.StringIO(text))
        yield from ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
        return
    width = first.count("\t")
    row: list[str] | None = None
    began, joined = 0, []
    for number, line in enumerate(lines, start=1):
        if not line.strip() and row is None:
            continue
        cells = line.split("\t")
        if row is None or _begins(cells, width, row):
            if row is not None:
                yield began, row
            began, row = number, cells
        elif line.strip():
            joined.append(number)
            row = [*row[:-1], f"{row[-1]} {cells[0]}".strip(), *cells[1:]]
    if row is not None:
        yield began, row
    findings.count(findings.guessed, joined, "were the rest of a cell with a line break: joined")


def _begins(cells: list[str], width: int, before: list[str]) -> bool:
    """Whether a line begins a row: it has the cells of one, and the row before is not still waiting for its own."""
    if len(cells) == 1:
        return False
    waiting = width + 1 - len(before)
    return not (0 < waiting == len(cells) - 1) and (len(cells) > width // 2 or len(cells) >= 3)


def _metric_column(
    header: list[str], cells: list[tuple[int, list[str]]], at: dict[str, int | None], wanted: str | None
) -> int:
    if wanted is not None:
        if wanted.lower() in header:
            return header.index(wanted.lower())
        raise WrongUse(f"--metric {wanted!r} is no column of the table; there are: {', '.join(header)}")
    taken = {index for index in at.values() if index is not None}
    free = [i for i, n in enumerate(header) if i not in taken and n not in _NO_METRIC and not _ASIDE.match(n)]
    numeric = [i for i in free if _is_numeric([_at(row, i) for _, row in cells])]
    logged = [i for i in numeric if header[i].startswith("metrics.")] or numeric
    plain = {header[i].removeprefix("metrics."): i for i in logged}
    known = [plain[name] for name in _METRICS if name in plain]
    if known:
        return known[0]
    if len(logged) == 1:
        return logged[0]
    what = f"could be any of {', '.join(header[i] for i in logged)}" if numeric else "is in no column"
    raise WrongUse(f"the metric {what}: name it with --metric NAME")


def _is_numeric(column: list[str]) -> bool:
    """Whether a column holds numbers, apart from what stands for none."""
    numbers = sum(_number(cell) is not None for cell in column)
    return numbers > 0 and all(_number(cell) is not None or cell.lower() in _NOTHING for cell in column)


def _rows(
    cells: list[tuple[int, list[str]]], at: dict[str, int | None], column: int, known: _Known, findings: Findings
) -> Iterator[Row]:
    strange, unfinished, uncoded = [], [], []
    values = [v for _, row in cells if (v := _number(_at(row, column))) is not None and math.isfinite(v)]
    sizes = sorted(abs(v) for v in values if v not in _CODES) or sorted(map(abs, values))
    typical = sizes[len(sizes) // 2] if sizes else 0.0
    for line, row in cells:
        word = _at(row, at["status"]).lower().replace(" ", "-").replace("_", "-")
        if word in _UNFINISHED:
            unfinished.append(line)
            continue
        value = _number(_at(row, column))
        coded = value is None or not math.isfinite(value) or (value in _CODES and not _near(value, typical))
        status = _STATUS.get(word) or _STATUS.get(word.split("-")[0])
        if not known.judged and (at["status"] is None or word in _ENDED):
            status = "keep"  # until it is judged, see `_statuses`
        if status is None:
            strange.append(f"line {line}: {word[:20] or 'empty'}")
        if coded and status in ("keep", "discard"):
            uncoded.append(f"line {line}")
        if coded or status == "crash":
            status, value = "crash", None
        yield Row(
            line=line,
            commit=_at(row, at["commit"]),
            value=value,
            status=status or "discard",
            failure=_CRASH.get(word, FailureKind.CRASH) if status == "crash" else None,
            description=_at(row, at["description"]).strip('"') or _parameters(known.header, row) or "(no description)",
            memory_mb=(_number(_at(row, at["memory_gb"])) or 0.0) * 1024 or _number(_at(row, at["memory_mb"])) or 0.0,
            seconds=max(0.0, _number(_at(row, at["seconds"])) or 0.0),
            time=_at(row, at["time"]),
        )
    findings.count(
        findings.guessed, strange, "with a status that is not known: taken as discard, or crash without a score"
    )
    findings.count(findings.guessed, uncoded, "called keep or discard have no score (or 0, 100): taken as failed")
    findings.count(findings.left_out, unfinished, "that had not ended")


def _parameters(header: list[str], row: list[str]) -> str:
    """ "lr=0.1, depth=3" of a search over hyperparameters."""
    named = ((_PARAMETER.sub("", name), _at(row, i)) for i, name in enumerate(header) if _PARAMETER.match(name))
    return ", ".join(f"{name}={value}" for name, value in named if value)


def _near(value: float, typical: float) -> bool:
    """Whether 0 or 100 may be a real score where scores are about `typical`."""
    return abs(value - typical) <= 2 * abs(typical) if value else typical < 1e-3


def _at(row: list[str], index: int | None) -> str:
    return row[index].strip() if index is not None and index < len(row) else ""


def _number(cell: str) -> float | None:
    found = re.match(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf)", cell.strip(), re.I)
    try:
        return float(found[0].replace(",", "")) if found else None
    except ValueError:
        return None


def _direction(name: str, rows: list[Row], findings: Findings) -> Direction:
    """By name; else by what was kept."""
    if _DOWN.search(name) or _UP.search(name):
        which: Direction = "min" if _DOWN.search(name) else "max"
        findings.guessed.append(f"the direction is {which}, from the metric's name (--direction min|max)")
        return which
    kept = [row.value for row in rows if row.status == "keep" and row.value is not None]
    rises = sum(after > before for before, after in pairwise(kept))
    falls = sum(after < before for before, after in pairwise(kept))
    if rises == falls:
        raise WrongUse(f"whether a lower or a higher {name} is better cannot be seen: give --direction min or max")
    findings.guessed.append(f"the direction is {'max' if rises > falls else 'min'}, from the rows that were kept")
    return "max" if rises > falls else "min"


def _statuses(rows: list[Row], direction: Direction) -> list[Row]:
    from dataclasses import replace

    best, judged = math.inf, []
    for row in rows:
        loss = math.inf if row.value is None else row.value if direction == "min" else -row.value
        if row.value is not None and row.status == "keep":
            row = replace(row, status="keep" if loss < best else "discard")
            best = min(best, loss)
        judged.append(row)
    return judged
