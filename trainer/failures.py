"""From how a run ended to a Failure that a person and a coder can use: kind, one line, the traceback's useful end."""

from __future__ import annotations

import re

from ..search.model import Failure, FailureKind
from ..search.plain_text import without_controls
from .processes import Run

DETAIL_CHARACTERS = 1500

_OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|CUDA out of memory|MemoryError|can't allocate memory|not enough memory")
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Iteration))(?::\s*(.*))?$")
_FRAME = re.compile(r'^\s*File "([^"]+)", line \d+, in (\S+)')
_IMPORT_ERRORS = ("ImportError", "ModuleNotFoundError")


_CRASHES = {
    "processes": "started more processes than it may have",
    "disk": "filled its folders beyond what it may",
}


_SCORERS_WORDS = {
    kind.value: kind
    for kind in (
        FailureKind.BUILD,
        FailureKind.NOT_FINITE,
        FailureKind.LOOK_AHEAD,
        FailureKind.ROW_MIXING,
        FailureKind.STATEFUL,
    )
}
"""What a scorer's message may begin with."""

NOTHING_SAVED = "ended without saving a model"


def failure_of(
    run: Run | None, log: str, *, trees: tuple[str, ...], unusable: str | None, prints: bool = False
) -> Failure | None:
    """Why a run has nothing to score; None if it ended well (by itself or, if it had saved, at its deadline).

    run: None if it killed its supervisor; log: its output; trees: the folder it ran in under all its names, cut from
    paths; unusable: why what it saved cannot be scored, None if it can; prints: whether it prints its score instead.
    """
    if run is None:
        return Failure(kind=FailureKind.CRASH, message="the run killed its supervisor")
    text = without_controls(log)
    for tree in trees:
        text = text.replace(f"{tree}/", "")
    detail = traceback_end(text)
    if run.reason in _CRASHES:
        return Failure(kind=FailureKind.CRASH, message=_CRASHES[run.reason], detail=detail)
    if run.reason == "memory":
        message = f"used more memory than allowed ({run.peak_memory_mb:.0f} MB)"
        return Failure(kind=FailureKind.OUT_OF_MEMORY, message=message, detail=detail)
    if run.reason == "hopeless":
        kind = FailureKind.NOT_FINITE if run.hopeless.startswith("not-finite:") else FailureKind.HOPELESS
        return Failure(kind=kind, message=run.hopeless, detail=_last_lines(text))
    if run.reason == "startup":
        message = f"start-up took longer than {run.startup_seconds:.0f} s: no data was asked for"
        return Failure(kind=FailureKind.TIMEOUT, message=message, detail=detail)
    if run.reason == "exit" and run.exit_code != 0:
        return _crash(run, text, detail)
    if (unusable is None and not prints) or (prints and run.reason == "exit"):
        return None
    if unusable is not None and (run.reason == "exit" or unusable != NOTHING_SAVED):
        return Failure(kind=FailureKind.NO_SAVE, message=unusable, detail=_last_lines(text))
    what = "it was still running" if prints else "nothing was saved"
    message = f"{what} when the budget was used up ({run.train_seconds:.1f} s)"
    return Failure(kind=FailureKind.TIMEOUT, message=message, detail=_last_lines(text))


def score_failure_of(run: Run | None, error: object, log: str, *, trees: tuple[str, ...]) -> Failure:
    """Why a scoring gave no number. error: what the scorer said, if it came to that; log: its servers' output."""
    ended = f"the scorer ended early ({run.reason if run else 'killed'}): the model did not answer in time"
    message = str(error or ended)
    kind = _SCORERS_WORDS.get(message.partition(":")[0], FailureKind.SCORE)
    detail = without_controls(log)
    for tree in trees:
        detail = detail.replace(f"{tree}/", "")
    return Failure(kind=kind, message=message, detail=traceback_end(detail))


def _crash(run: Run, text: str, detail: str) -> Failure:
    name, message = _last_exception(text)
    line = f"{name}: {message}" if message else name
    short = name.rpartition(".")[2]
    if _OUT_OF_MEMORY.search(detail) or (run.exit_code == -9 and not name):
        line = line or "killed, as the kernel does when memory runs out"
        return Failure(kind=FailureKind.OUT_OF_MEMORY, message=line[:300], detail=detail)
    if not name:
        code = run.exit_code or 0
        how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return Failure(kind=FailureKind.CRASH, message=how, detail=_last_lines(text))
    if short == "FloatingPointError" or message.startswith("not-finite:"):
        kind = FailureKind.NOT_FINITE
    elif message.startswith("build:") or (not run.clock_started and _passes(detail, "build_model")):
        kind = FailureKind.BUILD
    elif not run.clock_started and (short in _IMPORT_ERRORS or not _passes(detail, "main")):
        kind = FailureKind.IMPORT
    else:
        kind = FailureKind.CRASH
    return Failure(kind=kind, message=line[:300], detail=detail)


def traceback_end(text: str) -> str:
    """The last traceback of a log, shortened from its middle; empty if there is none."""
    start = text.rfind("Traceback (most recent call last):")
    if start < 0:
        return ""
    block = text[start:].strip()
    if len(block) <= DETAIL_CHARACTERS:
        return block
    head = DETAIL_CHARACTERS // 3
    return f"{block[:head]}\n[...]\n{block[-(DETAIL_CHARACTERS - head) :]}"


def _last_exception(text: str) -> tuple[str, str]:
    start = text.rfind("Traceback (most recent call last):")
    lines = text[max(start, 0) :].splitlines()
    for line in reversed(lines[-60:]):
        found = _EXCEPTION.match(line)
        if found and (start >= 0 or found[1] == "SyntaxError"):
            return found[1], (found[2] or "").strip()
    return "", ""


def _passes(detail: str, function: str) -> bool:
    return any((found := _FRAME.match(line)) and found[2] == function for line in detail.splitlines())


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])[-DETAIL_CHARACTERS:]
