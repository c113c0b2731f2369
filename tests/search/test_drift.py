"""Whether the machine is what it was: by hand."""

from __future__ import annotations

import pytest

from ratchetree.search.drift import standing

EARLIER = (1.0, 1.02, 0.98)


def test_main_as_young_as_the_candidate_is_believed_at_once() -> None:
    stands = standing((1.0, 1.1), 2, noise=0.02, apart=0.02, anchors=3)
    assert (stands.wanted, stands.drifted, stands.score.n) == (0, False, 2)


def test_a_main_that_was_screened_and_confirmed_beside_the_candidate_is_young_as_a_whole() -> None:
    stands = standing((1.0, 1.3, 1.0), 4, noise=0.02, apart=0.02, anchors=3)  # its screening trial does not count
    assert (stands.wanted, stands.drifted, stands.score.n) == (0, False, 3)


def test_an_older_main_is_measured_once_more() -> None:
    assert standing(EARLIER, 0, noise=0.02, apart=0.02, anchors=3).wanted == 1
    assert standing(EARLIER, 0, noise=0.02, apart=0.02, anchors=0).wanted == 0


def test_an_anchor_that_agrees_joins_the_earlier_trials() -> None:
    stands = standing((*EARLIER, 1.04), 1, noise=0.025, apart=0.02, anchors=3)  # 2 * 0.02 * sqrt(1/3 + 1) = 0.0462
    assert (stands.wanted, stands.drifted, stands.score.n, stands.noise) == (0, False, 4, 0.025)


def test_after_a_drift_only_trials_from_beside_the_candidate_count() -> None:
    stands = standing((*EARLIER, 1.05), 1, noise=0.025, apart=0.02, anchors=3)
    assert (stands.wanted, stands.drifted) == (2, True)
    stands = standing((*EARLIER, 1.1, 1.1, 1.13), 3, noise=0.05, apart=0.02, anchors=3)
    assert (stands.wanted, stands.noise) == (0, 0.02)
    assert stands.score.mean == pytest.approx(1.11)


def test_without_any_measure_of_noise_there_is_no_drift_to_see() -> None:
    assert not standing((1.0, 2.0), 1, noise=None, apart=None, anchors=3).drifted
