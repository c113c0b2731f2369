"""The lab: simulated campaigns are honest, paired, repeatable, and blind where policies must be blind."""

import math

import numpy as np
import pytest

from ratchetree.search.events import Event, Judged, Selected
from ratchetree.search.lab.comparison import Design, play, rows
from ratchetree.search.lab.screening import Screen
from ratchetree.search.lab.simulate import Simulation
from ratchetree.search.landscapes import LANDSCAPES
from ratchetree.search.landscapes.agent import Habits
from ratchetree.search.landscapes.ground import Module
from ratchetree.search.landscapes.quadratic import Quadratic
from ratchetree.search.model import FailureKind, Metric, Verdict
from ratchetree.search.policies import POLICIES, make_policy
from ratchetree.search.ratchet import PRESETS
from ratchetree.search.tree import Tree, replay


def simulation(policy: str, landscape: str = "full", **options: object) -> Simulation:
    given: dict[str, object] = {"evaluations": 60, "seed": 5, "preset": PRESETS["default"], **options}
    return Simulation(make_policy(policy, {}), LANDSCAPES[landscape][1](5), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("in_flight", [1, 7])
def test_every_policy_spends_its_budget_and_a_replay_of_its_events_is_its_tree(policy: str, in_flight: int) -> None:
    events: list[Event] = []
    lab = simulation(policy, in_flight=in_flight, listen=lambda _, event: events.append(event))
    run = lab.run()
    assert len(run.curve) == 60
    again = replay(events)
    assert again.incumbent == lab.tree.incumbent
    assert np.array_equal(again.loss, lab.tree.loss, equal_nan=True)
    scored = sum(len(node.values) for node in again.nodes()) - PRESETS["default"].root_trials
    crashed = sum(node.failure is not None and node.failure.kind == "crash" for node in again.nodes())
    assert scored + crashed == 60 if in_flight == 1 else 30 < scored + crashed <= 60  # a barrier leaves slots idle


@pytest.mark.parametrize("policy", POLICIES)
def test_a_seed_repeats_itself(policy: str) -> None:
    one, other = simulation(policy, in_flight=3).run(), simulation(policy, in_flight=3).run()
    assert np.array_equal(one.curve, other.curve)


@pytest.mark.parametrize("policy", POLICIES)
def test_maximising_gives_the_mirrored_campaign(policy: str) -> None:
    one, other = simulation(policy), simulation(policy, metric=Metric(name="m", direction="max"))
    one.run(), other.run()
    assert np.array_equal(one.tree.parent, other.tree.parent)
    assert np.allclose(one.tree.loss, other.tree.loss + 2.0, equal_nan=True)


def test_policies_on_one_seed_meet_the_same_luck() -> None:
    """With nothing to drift to, drift is the ratchet, experiment by experiment."""
    facts = play(
        Design(
            policies=("ratchet", "go-explore"), landscapes=("additive",), evaluations=(40,), seeds=1, ratchet="naive"
        ),
        "additive",
        7,
    )
    assert np.array_equal(facts["ratchet"].curve, facts["go-explore"].curve)


def test_main_never_moves_but_by_the_ratchet_and_its_curve_is_the_truth() -> None:
    lab = simulation("metropolis", "rugged", evaluations=150)
    run = lab.run()
    assert run.curve[-1] == pytest.approx(lab.spots[lab.tree.incumbent].value, abs=1e-4)
    kept = [node.id for node in lab.tree.nodes() if node.verdict is Verdict.KEPT and node.parent is not None]
    assert run.gains + run.false_advances == len(kept)


def test_more_in_flight_than_nodes_is_no_deadlock_even_with_a_barrier() -> None:
    assert len(simulation("beam", in_flight=64).run().curve) == 60


def test_a_ground_where_everything_crashes_ends() -> None:
    for policy in POLICIES:
        lab = Simulation(
            make_policy(policy, {}),
            LANDSCAPES["additive"][1](1),
            preset=PRESETS["naive"],
            evaluations=40,
            habits=Habits(crash=1.0, crash_structural=1.0, mend=0.0),
        )
        assert lab.run().curve[-1] == 0.0


def valley_campaign(seed: int = 4) -> tuple[Tree, Simulation]:
    """One valley of three steps, a planner that announces it, ideas that do not help."""
    ground = Quadratic(single=np.full(40, 0.6), noise=0.2, modules=[Module((0.0, 1.0, 2.0, 0.5, -3.0), 2, True)])
    habits = Habits(entry=0.3, follow=0.6, flag_valley=1.0, crash=0.0, crash_structural=0.0, double=0.0, revert=0.0)
    lab = Simulation(
        make_policy("ledger", {}), ground, preset=PRESETS["default"], evaluations=60, seed=seed, habits=habits
    )
    lab.run()
    return lab.tree, lab


def test_golden_setback_a_contract_opens_goes_worse_pays_off_and_moves_main() -> None:
    tree, lab = valley_campaign()
    path = tree.path(tree.incumbent)
    # The root, two announced steps down, one up, and the step that moved main: worked out from the module above.
    assert [lab.spots[node].places[0] for node in path] == [0, 1, 2, 3, 4]
    assert [round(lab.spots[node].value, 1) for node in path] == [0.0, 1.0, 2.0, 0.5, -3.0]
    assert [tree.node(node).verdict for node in path] == [
        Verdict.KEPT, Verdict.PARKED, Verdict.PARKED, Verdict.PARKED, Verdict.KEPT,
    ]  # fmt: skip
    sums = lab._account.sums()
    assert (sums.opened, sums.paid_off) == (2, 1)  # the other is a plain idea that was flagged
    assert sums.gain == pytest.approx(3e-3, abs=3e-4)


def test_a_plain_ratchet_never_crosses_the_same_valley() -> None:
    ground = Quadratic(single=np.full(40, 0.6), noise=0.2, modules=[Module((0.0, 1.0, 2.0, 0.5, -3.0), 2, True)])
    habits = Habits(entry=0.3, follow=0.6, flag_valley=1.0, crash=0.0, crash_structural=0.0, double=0.0, revert=0.0)
    lab = Simulation(
        make_policy("ratchet", {}), ground, preset=PRESETS["default"], evaluations=60, seed=4, habits=habits
    )
    assert lab.run().curve[-1] == 0.0


def test_a_bundle_that_does_not_fit_breaks_and_one_that_fits_adds_up() -> None:
    from ratchetree.search.landscapes.agent import Agent

    ground = Quadratic(single=np.array([-1.0, -2.0, -4.0]), noise=0.1)
    patches = [(ground.root, ground.flip(ground.root, i)) for i in (1, 2)]
    onto = ground.flip(ground.root, 0)
    merged = Agent(ground, seed=0, habits=Habits(conflict=0.0), experiments=3).merge(1, onto, patches)
    assert merged.spot.value == -7.0 and not merged.spot.broken
    assert Agent(ground, seed=0, habits=Habits(conflict=4.0), experiments=3).merge(1, onto, patches).spot.broken


def test_rows_hold_what_the_table_needs() -> None:
    design = Design(policies=("ratchet", "drift"), landscapes=("additive", "rugged"), evaluations=(10, 30), seeds=4)
    results: dict[tuple[str, str], dict[int, object]] = {}
    for landscape, seed in design.tasks():
        for policy, facts in play(design, landscape, seed).items():
            results.setdefault((landscape, policy), {})[seed] = facts
    found = rows(design, results)  # type: ignore[arg-type]
    assert [(r.landscape, r.policy, r.evaluations) for r in found][:2] == [
        ("additive", "ratchet", 10),
        ("additive", "drift", 10),
    ]
    assert len(found) == 2 * 3 * 2  # policies x (landscapes and all) x budgets
    reference, other = found[0], found[1]
    assert reference.difference_to_ratchet is None and other.difference_to_ratchet is not None
    assert all(math.isfinite(r.iqm_low) and r.iqm_low <= r.iqm <= r.iqm_high for r in found)


def test_a_policy_sees_events_only_and_none_of_them_holds_the_truth() -> None:
    events: list[Event] = []
    lab = simulation("ratchet", listen=lambda _, event: events.append(event))
    lab.run()
    truth = {f"{spot.value:.6f}" for spot in lab.spots.values() if spot.value}
    texts = " ".join(str(event) for event in events if not isinstance(event, Judged))
    assert not [value for value in truth if value in texts]


def test_a_transplant_brings_patches_only_and_never_the_root() -> None:
    brought: list[int] = []

    def listen(_: Tree, event: Event) -> None:
        if isinstance(event, Selected):
            brought.extend(source for option in event.options for source in option.sources)

    for seed in range(6):
        ground = LANDSCAPES["valleys"][1](seed)
        ledger, preset = make_policy("ledger", {}), PRESETS["default"]
        Simulation(ledger, ground, preset=preset, evaluations=400, in_flight=16, seed=seed, listen=listen).run()
    assert brought and 0 not in brought


def test_an_early_screen_ends_catastrophes_only_and_never_an_announced_setback() -> None:
    screen = Screen(limit=5.0, blur=2.0)
    assert screen.ends(worse=6.0, noise=1.0, luck=(0.0, 0.1), announced=False)
    assert not screen.ends(worse=6.0, noise=1.0, luck=(0.0, -0.6), announced=False)  # one look out of two: 4.8
    assert not screen.ends(worse=4.9, noise=1.0, luck=(0.0, 0.0), announced=False)
    assert not screen.ends(worse=60.0, noise=1.0, luck=(0.0, 0.0), announced=True)


def test_a_screened_trial_costs_a_share_of_one_and_leaves_no_score() -> None:
    ground = Quadratic(single=np.full(400, 9.0), noise=0.2)
    habits = Habits(crash=0.0, revert=0.0, double=0.0, flag_bad=0.0)
    lab = Simulation(
        make_policy("ratchet", {}),
        ground,
        preset=PRESETS["naive"],
        evaluations=30,
        habits=habits,
        screen=Screen(at=0.25),
    )
    assert len(lab.run().curve) == 30
    nodes = [node for node in lab.tree.nodes() if node.parent is not None]
    assert all(node.score is None for node in nodes)
    kinds = [node.failure.kind for node in nodes if node.failure is not None]
    assert kinds.count(FailureKind.TIMEOUT) == 30 / 0.25  # every one is a catastrophe; duplicates cost nothing


def test_a_screen_that_never_ends_anything_changes_nothing() -> None:
    plain, screened = simulation("auto").run(), simulation("auto", screen=Screen(limit=1e9)).run()
    assert np.array_equal(plain.curve, screened.curve)
