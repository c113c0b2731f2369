"""Pictures for papers: every campaign can be drawn, the same one the same way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.errors import WrongUse
from ratchetree.search.model import Verdict
from ratchetree.search.tree import Tree
from ratchetree.view import chart
from ratchetree.view.comparison_plots import differences
from ratchetree.view.page_data import PageData

pytest.importorskip("matplotlib", reason="matplotlib is an extra: pip install 'ratchetree[plot]'")


def texts(figure: Any) -> str:
    axes = figure.axes[0]
    return " ".join([axes.get_title(loc="left"), axes.get_ylabel(), *(text.get_text() for text in axes.texts)])


@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_ratchet_view_names_the_gain_its_interval_and_the_steps(small: Callable[..., Any], direction: str) -> None:
    figure = chart.ratchet_figure(small(direction).tree, "night")
    said = texts(figure)
    assert "8 experiments, 2 kept" in said
    sign = "" if direction == "min" else "−"
    assert f"{sign}2.1100 → {sign}2.0300" in said and "± 0.0160" in said
    assert "delete the second norm" in said
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert {"main ± noise of one trial", "parked", "failed"} <= set(labels)


def test_self_reported_scores_are_called_that(small: Callable[..., Any]) -> None:
    assert "self-reported" in texts(chart.ratchet_figure(small(by="printed").tree, "night"))


@pytest.mark.parametrize("form", [".png", ".svg", ".pdf"])
def test_every_format_is_written(small: Callable[..., Any], tmp_path: Path, form: str) -> None:
    for name, figure in (("a", chart.ratchet_figure), ("b", chart.tree_figure)):
        chart.save(figure(small().tree, "night"), tmp_path / (name + form))
        assert (tmp_path / (name + form)).stat().st_size > 3000


def test_the_same_campaign_gives_the_same_file(small: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        chart.save(chart.tree_figure(small().tree, "night"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_an_unknown_format_is_refused(small: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"allowed: \.png, \.svg, \.pdf"):
        chart.save(chart.ratchet_figure(small().tree, "night"), tmp_path / "a.bmp")


def test_folds_are_drawn_as_such_and_long_chains_do_not_matter(quick: Callable[..., Tree], new_story: Any) -> None:
    story = new_story().root(2.0)
    for node in range(1, 11):
        story.park(node, 0, 2.1)
    assert "+7" in texts(chart.tree_figure(story.tree, "night"))
    assert "+" in texts(chart.tree_figure(quick(3000, parent=lambda n: n - 1, verdict=Verdict.KEPT), "night"))


def test_nothing_and_a_lone_root_can_be_drawn(new_story: Any) -> None:
    for tree in (Tree(), new_story().tree, new_story().root(2.0).tree):
        chart.ratchet_figure(tree, "night")
        chart.tree_figure(tree, "night")


def test_campaigns_are_compared_by_their_best_so_far(small: Callable[..., Any]) -> None:
    data = PageData("one")
    data.feed(enumerate(small().events, start=1))
    courses = [{"name": "one", "points": data.course()}, {"name": "$two_", "points": [[0, 0, 0, 3.0]]}]
    figure = chart.courses_figure(courses, data.tree, "hours")
    assert list(figure.axes[0].lines[0].get_ydata()) == pytest.approx([2.11, 2.07, 2.03, 2.03])
    assert figure.axes[0].get_xlabel() == "hours"


def test_policies_are_drawn_by_their_differences_and_only_resolved_ones_are_filled(tmp_path: Path) -> None:
    def row(policy: str, landscape: str, gap: dict[str, float] | None, resolved: bool) -> dict[str, Any]:
        known = {"policy": policy, "landscape": landscape, "evaluations": 200, "seeds": 50}
        return known | {"difference_to_ratchet": gap, "resolved": resolved}

    gaps = {"beam": {"mean": 1.0, "low": -1.0, "high": 3.0}, "ledger": {"mean": -5.0, "low": -6.0, "high": -4.0}}
    rows = [row("ratchet", name, None, False) for name in ("valleys", "all")]
    rows += [row(policy, name, gap, policy == "ledger") for name in ("valleys", "all") for policy, gap in gaps.items()]
    figure = differences({"rows": rows})
    assert [axes.get_title() for axes in figure.axes] == ["valleys", "over all"]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_markerfacecolor() == "white") for line in dots] == [
        (1.0, True),
        (-5.0, False),
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["beam", "ledger"]
    assert "against ratchet" in figure.get_supxlabel()
    chart.save(figure, tmp_path / "lab.svg")
    with pytest.raises(KeyError):
        differences({"no": "rows"})
