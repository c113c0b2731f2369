"""How closely a score is looked at."""

from ratchetree.search.scrutiny import AUDIT_CUTS, CONFIRM_CUTS, SCREEN_CUTS, TOLERANCE, cuts, tolerance


def test_confirming_trials_and_single_ones_that_decide_are_probed_more() -> None:
    assert cuts(trial=0, confirmations=3, gain=None, noise=0.01) == SCREEN_CUTS
    assert cuts(trial=1, confirmations=3, gain=0.02, noise=0.01) == CONFIRM_CUTS
    assert cuts(trial=0, confirmations=0, gain=None, noise=None) == CONFIRM_CUTS


def test_a_gain_that_is_hard_to_believe_is_audited() -> None:
    assert cuts(trial=1, confirmations=3, gain=0.11, noise=0.01) == AUDIT_CUTS
    assert cuts(trial=1, confirmations=3, gain=0.11, noise=None) == CONFIRM_CUTS


def test_the_tolerance_follows_a_root_of_low_precision_and_never_falls_below_what_matters() -> None:
    assert tolerance(0.0) == TOLERANCE
    assert tolerance(0.001) == 0.005
