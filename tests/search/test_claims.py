"""The final claim, with intervals worked out by hand."""

import random

import pytest

from ratchetree.search.claims import interval, resolved, sentence
from ratchetree.search.model import Interval, Metric

MIN = Metric(name="val_bpb", direction="min")


def test_the_interval_is_welchs() -> None:
    # means 2.0 and 1.0, both with variance 0.01 / 1 over 5 trials: sd 0.0158114 each, standard error of the difference
    # 0.01, 8 degrees of freedom: t = 2.306004
    root, node = [1.98, 1.99, 2.0, 2.01, 2.02], [0.98, 0.99, 1.0, 1.01, 1.02]
    found = interval(MIN, root, node)
    assert found.gain == pytest.approx(1.0)
    assert (found.low, found.high) == pytest.approx((1 - 0.02306004, 1 + 0.02306004))
    assert found.trials == 5
    mirrored = interval(Metric(name="accuracy", direction="max"), [-v for v in root], [-v for v in node])
    assert (mirrored.gain, mirrored.low) == pytest.approx((found.gain, found.low))


def test_trials_without_any_spread_are_exact() -> None:
    assert interval(MIN, [2.0, 2.0], [1.5, 1.5]) == Interval(gain=0.5, low=0.5, high=0.5, trials=2)


def test_one_trial_is_no_claim() -> None:
    with pytest.raises(ValueError, match="at least two"):
        interval(MIN, [1.0], [0.9, 0.8])


@pytest.mark.parametrize(
    ("validation", "test", "says", "is_resolved"),
    [
        ((0.1, 0.05, 0.15), (0.1, 0.02, 0.18), "the gain is resolved", True),
        ((0.1, 0.05, 0.15), None, "the gain is resolved", True),
        ((0.1, 0.05, 0.15), (0.01, -0.02, 0.04), "not on the test part", False),
        ((0.01, -0.02, 0.04), (0.1, 0.02, 0.18), "not resolved", False),
        ((-0.1, -0.15, -0.05), (0.0, -0.1, 0.1), "it is worse", False),
    ],
)
def test_the_verdict_is_one_sentence(
    validation: tuple[float, float, float], test: tuple[float, float, float] | None, says: str, is_resolved: bool
) -> None:
    on = [Interval(gain=x[0], low=x[1], high=x[2], trials=5) if x else None for x in (validation, test)]
    assert on[0] is not None
    words = sentence(MIN, 12, on[0], on[1])
    assert words.startswith("0012 against the root: val_bpb 0.")
    assert words.endswith(says) or says in words
    assert resolved(on[0], on[1]) is is_resolved


def test_a_loss_is_not_worded_as_a_gain() -> None:
    words = sentence(MIN, 3, Interval(gain=-0.1, low=-0.15, high=-0.05, trials=5), None)
    assert "val_bpb 0.1000 worse [0.0500, 0.1500] on validation" in words


def test_pure_luck_is_called_a_gain_in_fewer_than_five_of_a_hundred_nights() -> None:
    rng = random.Random(1)
    called = 0
    for _ in range(400):
        parts = [interval(MIN, *([rng.gauss(0, 1) for _ in range(5)] for _ in range(2))) for _ in range(2)]
        called += resolved(parts[0], parts[1])
    assert called / 400 < 0.05
