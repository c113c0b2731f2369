"""The ratchet's rule, with expected values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.search.model import Metric, Score, Verdict
from ratchetree.search.ratchet import PRESETS, Confirm, Decision, decide

MIN = Metric(name="val_bpb", direction="min")
MAX = Metric(name="accuracy", direction="max")
INCUMBENT = Score(mean=1.0, sd=0.01, n=3)


def ask(
    preset: str,
    *values: float,
    noise: float | None = 0.01,
    metric: Metric = MIN,
    incumbent: Score = INCUMBENT,
    lines: int = 0,
    best: float | None = None,
):
    return decide(PRESETS[preset], metric, values=values, incumbent=incumbent, noise=noise, lines=lines, best=best)


def test_naive_keeps_anything_better_and_parks_ties() -> None:
    assert ask("naive", 0.9999).verdict is Verdict.KEPT
    assert ask("naive", 1.0).verdict is Verdict.PARKED
    assert ask("naive", 1.0001).verdict is Verdict.PARKED


def test_default_screens_at_one_s() -> None:
    assert ask("default", 0.991).verdict is Verdict.PARKED  # better by 0.9 s
    assert isinstance(ask("default", 0.989), Confirm)  # better by 1.1 s


def test_default_keeps_when_the_confirming_trials_alone_beat_the_margin() -> None:
    # margin = 1 * 0.01 * sqrt(1/3 + 1/3) = 0.008165
    kept = ask("default", 0.95, 0.991, 0.992, 0.992)  # mean of the last three 0.99167: ahead by 0.00833
    assert kept.verdict is Verdict.KEPT
    parked = ask("default", 0.95, 0.992, 0.992, 0.992)  # ahead by 0.008
    assert parked.verdict is Verdict.PARKED


def test_the_screening_trial_never_counts() -> None:
    for lucky in (0.98, 0.5, 0.0):
        assert ask("default", lucky, 0.995, 0.995, 0.995).verdict is Verdict.PARKED


def test_more_trials_of_the_incumbent_make_the_margin_smaller() -> None:
    # margin with n = 30: 0.01 * sqrt(1/3 + 1/30) = 0.006055; with n = 3: 0.008165
    values = (0.95, 0.993, 0.993, 0.993)
    assert ask("default", *values).verdict is Verdict.PARKED
    assert ask("default", *values, incumbent=Score(mean=1.0, sd=0.01, n=30)).verdict is Verdict.KEPT


def test_a_hopeless_confirmation_ends_early_and_a_doubtful_one_goes_on() -> None:
    # after one trial at 1.0: the other two would have to average 0.98775, better by 0.01225 than what was seen;
    # two standard errors are 2 * 0.01 * sqrt(1/2 + 1) = 0.0245: it goes on
    assert isinstance(ask("default", 0.98, 1.0), Confirm)
    # after one at 1.05: they would have to average 0.96275, better by 0.08725
    early = ask("default", 0.98, 1.05)
    assert isinstance(early, Decision)
    assert early.verdict is Verdict.PARKED
    assert "given up after 1 of 3" in early.reason


def test_without_any_noise_estimate_every_margin_is_zero() -> None:
    assert isinstance(ask("default", 0.9999, noise=None), Confirm)
    assert ask("default", 0.9999, 0.9999, 0.9999, 0.9999, noise=None).verdict is Verdict.KEPT


def test_the_reason_names_the_numbers_it_rests_on() -> None:
    assert ask("default", 1.01).reason == "val_bpb 1.010000 against 1.000000: worse by 0.010000"
    kept = ask("default", 0.95, 0.98, 0.98, 0.98).reason
    assert kept == "val_bpb 0.980000 over 3 new trials beats 1.000000 by 0.020000, more than the margin 0.008165"


@pytest.mark.parametrize("preset", PRESETS)
@given(
    values=st.lists(st.floats(-10, 10), min_size=1, max_size=6),
    mean=st.floats(-10, 10),
    n=st.integers(1, 9),
    noise=st.one_of(st.none(), st.floats(0, 5)),
)
def test_min_and_max_decide_alike(preset: str, values: list[float], mean: float, n: int, noise: float | None) -> None:
    values = values[: 1 + PRESETS[preset].confirmations]
    low = ask(preset, *values, noise=noise, incumbent=Score(mean=mean, sd=None, n=n))
    high = ask(preset, *(-v for v in values), noise=noise, metric=MAX, incumbent=Score(mean=-mean, sd=None, n=n))
    assert type(low) is type(high)
    if isinstance(low, Decision):
        assert isinstance(high, Decision)
        assert low.verdict is high.verdict


@given(
    values=st.lists(st.floats(0.9, 1.1), min_size=4, max_size=4),
    noise=st.floats(0, 0.1),
)
def test_nothing_is_kept_whose_confirming_mean_is_not_better(values: list[float], noise: float) -> None:
    answer = ask("default", *values, noise=noise)
    if isinstance(answer, Decision) and answer.verdict is Verdict.KEPT:
        assert math.fsum(values[1:]) / 3 < 1.0


def test_added_lines_have_a_price() -> None:
    # margin 0.008165; 10 lines cost 10 * 0.02 * 0.01 = 0.002: 0.010165 is needed
    values = (0.95, 0.991, 0.991, 0.991)  # ahead by 0.009
    assert ask("default", *values).verdict is Verdict.KEPT
    assert ask("default", *values, lines=10).verdict is Verdict.PARKED
    assert ask("default", 0.95, 0.989, 0.989, 0.989, lines=10).verdict is Verdict.KEPT
    assert ask("naive", 0.9999, lines=1000).verdict is Verdict.KEPT


def test_a_patch_that_removes_code_is_kept_if_it_is_not_worse() -> None:
    equal = (1.005, 1.002, 1.001, 1.003)  # mean 1.002: worse by 0.2 s, allowed are 0.5 s
    assert ask("default", *equal).verdict is Verdict.PARKED  # it did not even pass the screen
    kept = ask("default", *equal, lines=-3)
    assert kept.verdict is Verdict.KEPT
    assert kept.reason.endswith("not worse, 3 lines less")
    assert ask("default", 1.011, lines=-3).verdict is Verdict.PARKED  # the first trial: worse by more than s
    assert ask("default", 1.0, 1.006, 1.006, 1.006, lines=-3).verdict is Verdict.PARKED  # worse by 0.6 s
    assert ask("naive", 1.0001, lines=-3).verdict is Verdict.PARKED


def test_small_losses_cannot_add_up_because_the_best_mean_so_far_is_the_measure() -> None:
    slipped = Score(mean=1.004, sd=0.01, n=3)  # main after a removal; the best it ever had was 1.0
    values = (1.004, 1.004, 1.004, 1.004)
    assert ask("default", *values, incumbent=slipped, lines=-3, best=1.0).verdict is Verdict.KEPT
    worse = (1.006, 1.006, 1.006, 1.006)  # 0.2 s behind main, 0.6 s behind the best
    assert ask("default", *worse, incumbent=slipped, lines=-3, best=1.004).verdict is Verdict.KEPT
    assert ask("default", *worse, incumbent=slipped, lines=-3, best=1.0).verdict is Verdict.PARKED


def test_a_removal_that_is_a_gain_is_judged_as_one() -> None:
    kept = ask("default", 0.95, 0.98, 0.98, 0.98, lines=-3)
    assert "beats" in kept.reason
