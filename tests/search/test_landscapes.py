"""Landscapes know their own answer: increments agree with the definition, keys with the program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchetree.search.errors import WrongUse
from ratchetree.search.landscapes import LANDSCAPES, landscape_names
from ratchetree.search.landscapes.agent import Agent, Habits
from ratchetree.search.landscapes.families import FAMILIES
from ratchetree.search.landscapes.ground import Landscape, Module, Spot
from ratchetree.search.landscapes.nk import NK
from ratchetree.search.landscapes.quadratic import Quadratic, direct_value
from ratchetree.search.landscapes.recorded import recorded
from ratchetree.search.model import ExpansionKind

GROUNDS = {name: make(3) for name, (_, make) in LANDSCAPES.items()}


def walk(ground: Landscape, moves: list[int]) -> Spot:
    spot = ground.root
    for move in moves:
        spot = ground.flip(spot, move % len(ground.worth))
        if ground.modules:
            v = move % len(ground.modules)
            last = len(ground.modules[v].heights) - 1
            spot = ground.step(spot, v, 1 if spot.places[v] < last else -spot.places[v])
    return spot


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(moves=st.lists(st.integers(0, 10**6), max_size=30))
def test_the_value_kept_by_increments_is_the_value_of_the_definition(name: str, moves: list[int]) -> None:
    ground = GROUNDS[name]
    assert isinstance(ground, Quadratic)
    spot = walk(ground, moves)
    assert spot.value == pytest.approx(direct_value(ground, spot), abs=1e-9)


@pytest.mark.parametrize("name", LANDSCAPES)
@settings(max_examples=15, deadline=None)
@given(moves=st.lists(st.integers(0, 10**6), min_size=1, max_size=12, unique=True))
def test_the_order_of_ideas_makes_no_difference_and_taking_them_out_leads_home(name: str, moves: list[int]) -> None:
    ground = GROUNDS[name]
    ideas = sorted({move % len(ground.worth) for move in moves})

    def after(order: list[int], spot: Spot) -> Spot:
        for idea in order:
            spot = ground.flip(spot, idea)
        return spot

    one, other = after(ideas, ground.root), after(ideas[::-1], ground.root)
    assert one.key == other.key != ground.root.key
    assert one.value == pytest.approx(other.value, abs=1e-9)
    home = after(ideas, one)
    assert home.key == ground.root.key
    assert home.value == pytest.approx(0.0, abs=1e-9)


def test_a_valley_goes_down_first_and_pays_in_the_end_and_a_decoy_never_pays() -> None:
    for module in GROUNDS["full"].modules:
        assert max(module.heights) == pytest.approx(module.heights[module.down]) and module.heights[module.down] > 0
        assert (module.heights[-1] < 0) == module.pays


def test_one_seed_has_the_same_single_ideas_in_every_family() -> None:
    assert np.array_equal(GROUNDS["additive"].worth, GROUNDS["full"].worth)


def test_an_nk_landscape_without_neighbours_is_a_sum_of_single_effects() -> None:
    ground = NK(seed=1, n=12, k=0)
    alone = [ground.flip(ground.root, i).value for i in range(12)]
    assert walk(ground, list(range(12))).value == pytest.approx(sum(alone))


def test_the_agent_believes_in_good_ideas_more_than_in_bad_ones_but_not_blindly() -> None:
    ground = GROUNDS["additive"]
    agent = Agent(ground, seed=3, habits=Habits(revert=0.0, double=0.0), experiments=2000)
    tried = [agent.propose(i, ground.root, ExpansionKind.IMPROVE) for i in range(2000)]
    helps = np.mean([proposal.spot.value < 0 for proposal in tried])
    share = np.mean(ground.worth > 0)
    assert 2 * share < helps < 0.9


def test_a_failed_idea_is_tried_less_and_one_in_flight_too() -> None:
    ground = Quadratic(single=np.array([-1.0, 1.0]), noise=0.1)
    habits = Habits(insight=0.0, conviction=0.0, revert=0.0, double=0.0, crash=0.0, failed=0.0)
    agent = Agent(ground, seed=0, habits=habits, experiments=50)
    first = agent.propose(0, ground.root, ExpansionKind.IMPROVE)
    agent.begin(first)
    agent.learn(first, improved=False)
    later = {agent.propose(i, ground.root, ExpansionKind.IMPROVE).ideas for i in range(1, 50)}
    assert later == {(1 - first.ideas[0],)}


def test_an_announced_setback_comes_with_a_contract_that_covers_its_steps() -> None:
    valley = Module((0.0, 1.0, 2.0, 0.5, -3.0), 2, True)
    ground = Quadratic(single=np.array([1.0]), noise=0.1, modules=[valley])
    habits = Habits(entry_invest=1.0, flag_valley=1.0, crash_structural=0.0, double=0.0)
    proposal = Agent(ground, seed=0, habits=habits, experiments=5).propose(0, ground.root, ExpansionKind.INVEST)
    assert proposal.modules == (0,)
    assert proposal.dip == 1.0
    assert proposal.flagged >= 3  # steps to come


def test_an_unknown_landscape_names_the_nearest() -> None:
    with pytest.raises(WrongUse, match="did you mean 'rugged'"):
        landscape_names("ruged")
    assert landscape_names("all") == tuple(FAMILIES)


def test_a_recorded_landscape_gives_back_what_was_measured() -> None:
    pairs = [("set A = 1", "use b", 0.93)]
    ground = recorded([1.0, 1.02], {"set A = 1": 0.96, "use b": 0.99, "crash": None}, pairs, seed=0)
    a, b, crash = np.argsort(-ground.worth).tolist()  # the most useful idea first
    one = ground.flip(ground.root, a)
    assert one.value == pytest.approx(-50.0)  # 0.96 against the root's mean of 1.01, in 1e-3
    assert ground.flip(one, b).value == pytest.approx(-80.0)
    assert ground.flip(ground.root, crash).value > 100.0
    assert ground.noise == pytest.approx(1000 * 0.02 / 2**0.5)


def test_two_settings_of_one_knob_do_not_add_up() -> None:
    ground = recorded([1.0, 1.0], {"set A = 1": 0.9, "set A = 2": 0.95}, [], seed=0)
    both = ground.flip(ground.flip(ground.root, 0), 1)
    assert both.value == pytest.approx(-50.0)
