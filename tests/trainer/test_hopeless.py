"""When a trial is ended early, and when it is not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ratchetree.search.model import Metric
from ratchetree.trainer.best_curve import BestCurve
from ratchetree.trainer.hopeless import EXPLODED, MARGIN, SMOOTH, Watch, read_curve, smoothed

FALLING = [(float(t), 8.0 - t / 20) for t in range(101)]  # 8 down to 3 in a budget of 100 s


def ended(
    losses: list[tuple[float, float]], reference: list[tuple[float, float]] = FALLING
) -> tuple[float, str] | None:
    watch = Watch(reference, 100.0)
    for seconds, loss in losses:
        if (why := watch.add(seconds, loss)) is not None:
            return seconds, why
    return None


def test_a_trial_like_the_best_or_a_little_worse_is_left_alone() -> None:
    assert ended(FALLING) is None
    assert ended([(t, loss + MARGIN * 0.99) for t, loss in FALLING]) is None
    assert ended([(t, loss + 3) for t, loss in FALLING], reference=[]) is None  # nothing to compare with


def test_one_that_is_far_behind_for_a_tenth_of_the_budget_is_ended_after_a_third() -> None:
    found = ended([(t, loss + 2 * MARGIN) for t, loss in FALLING])
    assert found is not None
    assert found[0] == 40.0 and found[1].startswith("hopeless: after 40 s the loss is 7.2")


def test_one_that_catches_up_is_left_alone() -> None:
    late = [(t, loss + (2 * MARGIN if t < 35 else 0.0)) for t, loss in FALLING]
    assert ended(late) is None
    spikes = [(t, loss + (9.0 if t % 10 == 0 else 0.0)) for t, loss in FALLING]
    assert ended(spikes) is None


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_twice_in_a_row_ends_it_at_once(broken: float) -> None:
    assert ended([(1.0, 8.0), (2.0, broken), (3.0, 7.9), (4.0, broken), (5.0, broken)]) == (
        5.0,
        "not-finite: the loss is no number",
    )


def test_a_loss_that_explodes_ends_it() -> None:
    high = [(0.0, 8.0)] + [(t / 10, 8.0 + EXPLODED + 0.1) for t in range(1, 30)]
    found = ended(high)
    assert found is not None and found[1].startswith("not-finite: the loss exploded from 8.000 to 9.1")
    assert ended([(0.0, 8.0)] + [(t / 10, 8.0 + EXPLODED) for t in range(1, 30)]) is None


def test_curves_are_smoothed_by_medians_of_the_past() -> None:
    assert smoothed([(float(t), float(t)) for t in range(SMOOTH)]) == [(SMOOTH - 1.0, (SMOOTH - 1) / 2)]
    assert smoothed([(0.0, 1.0)]) == []
    assert read_curve("seconds\tstep\tloss\n0.5\t1\t9.0\n1.5\t7\tnan\n")[0] == (0.5, 9.0)


def test_the_best_trials_curve_is_kept_over_restarts_whichever_way_is_better(tmp_path: Path) -> None:
    curve = tmp_path / "curve.tsv"
    kept = {"min": 1.0, "max": 3.0}
    for direction, best in kept.items():
        file = tmp_path / direction
        assert BestCurve(file, Metric(direction=direction)).read() == ()  # type: ignore[arg-type]
        for value in (2.0, 1.0, 3.0, 2.5):
            curve.write_text(f"seconds\tstep\tloss\n1.0\t1\t{value}\n")
            BestCurve(file, Metric(direction=direction)).offer(value, curve)  # type: ignore[arg-type]
        assert BestCurve(file, Metric(direction=direction)).read() == ((1.0, best),)  # type: ignore[arg-type]
    file.write_text("broken")
    BestCurve(file, Metric()).offer(9.0, tmp_path / "missing")
    assert BestCurve(file, Metric()).read() == ()
