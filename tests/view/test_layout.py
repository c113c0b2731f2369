"""The one layout: main's line straight, nothing on top of anything, folds that hide exactly what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchetree.search.model import Verdict
from ratchetree.search.tree import Tree
from ratchetree.view.layout import Layout, lay_out


def check(tree: Tree, layout: Layout) -> None:
    """What holds for every layout."""
    hidden = [node for fold in layout.folds for node in fold.nodes]
    assert sorted([*layout.place, *hidden]) == sorted(tree.ids())
    places = [*layout.place.values(), *((fold.x, fold.y) for fold in layout.folds)]
    assert len(set(places)) == len(places)
    for node in tree.path(tree.incumbent):
        assert node in hidden or layout.place[node][1] == 0
    assert all(fold.at in layout.place for fold in layout.folds)


def test_mains_line_is_straight_and_branches_go_to_both_sides(new_story: Any) -> None:
    story = new_story().root(2.0, 2.0, 2.0).keep(1, 0, 1.9, 1.9).keep(2, 1, 1.8, 1.8).park(3, 0, 2.1).park(4, 0, 2.2)
    layout = lay_out(story.park(5, 3, 2.1).tree, fold=False)
    assert layout.place == {0: (0, 0), 1: (1, 0), 2: (2, 0), 3: (1, -1), 5: (2, -1), 4: (1, 1)}
    check(story.tree, layout)


def test_a_fan_of_leaves_folds_but_for_its_best(new_story: Any) -> None:
    story = new_story().root(2.0)
    for node in range(1, 11):
        story.park(node, 0, 2.0 + node / 100)
    layout = lay_out(story.tree, fold=True)
    assert [(fold.at, fold.nodes) for fold in layout.folds] == [(0, (4, 5, 6, 7, 8, 9, 10))]
    assert set(layout.place) == {0, 1, 2, 3}
    check(story.tree, layout)


def test_what_flies_and_what_has_a_contract_is_never_folded(small: Callable[..., Any]) -> None:
    story = small()
    for node in range(9, 20):
        story.park(node, 5, 2.2)
    layout = lay_out(story.tree, fold=True)
    assert {2, 8} <= set(layout.place)
    assert layout.folds


@pytest.mark.parametrize("verdict", [Verdict.PARKED, Verdict.KEPT])
def test_a_chain_of_five_thousand_folds_in_the_middle(quick: Callable[..., Tree], verdict: Verdict) -> None:
    tree = quick(5000, parent=lambda node: node - 1, verdict=verdict)
    assert len(lay_out(tree, fold=False).place) == 5000
    layout = lay_out(tree, fold=True)
    assert len(layout.place) <= 12
    check(tree, layout)


def test_an_empty_tree_has_an_empty_layout() -> None:
    assert lay_out(Tree(), fold=True) == Layout()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(Verdict)), max_size=60), st.booleans())
def test_every_tree_is_laid_out_without_overlap(nodes: list[tuple[int, Verdict]], fold: bool) -> None:
    from ratchetree.search.events import CampaignStarted, Judged, Scored, Selected
    from ratchetree.search.model import Expansion, Machine, Metric, ScoreReport

    tree = Tree()
    machine = Machine(host="h", cpu="c", cpus=1, memory_gb=1.0)
    common: dict[str, Any] = {"version": "0", "seed": 1, "metric": Metric(), "machine": machine, "settings": ""}
    tree.apply(CampaignStarted(time=0.0, root_commit="a", root_digest="d", policy="p", preset="p", **common))
    tree.apply(Scored(time=0.0, experiment=0, trial=0, seconds=0.0, outcome=ScoreReport(value=1.0)))
    tree.apply(Judged(time=0.0, experiment=0, verdict=Verdict.KEPT, reason="", against=0))
    for node, (pick, verdict) in enumerate(nodes, start=1):
        tree.apply(Selected(time=0.0, experiment=node, options=(Expansion(node=pick % node),)))
        if verdict is not Verdict.FAILED:
            value = ScoreReport(value=float(pick))
            tree.apply(Scored(time=0.0, experiment=node, trial=0, seconds=0.0, outcome=value))
        if pick % 7:  # the others stay in flight
            tree.apply(Judged(time=0.0, experiment=node, verdict=verdict, reason="", against=0))
    check(tree, lay_out(tree, fold=fold))
