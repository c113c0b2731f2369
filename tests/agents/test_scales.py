"""Numbers move on grids and stay inside their bounds, however often they are moved."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.agents.families import FAMILIES
from ratchetree.agents.meaning import family_of, is_protected, words
from ratchetree.agents.scales import Company, Doubling, Grid, Heads, Log, NearOne, Whole, Width, number_text, preferred

COMPANY = st.builds(
    Company,
    width=st.none() | st.integers(1, 64).map(lambda n: 32 * n),
    heads=st.none() | st.integers(1, 16),
    key_heads=st.none() | st.sampled_from([1, 2, 4]),
    head_dim=st.none() | st.sampled_from([16, 32, 64, 128]),
    shares=st.sampled_from([0.0, 0.05, 0.3, 0.9]),
)
NUMBERS = st.one_of(
    st.integers(0, 2**20),
    st.floats(1e-12, 1e7, allow_nan=False),
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, 1.0, 1, 2, 768, 0.95, 3e-4, 2**19, 128]),
)


@given(family=st.sampled_from(sorted(FAMILIES)), value=NUMBERS, company=COMPANY)
def test_neighbours_are_allowed_differ_and_keep_the_kind_of_number(family, value, company):
    scale = FAMILIES[family].scale
    for new in scale.around(value, company):
        assert scale.allows(new, company), (value, new)
        assert new != value
        assert math.isfinite(new)
        if isinstance(value, int) and family not in ("warm-up", "warm-down", "momentum"):
            assert isinstance(new, int)


@given(family=st.sampled_from(sorted(FAMILIES)), value=NUMBERS, company=COMPANY, seed=st.integers(0, 99))
def test_a_long_walk_never_leaves_the_bounds(family, value, company, seed):
    scale, rng = FAMILIES[family].scale, random.Random(seed)
    for _ in range(40):
        around = scale.around(value, company)
        if not around:
            break
        value = rng.choice(around)
        assert scale.allows(value, company)


@given(value=st.floats(1e-5, 1.0), seed=st.integers(0, 99))
def test_a_walk_on_a_logarithmic_scale_meets_few_values(value, seed):
    rng, scale = random.Random(seed), Log(1e-5, 1.0)
    met = set()
    for _ in range(200):
        value = rng.choice(scale.around(value, Company()))
        met.add(value)
    assert len(met) <= 51  # ten to each of the five decades, both ends included


@pytest.mark.parametrize(("value", "near"), [(0.021, 0.02), (0.6, 0.64), (3e-4, 3.2e-4), (9.2, 10.0), (117.0, 125.0)])
def test_preferred_numbers_are_the_nearest_by_ratio(value, near):
    assert preferred(value) == near


def test_a_learning_rate_moves_by_ratio():
    assert Log(1e-6, 5.0).around(0.02, Company()) == [0.01, 0.0125, 0.016, 0.025, 0.032, 0.04]


def test_a_momentum_moves_by_its_distance_from_one():
    assert NearOne(0.3, 0.9999).around(0.95, Company()) == [0.9, 0.92, 0.936, 0.96, 0.968, 0.975]


def test_a_width_is_a_whole_number_of_heads_of_a_multiple_of_eight():
    assert Width().around(128, Company(heads=4)) == [96, 160, 192]


def test_heads_divide_the_width_into_multiples_of_eight():
    assert Heads().around(4, Company(width=96)) == [2, 3, 6, 12]


def test_heads_without_a_known_width_can_only_become_fewer_and_divide():
    assert Heads().around(12, Company()) == [4, 6]


def test_batches_move_to_the_next_powers_of_two():
    assert Doubling(1, 64).around(48, Company()) == [32, 64]
    assert Doubling(1, 64).around(64, Company()) == [32]


def test_layers_are_never_less_than_one():
    assert Whole(1, 64).around(2, Company()) == [1, 3, 4]


def test_whole_numbers_skip_the_fractions_of_a_grid():
    assert Grid((1, 1.5, 2, 3, 4)).around(2, Company()) == [1, 3, 4]
    assert Grid((1, 1.5, 2, 3, 4)).around(2.0, Company()) == [1.0, 1.5, 3.0, 4.0]


def test_shares_of_a_schedule_leave_room_for_one_another():
    scale = FAMILIES["warm-down"].scale
    assert scale.around(0.8, Company(shares=0.1)) == [0.6, 0.7, 0.9]
    assert scale.around(0.8, Company(shares=0.2)) == [0.6, 0.7]


@pytest.mark.parametrize(("value", "text"), [(0.025, "0.025"), (1e-8, "1e-8"), (3, "3"), (2.5e-06, "2.5e-6")])
def test_numbers_are_written_as_one_writes_them(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("name", "value", "family"),
    [
        ("MATRIX_LR", 0.02, "learning rate"),
        ("learning_rate", 6e-4, "learning rate"),
        ("min_lr", 6e-5, "learning rate"),
        ("FINAL_LR", 0.1, "final learning rate"),
        ("FINAL_LR_FRAC", 0.0, "final learning rate"),
        ("lr_decay_iters", 600000, "schedule length"),
        ("WEIGHT_DECAY", 0.1, "weight decay"),
        ("ADAM_BETA2", 0.95, "momentum"),
        ("beta1", 0.9, "momentum"),
        ("WARMUP", 0.05, "warm-up"),
        ("MOMENTUM_WARMUP_STEPS", 300, "schedule length"),
        ("WARMDOWN_RATIO", 0.5, "warm-down"),
        ("n_layer", 12, "depth"),
        ("DEPTH", 4, "depth"),
        ("n_embd", 768, "width"),
        ("MODEL_DIM", 512, "width"),
        ("n_head", 12, "heads"),
        ("n_kv_head", 4, "key/value heads"),
        ("HEAD_DIM", 128, "head size"),
        ("HEAD_LR", 0.004, "learning rate"),
        ("MLP_RATIO", 4, "mlp ratio"),
        ("SEQ_LEN", 256, "sequence length"),
        ("block_size", 1024, "sequence length"),
        ("BATCH_SIZE", 8, "batch size"),
        ("TOTAL_BATCH_SIZE", 2**19, "batch size"),
        ("ROPE_BASE", 10000.0, "rotary base"),
        ("LOGIT_CAP", 15.0, "logit cap"),
        ("GRAD_CLIP", 1.0, "clipping"),
        ("DROPOUT", 0.0, "dropout"),
        ("EPS", 1e-8, "epsilon"),
        ("INIT_SCALE", 1.0, "initial scale"),
        ("SOMETHING", 0.3, "share"),
        ("SOMETHING", 3.0, "constant"),
        ("something", 3.0, None),  # in lower case it may be anything
        ("SEED", 42, None),
        ("VOCAB_SIZE", 50257, None),
        ("EVAL_BATCHES", 20, None),
        ("SAVE_SECONDS", 0.3, None),
        ("n_layer", 12.0, None),  # a number of layers is whole
    ],
)
def test_names_say_what_numbers_mean(name, value, family):
    found = family_of(name, value)
    assert (found.name if found else None) == family


@pytest.mark.parametrize("name", ["SEED", "out_dir", "VAL_TOKENS", "logInterval", "TIME_BUDGET", "device"])
def test_names_about_the_measurement_are_protected(name):
    assert is_protected(name)


def test_names_fall_into_words_without_digits():
    assert words("ADAM_BETA2") == words("adamBeta2") == ("adam", "beta")
    assert words("F.rms_norm") == ("f", "rms", "norm")
