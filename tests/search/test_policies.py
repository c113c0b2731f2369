"""Every policy, on trees grown by hand and by chance."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchetree.search.errors import WrongUse
from ratchetree.search.events import CampaignStarted, Event, Judged, Planned, Scored, Selected
from ratchetree.search.model import (
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    ScoreReport,
    SetbackContract,
    Verdict,
)
from ratchetree.search.policies import POLICIES, make_policy, parameters_of
from ratchetree.search.ports import Policy
from ratchetree.search.tree import FAILED, Tree

CRASH = Failure(kind=FailureKind.CRASH, message="boom")


class Ground:
    """A tree with a policy on it, grown by one-line moves. sign = -1 mirrors every score (a maximised metric)."""

    def __init__(self, policy: Policy, sign: int = 1, root: float = 1.0) -> None:
        self.policy, self.tree, self.sign = policy, Tree(), sign
        self.take(
            CampaignStarted(
                time=0.0,
                version="0",
                seed=1,
                metric=Metric(name="m", direction="min" if sign > 0 else "max"),
                root_commit="0" * 40,
                root_digest="r",
                policy="p",
                preset="naive",
                settings="{}",
                machine=Machine(host="h", cpu="c", cpus=1, memory_gb=1.0),
            )
        )
        self._score(0, root)
        self.take(Judged(time=0.0, experiment=0, verdict=Verdict.KEPT, reason="", against=0))

    def take(self, event: Event) -> None:
        self.tree.apply(event)
        self.policy.observe(self.tree, event)

    def begin(self, parent: int, contract: SetbackContract | None = None) -> int:
        """Start an experiment on a parent; its number."""
        number = self.tree.next_id
        self.take(Selected(time=0.0, experiment=number, options=(Expansion(node=parent),)))
        category = "architecture" if contract else "c"
        idea = Idea(title="t", hypothesis="h", mechanism="m", category=category, brief=str(number), contract=contract)
        asked, call = ExpansionKind.IMPROVE, ModelCall(backend="t")
        self.take(Planned(time=0.0, experiment=number, parent=parent, asked=asked, outcome=idea, call=call))
        return number

    def end(self, number: int, value: float | None) -> None:
        """Judge it: kept if better than the incumbent, parked if not, failed for None."""
        if value is None:
            verdict = Verdict.FAILED
        else:
            self._score(number, value)
            better = self.tree.loss[number] < self.tree.loss[self.tree.incumbent]
            verdict = Verdict.KEPT if better else Verdict.PARKED
        failure = CRASH if value is None else None
        self.take(Judged(time=0.0, experiment=number, verdict=verdict, reason="", against=0, failure=failure))

    def add(self, parent: int, value: float | None) -> int:
        number = self.begin(parent)
        self.end(number, value)
        return number

    def rank(self, k: int = 1, seed: int = 0) -> list[int]:
        return [expansion.node for expansion in self.policy.rank(self.tree, k, random.Random(seed))]

    def _score(self, number: int, value: float) -> None:
        report = ScoreReport(value=self.sign * value)
        self.take(Scored(time=0.0, experiment=number, trial=0, seconds=0.0, outcome=report))


def test_ratchet_goes_on_from_main_only() -> None:
    ground = Ground(make_policy("ratchet", {}))
    assert ground.rank(3) == [0]
    better = ground.add(0, 0.9)
    ground.add(0, 0.95)
    assert ground.rank(3) == [better]


def test_beam_gives_the_root_a_whole_generation_and_then_waits() -> None:
    ground = Ground(make_policy("beam", {"width": 2, "branch": 2}))
    running = []
    for _ in range(4):
        assert ground.rank() == [0]
        running.append(ground.begin(0))
    assert ground.rank() == []  # the barrier: four in flight
    for number, value in zip(running, (1.3, 1.1, None, 1.2), strict=True):
        assert ground.rank() == []
        ground.end(number, value)
    assert ground.rank(5) == [0, running[1]]  # elitist: the root (1.0) stays, beside the best child (1.1)


def test_a_level_beam_moves_on_to_worse_children() -> None:
    ground = Ground(make_policy("beam", {"width": 2, "branch": 2, "elitist": False}))
    first = [ground.add(0, value) for value in (1.3, 1.1, 1.4, 1.2)]
    assert ground.rank(5) == [first[1], first[3]]


def test_beam_shares_its_turns_evenly_and_best_first_among_equals() -> None:
    ground = Ground(make_policy("beam", {"width": 2, "branch": 2, "elitist": False}))
    a, b = [ground.add(0, value) for value in (1.2, 1.1, 1.4, 1.3)][:2]
    order = []
    for _ in range(4):
        node = ground.rank()[0]
        order.append(node)
        ground.begin(node)
    assert order == [b, a, b, a]
    assert ground.rank() == []


def test_a_beam_whose_children_all_failed_tries_again_from_the_same_nodes() -> None:
    ground = Ground(make_policy("beam", {"width": 1, "branch": 2, "elitist": False}))
    for _ in range(2):
        ground.add(0, None)
    assert ground.rank() == [0]


def test_best_first_gives_each_node_its_turns_and_comes_back() -> None:
    ground = Ground(make_policy("best-first", {"branch": 2}))
    worse = ground.add(0, 1.1)
    assert ground.rank(5) == [0, worse]  # the root has one turn left
    ground.begin(0)
    assert ground.rank(5) == [worse, 0]  # its turns are used up: a second round, after the worse node's first
    ground.begin(worse)
    ground.begin(worse)
    assert ground.rank(5) == [0, worse]


def test_best_first_prefers_the_better_of_two_fresh_nodes() -> None:
    ground = Ground(make_policy("best-first", {"branch": 1}))
    a = ground.add(0, 1.2)
    ground.begin(a)
    b = ground.add(0, 1.1)
    assert ground.rank(1) == [b]


def test_the_walker_steps_onto_better_children_and_goes_home_after_its_misses() -> None:
    ground = Ground(make_policy("metropolis", {"temperature": 0.0, "restart": 2}))
    main = ground.add(0, 0.8)
    worse = ground.add(main, 0.95)
    assert ground.rank() == [main]  # at temperature 0 a worse child is never stepped onto
    ground.add(main, 0.9)  # the second miss
    ground.add(worse, 0.85)  # no child of where it stands
    assert ground.rank() == [main]


CONTRACT = SetbackContract(expected_dip=0.1, max_dip=1.0, horizon=4)


def indebted(after: int) -> Ground:
    """Ten experiments on main, each better by 0.05; then (number 11) a parked setback of 0.1 under contract."""
    ground = Ground(make_policy("ledger", {"after": after, "temperature": 0.0, "invest": 0.0}))
    for _ in range(10):
        main = ground.tree.incumbent
        ground.add(main, float(ground.tree.loss[main]) - 0.05)
    main = ground.tree.incumbent
    ground.end(ground.begin(main, CONTRACT), float(ground.tree.loss[main]) + 0.1)
    return ground


def dry(ground: Ground, experiments: int) -> list[int]:
    """So many experiments where the policy wants them, all worse than their parent; the parents."""
    parents = []
    for _ in range(experiments):
        parents.append(ground.rank()[0])
        ground.add(parents[-1], float(ground.tree.loss[parents[-1]]) + 0.1)
    return parents


def test_a_contract_waits_until_main_brings_less_than_contracts_are_believed_to() -> None:
    ground = indebted(after=5)
    main, parked = ground.tree.incumbent, 11
    parents = dry(ground, 40)
    assert parents[:2] == [main, main]  # main has just gained all the time
    assert parked in parents  # and then nothing for a while


def test_no_contract_is_served_before_its_time() -> None:
    ground = indebted(after=60)
    assert set(dry(ground, 45)) == {ground.tree.incumbent}


def test_auto_stays_on_main_once_wins_are_rare_and_walks_while_they_are_frequent() -> None:
    poor, rich = Ground(make_policy("auto", {})), Ground(make_policy("auto", {}))
    for _ in range(120):
        poor.add(poor.tree.incumbent, 1.1)
        at = rich.rank()[0]
        rich.add(at, float(rich.tree.loss[at]) - 0.1)
    nearly = float(poor.tree.loss[poor.tree.incumbent]) + 1e-6  # as good as a tie
    poor.add(poor.tree.incumbent, nearly)
    assert poor.rank() == [0]
    tied = rich.add(rich.tree.incumbent, float(rich.tree.loss[rich.tree.incumbent]) + 1e-6)
    assert rich.rank() == [tied]


def test_random_draws_every_scored_node_and_only_those() -> None:
    ground = Ground(make_policy("random", {}))
    a, failed = ground.add(0, 2.0), ground.add(0, None)
    flying = ground.begin(0)
    seen = {ground.rank(seed=seed)[0] for seed in range(50)}
    assert seen == {0, a}
    assert failed not in seen and flying not in seen


# -- what holds for every policy -----------------------------------------------------------------------------------

Moves = list[tuple[int, float | None, bool]]
moves = st.lists(
    st.tuples(st.integers(0, 10**6), st.one_of(st.none(), st.integers(-50, 50).map(float)), st.booleans()),
    max_size=40,
)


def grow(ground: Ground, moves: Moves, k: int = 3) -> list[list[int]]:
    """Let the policy choose parents; returns every ranking it gave."""
    rankings: list[list[int]] = []
    waiting: list[tuple[int, float | None]] = []
    for seed, value, finish in moves:
        ranking = ground.rank(k, seed)
        rankings.append(ranking)
        if ranking:
            waiting.append((ground.begin(ranking[seed % len(ranking)]), value))
        if waiting and (finish or not ranking):
            ground.end(*waiting.pop(seed % len(waiting)))
    return rankings


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25)
@given(moves=moves)
def test_rankings_are_distinct_expandable_nodes_at_most_k_and_never_empty_with_nothing_in_flight(
    name: str, moves: Moves
) -> None:
    ground = Ground(make_policy(name, {}))
    waiting: list[tuple[int, float | None]] = []
    for seed, value, finish in moves:
        expansions = ground.policy.rank(ground.tree, 3, random.Random(seed))
        ranking = [expansion.node for expansion in expansions]
        assert len(ranking) == len(set(ranking)) <= 3
        for expansion in expansions:
            to_repair = expansion.kind is ExpansionKind.REPAIR and ground.tree.state[expansion.node] == FAILED
            assert to_repair or ground.tree.is_expandable(expansion.node)
        assert ranking or waiting
        if ranking:
            waiting.append((ground.begin(ranking[0]), value))
        if waiting and (finish or not ranking):
            ground.end(*waiting.pop(seed % len(waiting)))


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25)
@given(moves=moves)
def test_minimising_and_maximising_give_mirrored_searches(name: str, moves: Moves) -> None:
    assert grow(Ground(make_policy(name, {})), moves) == grow(Ground(make_policy(name, {}), sign=-1), moves)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25)
@given(moves=moves, scale=st.sampled_from([1e-9, 1e-3, 1e9]))
def test_shift_and_scale_of_the_metric_change_nothing(name: str, moves: Moves, scale: float) -> None:
    moved = [(seed, None if value is None else value * scale, finish) for seed, value, finish in moves]
    assert grow(Ground(make_policy(name, {})), moves) == grow(Ground(make_policy(name, {}), root=scale), moved)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25)
@given(moves=moves, seed=st.integers(0, 99))
def test_a_query_changes_nothing_and_a_replay_remembers_everything(name: str, moves: Moves, seed: int) -> None:
    events: list[Event] = []

    class Recording(Ground):
        def take(self, event: Event) -> None:
            events.append(event)
            super().take(event)

    ground = Recording(make_policy(name, {}))
    grow(ground, moves)
    first = ground.rank(5, seed)
    assert ground.rank(5, seed) == first
    again, tree = make_policy(name, {}), Tree()
    for event in events:
        tree.apply(event)
        again.observe(tree, event)
    assert [e.node for e in again.rank(tree, 5, random.Random(seed))] == first


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_says_its_rule_its_source_and_when_to_use_it(name: str) -> None:
    preset = POLICIES[name]
    assert preset.rule and preset.source and preset.use
    text = " ".join((preset.engine.__doc__ or "").split())
    assert "Rule:" in text
    assert "Source:" in text
    assert "Use it" in text


@pytest.mark.parametrize("name", POLICIES)
def test_published_parameters_are_parameters_of_the_engine(name: str) -> None:
    preset = POLICIES[name]
    make_policy(name, preset.published)
    assert set(preset.parameters) <= set(parameters_of(preset.engine))


@pytest.mark.parametrize("name", POLICIES)
def test_unknown_parameters_are_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(WrongUse, match=rf"search\.{name}\.widht = 3 is not known"):
        make_policy(name, {"widht": 3})


def test_a_mistyped_parameter_names_the_nearest_one() -> None:
    with pytest.raises(WrongUse, match="did you mean 'width'"):
        make_policy("beam", {"widht": 3})


@pytest.mark.parametrize(
    ("name", "parameter", "kind"),
    [(name, key, kind) for name, preset in POLICIES.items() for key, kind in parameters_of(preset.engine).items()],
)
def test_parameters_of_the_wrong_type_or_below_their_least_are_refused(name: str, parameter: str, kind: str) -> None:
    wrongs = {"int": (-1, "two", 1.5, True), "float": (-1, math.nan, "two", True), "str": ("", 1), "bool": (1, "yes")}
    for wrong in wrongs[kind]:
        with pytest.raises(WrongUse, match=parameter):
            make_policy(name, {parameter: wrong})


def test_an_unknown_policy_is_refused_with_the_list() -> None:
    with pytest.raises(WrongUse, match=r"did you mean 'beam'. allowed: auto, ratchet, beam, best-first, random"):
        make_policy("bem", {})


def test_a_beam_of_no_width_is_refused() -> None:
    with pytest.raises(WrongUse, match=r"search.beam: width = 0: must be at least 1"):
        make_policy("beam", {"width": 0})


def test_a_bundle_brings_wins_that_main_left_behind_together_and_bisects_one_that_fails() -> None:
    ground = Ground(make_policy("bundle", {"least": 2}))
    flying = [ground.begin(0) for _ in range(3)]
    main = ground.begin(0)
    ground.end(main, 0.5)  # main moves on while three siblings are measured
    for change in (0.1, 0.2):  # the usual change, which is the unit while nothing was repeated
        ground.add(main, 0.5 + change)
    for number in flying[:2]:
        ground.end(number, 0.8)
    first = ground.policy.rank(ground.tree, 1, random.Random(0))[0]
    assert (first.node, first.kind, first.sources) == (main, ExpansionKind.TRANSPLANT, tuple(flying[:2]))
    number = ground.tree.next_id
    ground.take(Selected(time=0.0, experiment=number, options=(first,)))
    idea = Idea(title="t", hypothesis="", mechanism="", category="c", brief="both")
    call = ModelCall(backend="t")
    ground.take(Planned(time=0.0, experiment=number, parent=main, asked=first.kind, outcome=idea, call=call))
    ground.end(number, 0.6)  # it does not move main
    halves = ground.policy.rank(ground.tree, 1, random.Random(0))
    assert [half.sources for half in halves] == [(flying[0],)]
