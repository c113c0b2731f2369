"""Numbers for people."""

from __future__ import annotations

import math

import pytest

from ratchetree.search.model import Metric, Score
from ratchetree.view.numbers import Digits, count, duration, gain_sd, sparkline


@pytest.mark.parametrize(
    ("root", "places"),
    [
        ((2.1, 2.2, 2.3), 4),  # values below ten have four places at least
        ((0.99790, 0.99795, 0.99800), 6),  # the noise is 5e-5: two digits of it are six places
        ((0.9974, 0.9979, 0.9984), 5),  # 5e-4
        ((91.0, 92.0, 93.0), 3),  # percent
        ((15000.0, 15100.0, 15200.0), 0),  # tokens a second
        ((2.0,), 4),  # nothing was repeated
        ((2.0, 2.0), 4),  # a deterministic trainer
    ],
)
def test_a_campaign_shows_two_digits_of_its_noise(new_story, root, places):
    assert Digits.of(new_story().root(*root).tree).places == places


def test_a_change_has_its_sign_and_says_which_way_is_better():
    lower, higher = Digits(metric=Metric()), Digits(metric=Metric(name="accuracy", direction="max"))
    assert lower.change(2.1, 2.05) == higher.change(2.1, 2.05) == "−0.0500"
    assert lower.change(2.05, 2.1) == "+0.0500"
    assert (lower.better(2.1, 2.05), higher.better(2.1, 2.05)) == ("better", "worse")
    assert (lower.change(2.1, 2.10001), lower.better(2.1, 2.10001)) == ("0.0000", "equal")
    assert lower.which_way == "lower val_bpb is better"
    assert higher.which_way == "higher accuracy is better"


def test_a_score_is_mean_spread_and_trials():
    digits = Digits(metric=Metric())
    assert digits.score(Score(mean=2.1, sd=0.02, n=3)) == "2.1000 ±0.0200 ×3"
    assert digits.score(Score(mean=-2.1, sd=None, n=1)) == "−2.1000 ×1"
    assert digits.value(1e300) == "1e+300"
    assert digits.value(math.nan) == "nan"


def test_the_sd_of_a_gain_is_that_of_a_difference_of_means():
    three, one = Score(mean=2.0, sd=None, n=3), Score(mean=2.0, sd=None, n=1)
    assert gain_sd(0.3, three, three) == pytest.approx(0.3 * math.sqrt(2 / 3))
    assert gain_sd(0.3, three, one) == pytest.approx(0.3 * math.sqrt(4 / 3))
    assert gain_sd(None, three, three) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (48.9, "48 s"), (60, "1 min"), (11520, "3 h 12 min"), (172_800, "2 d 0 h"), (190_000, "2 d 4 h")],
)
def test_durations_have_two_units_at_most(seconds, words):
    assert duration(seconds) == words


def test_counts_know_their_plural():
    assert [count(n, "trial") for n in (0, 1, 1200)] == ["0 trials", "1 trial", "1,200 trials"]


def test_a_sparkline_goes_from_the_lowest_to_the_highest_bar():
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([3.0, 3.0], 8) == "▄▄"
    assert sparkline([1.0, math.nan, 0.0, math.inf], 8) == "█▁"
    assert sparkline([0.0, 5.0, 9.0, 4.0, 1.0], 3) == "▁█▁"  # first, middle, last
    assert sparkline([1.0], 8) == sparkline([], 8) == ""
