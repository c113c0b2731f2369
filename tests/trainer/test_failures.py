"""What a run's end means: kinds, one-line messages, the useful end of a traceback."""

import pytest

from ratchetree.search.model import Failure, FailureKind
from ratchetree.trainer.failures import DETAIL_CHARACTERS, NOTHING_SAVED, failure_of, traceback_end
from ratchetree.trainer.processes import Run

TREE = "/w/.ratchetree/trials/0001-0/tree"


def ended(reason: str = "exit", code: int | None = 1, *, clock: bool = True) -> Run:
    return Run(
        reason=reason,
        exit_code=code,
        startup_seconds=1.0,
        train_seconds=9.0 if clock else 0.0,
        cpu_seconds=9.0,
        peak_memory_mb=123.0,
        steps=3,
        tokens=30,
        result=None,
        clock_started=clock,
        last_loss=None,
    )


def trace(*frames: str, error: str) -> str:
    lines = [f'  File "{TREE}/train.py", line {i + 1}, in {name}\n    code()' for i, name in enumerate(frames)]
    return "step 1 loss 2\nTraceback (most recent call last):\n" + "\n".join(lines) + f"\n{error}\n"


def why(run: Run | None, log: str = "", *, saved: bool = False) -> Failure:
    failure = failure_of(run, log, trees=(TREE, "/trial"), unusable=None if saved else NOTHING_SAVED)
    assert failure is not None
    return failure


def test_a_run_that_saved_and_ended_or_met_its_deadline_has_not_failed() -> None:
    for run in (ended(code=0), ended("deadline", -9)):
        assert failure_of(run, "", trees=(TREE,), unusable=None) is None
    assert failure_of(ended(code=0), "", trees=(TREE,), unusable=None, prints=True) is None


def test_a_script_that_prints_its_score_must_end_by_itself() -> None:
    failure = failure_of(ended("wall", -9), "", trees=(TREE,), unusable=None, prints=True)
    assert failure is not None and failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize(
    ("run", "log", "kind"),
    [
        (ended(clock=False), trace("<module>", error="ModuleNotFoundError: No module named 'x'"), FailureKind.IMPORT),
        (ended(clock=False), trace("<module>", error="NameError: name 'y' is not defined"), FailureKind.IMPORT),
        (ended(clock=False), trace("<module>", "main", "build_model", error="ValueError: heads"), FailureKind.BUILD),
        (ended(clock=False), trace("<module>", "main", error="ValueError: x"), FailureKind.CRASH),
        (ended(), trace("<module>", "main", error="RuntimeError: build: logits have shape []"), FailureKind.BUILD),
        (ended(), trace("main", error="RuntimeError: not-finite: the logits are NaN"), FailureKind.NOT_FINITE),
        (ended(), trace("main", error="FloatingPointError: loss is nan at step 3"), FailureKind.NOT_FINITE),
        (ended(), trace("main", error="torch.OutOfMemoryError: CUDA out of memory."), FailureKind.OUT_OF_MEMORY),
        (ended(), trace("main", error="MemoryError"), FailureKind.OUT_OF_MEMORY),
        (ended(), trace("main", error="RuntimeError: boom"), FailureKind.CRASH),
        (ended(code=-11), "", FailureKind.CRASH),
        (ended(code=-9), "step 3 loss 2", FailureKind.OUT_OF_MEMORY),
        (ended("memory", -9), "", FailureKind.OUT_OF_MEMORY),
        (ended("startup", -9, clock=False), "", FailureKind.TIMEOUT),
        (ended("deadline", -9), "step 3 loss 2", FailureKind.TIMEOUT),
        (ended("wall", -9), "", FailureKind.TIMEOUT),
        (ended("processes", -9), "", FailureKind.CRASH),
        (ended("disk", -9), "", FailureKind.CRASH),
        (ended(code=0), "step 3 loss 2", FailureKind.NO_SAVE),
        (None, "", FailureKind.CRASH),
    ],
)
def test_kinds(run: Run | None, log: str, kind: FailureKind) -> None:
    failure = why(run, log)
    assert failure.kind is kind
    assert failure.message
    assert "\n" not in failure.message


def test_the_message_is_the_exception_and_paths_are_those_of_the_workspace() -> None:
    failure = why(ended(), trace("<module>", "main", error="RuntimeError: boom"))
    assert failure.message == "RuntimeError: boom"
    assert failure.detail.startswith("Traceback (most recent call last):")
    assert 'File "train.py", line 2, in main' in failure.detail
    assert ".ratchetree" not in failure.detail


def test_a_crash_after_saving_is_still_a_crash() -> None:
    assert why(ended(), trace("main", error="RuntimeError: boom"), saved=True).kind is FailureKind.CRASH


def test_only_the_last_traceback_counts_and_long_ones_are_cut_in_the_middle() -> None:
    first, last = trace("a", error="ValueError: first"), trace(*["f"] * 400, error="ValueError: last")
    detail = traceback_end(first + last)
    assert "first" not in detail
    assert detail.endswith("ValueError: last")
    assert "[...]" in detail
    assert len(detail) < DETAIL_CHARACTERS + 20


def test_a_line_that_looks_like_an_exception_outside_a_traceback_is_not_taken_for_one() -> None:
    failure = why(ended(code=3), "ValueError: I only print this\n")
    assert failure.kind is FailureKind.CRASH
    assert failure.message == "ended with code 3"
