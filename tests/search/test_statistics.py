"""The lab's statistics, against values worked out by hand."""

import numpy as np
import pytest

from ratchetree.search.lab.statistics import (
    bootstrap,
    ecdf,
    holm,
    iqm,
    mean_ranks,
    paired,
    probability_better,
    seeds_needed,
    wilcoxon,
)


def test_the_interquartile_mean_cuts_a_quarter_at_either_end() -> None:
    assert iqm(np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0])) == pytest.approx(3.5)  # 2, 3, 4, 5


def test_a_bootstrap_interval_holds_its_estimate_and_shrinks_with_the_seeds() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(0, 1, 20), rng.normal(0, 1, 2000)
    a, b = bootstrap(few, np.mean), bootstrap(many, np.mean)
    assert a.low < a.mean < a.high
    assert b.high - b.low < (a.high - a.low) / 5
    assert bootstrap(few, np.mean) == a


def test_pairing_removes_what_seeds_have_in_common() -> None:
    seeds = np.random.default_rng(1).normal(0, 100, 50)
    assert paired(seeds - 1.0, seeds).resolved
    assert paired(seeds - 1.0, seeds).mean == pytest.approx(-1.0)


def test_a_tie_counts_half() -> None:
    assert probability_better(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 2.0, 9.0])) == 0.625


def test_holm_multiplies_the_smallest_by_the_number_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def test_ties_everywhere_are_no_evidence() -> None:
    same = np.ones(10)
    assert wilcoxon(same, same) == 1.0
    assert seeds_needed(same, same) is None
    assert not paired(same, same).resolved


def test_seeds_needed_follow_the_square_of_spread_over_difference() -> None:
    difference = np.array([-1.0, 3.0])  # mean 1, sample sd sqrt(8)
    assert seeds_needed(difference, np.zeros(2)) == 63  # 7.85 x 8 = 62.8


def test_mean_ranks_share_ties() -> None:
    table = np.array([[1.0, 5.0], [1.0, 4.0], [2.0, 6.0]])
    assert mean_ranks(table).tolist() == [1.75, 1.25, 3.0]


def test_the_ecdf_counts_pairs_of_campaign_and_target_that_were_reached() -> None:
    curves = np.array([[0.0, -1.0, -2.0], [0.0, 0.0, -1.0]])
    assert ecdf(curves, np.array([-1.0, -2.0])).tolist() == [0.0, 0.25, 0.75]
