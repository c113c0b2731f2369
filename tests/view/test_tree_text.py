"""The tree in a terminal."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
from rich.cells import cell_len

from ratchetree.search.model import ExpansionKind, SetbackContract, Verdict
from ratchetree.search.tree import Tree
from ratchetree.view.drawing import ROWS
from ratchetree.view.tree_text import TreeText

GOLDEN = Path(__file__).parent / "golden"


def rows_of(text: str) -> list[str]:
    """The rows of nodes: what stands between the heading and the legend."""
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if "what was tried" in line)
    return lines[begin + 1 : lines.index("", begin)]


def row(text: str, node: int) -> str:
    """The row of one node."""
    return next(line for line in rows_of(text) if f" {node:04d}" in line and "┄" not in line and "⋮" not in line)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_small_tree_looks_like_the_golden_one(small, show, width):
    path = GOLDEN / f"small_tree_{width}.txt"
    story = small()
    shown = show(TreeText(story.tree, story.account), width=width)
    if os.environ.get("ACCEPT"):
        path.write_text(shown, encoding="utf-8")
    golden = path.read_text(encoding="utf-8")
    diff = "\n".join(difflib.unified_diff(golden.splitlines(), shown.splitlines(), "golden", "shown", lineterm=""))
    assert not diff, f"{diff}\nlook at it, and if it is better: ACCEPT=1 pytest tests/view/test_tree_text.py"


def test_before_the_first_event_it_says_how_to_start(show):
    assert show(TreeText(Tree())) == "no experiments yet: `ratchetree run` starts\n"


def test_the_root_alone_is_a_tree(new_story, show):
    assert rows_of(show(TreeText(new_story().root(2.0, 2.2).tree))) == ["● 0000  2.1000 ±0.1414 ×2  ◀ main · root"]
    assert rows_of(show(TreeText(new_story().tree))) == ["◌ 0000  ◀ main · root"]


def test_mains_line_is_flush_left_and_branches_hang_off_it(small, show):
    signs = [line.split("  ")[0] for line in rows_of(show(TreeText(small().tree)))]
    assert [sign for sign in signs if "0" in sign[:8]] == [
        "● 0000",
        "├─○ 0001",
        "├─○ 0002",
        "│ ○ 0006",  # goes on from 0002
        "├─✗ 0004",
        "● 0003",
        "├─○ 0007",
        "● 0005",
        "└─◌ 0008",
    ]


def test_differences_are_those_to_the_parent_and_to_main(small, show):
    shown = show(TreeText(small().tree), width=120)
    # 0006 has 2.12, its parent 0002 2.14 and main 2.03.
    assert "2.1200               −0.0200 better  +0.0900  retune" in row(shown, 6)
    assert "2.0700 ±0.0100 ×3    −0.0400 better  +0.0400  halve the batch" in row(shown, 3)


def test_the_direction_of_the_metric_mirrors_signs_and_keeps_words(small, show):
    lower, higher = (show(TreeText(small(direction).tree), width=120) for direction in ("min", "max"))
    assert "− is better" in lower
    assert "+ is better" in higher
    for node in (1, 2, 3, 5, 6, 7):
        words = [word for word in row(lower, node).split() if word in ("better", "worse")]
        assert words == [word for word in row(higher, node).split() if word in ("better", "worse")]
    assert "−0.0200 better" in row(lower, 6)
    assert "+0.0200 better" in row(higher, 6)


@pytest.mark.parametrize("width", [1, 10, 40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_no_row_is_wider_than_the_terminal(small, show, width, encoding):
    shown = show(TreeText(small().tree), width=width, encoding=encoding)
    assert max(cell_len(line) for line in shown.splitlines()) <= width


def test_a_terminal_that_only_knows_ascii_gets_the_same_tree_in_ascii(small, show):
    shown = show(TreeText(small().tree), encoding="ascii")
    assert shown.isascii()
    assert row(shown, 0).startswith("* 0000")
    assert row(shown, 4).startswith("|-x 0004")
    assert row(shown, 8).startswith("`-. 0008")
    assert "< main" in row(shown, 5)


def test_hostile_titles_are_text(new_story, show, hostile):
    story = new_story().root(2.0, 2.0)
    for node, title in enumerate(hostile, start=1):
        story.park(node, 0, 2.1, title)
    story.park(len(hostile) + 1, 0, 2.1, "x" * 10_000)
    shown = show(TreeText(story.tree, everything=True), width=120)
    assert len(rows_of(shown)) == 1 + len(hostile) + 1
    for node, plain_title in enumerate(hostile.values(), start=1):
        assert plain_title in row(shown, node)
    assert "\x1b" not in shown


def test_self_reported_and_synthetic_scores_are_marked_wherever_they_stand(small, show):
    for by, mark, word in (("printed", "†", "† self-reported"), ("synthetic", "‡", "‡ synthetic")):
        shown = show(TreeText(small(by=by).tree), width=120)
        assert f"2.1100{mark} → 2.0300{mark}" in shown
        assert word in shown
        for node in (0, 1, 2, 3, 5, 6, 7):
            assert mark in row(shown, node)
    assert "†" not in show(TreeText(small().tree), width=120)


def test_a_setback_contract_says_what_was_promised_and_what_came_of_it(new_story, show):
    contract = SetbackContract(expected_dip=0.1, max_dip=0.5, horizon=2)
    story = new_story().root(2.0, 2.0).park(1, 0, 2.3, contract=contract).park(2, 1, 2.2).park(3, 2, 2.4)
    shown = show(TreeText(story.tree, story.account))
    # 2 was better, so that 3 is the first to be counted.
    assert "│ setback open (1 of 2), 0.2000 behind main, dip 0.3000 of ≤0.5000" in shown
    story.park(4, 0, 2.1, contract=contract).park(5, 4, 2.2).park(6, 5, 2.2)
    shown = show(TreeText(story.tree, story.account))
    assert "setback closed (2 of 2), 0.1000 behind main, dip 0.1000 of ≤0.5000" in shown
    story.keep(7, 3, 1.0, 1.0)
    assert "setback paid off by 0007, dip 0.3000 of ≤0.5000" in show(TreeText(story.tree, story.account))
    story.fail(8, 0, contract=contract).park(9, 0, 1.6, contract=contract)
    shown = show(TreeText(story.tree, story.account))
    assert "setback failed (0 of 2), dip not measured of ≤0.5000" in shown
    assert "setback closed (0 of 2), 0.6000 behind main, dip 0.0000 of ≤0.5000" in shown  # deeper than it may


def test_a_node_that_main_jumped_away_from_hangs_off_the_trunk(new_story, show):
    # 1 is kept; then 3, which goes on from the parked 2, beats it: main's next commit has 3's tree.
    story = new_story().root(2.0, 2.0).park(2, 0, 2.1).keep(1, 0, 1.9, 1.9).keep(3, 2, 1.8, 1.8)
    signs = [line.split("  ")[0] for line in rows_of(show(TreeText(story.tree)))]
    assert signs == ["● 0000", "├─● 0001", "○ 0002", "● 0003"]


def test_repairs_and_transplants_are_called_so(new_story, show):
    story = new_story().root(2.0, 2.0).fail(1, 0).park(2, 0, 2.1, "mend it", asked=ExpansionKind.REPAIR)
    story.park(3, 0, 2.1, "bring it here", asked=ExpansionKind.TRANSPLANT)
    shown = show(TreeText(story.tree))
    assert "repair · mend it" in row(shown, 2)
    assert "transplant · bring it here" in row(shown, 3)


def test_a_run_of_discarded_siblings_folds_and_the_best_stay(new_story, show):
    story = new_story().root(2.0, 2.0, 2.0)
    for node in range(1, 71):
        story.park(node, 0, 2.1 + node / 1000)
    for node in range(71, 81):
        story.fail(node, 0)
    for node in range(81, 84):
        story.fly(node, 0)
    shown = rows_of(show(TreeText(story.tree)))
    assert [line.split("  ")[0] for line in shown[:7]] == [
        "● 0000",
        "├─○ 0001",
        "├─○ 0002",
        "├─○ 0003",
        "├─◌ 0081",
        "├─◌ 0082",
        "├─◌ 0083",
    ]
    assert shown[7:] == ["└─┄ +67 parked, 10 failed: best 2.1040 (0004), worst 2.1700"]
    assert len(rows_of(show(TreeText(story.tree, everything=True)))) == 84


def test_what_is_in_flight_is_shown_however_much_is_folded(new_story, show):
    story = new_story().root(9.0, 9.0)
    for node in range(1, 400):
        story.keep(node, node - 1, 9 - node / 100, 9 - node / 100)
    for node in range(400, 500):
        story.park(node, 399, 9.0)
    story.fly(500, 399).fly(501, 399)
    shown = show(TreeText(story.tree))
    assert len(rows_of(shown)) <= ROWS
    assert "in flight" in row(shown, 500)
    assert "in flight" in row(shown, 501)


def test_a_chain_of_100_000_kept_nodes_stays_flush_left_and_short(quick, show):
    shown = show(TreeText(quick(100_000, parent=lambda node: node - 1, verdict=Verdict.KEPT)))
    rows = rows_of(shown)
    assert len(rows) <= ROWS
    assert all(line.startswith(("● ", "⋮ ")) for line in rows)
    assert rows[0].startswith("● 0000")
    assert rows[-1].startswith("● 99999")
    folded = next(line for line in rows if line.startswith("⋮"))
    assert folded.startswith(f"⋮ {100_000 - (len(rows) - 1):,} kept: best ")


def test_a_chain_of_parked_nodes_is_indented_once(quick, show):
    rows = rows_of(show(TreeText(quick(20_000, parent=lambda node: node - 1, verdict=Verdict.PARKED))))
    assert len(rows) <= ROWS
    assert rows[1].startswith("└─○ 0001")
    assert rows[2].startswith("  ○ 0002")
    assert rows[-1].startswith("  ○ 19999")


def test_a_fan_of_20_000_is_a_few_rows(quick, show):
    tree = quick(20_000, parent=lambda node: 0, verdict=Verdict.PARKED)
    rows = rows_of(show(TreeText(tree)))
    assert len(rows) == 1 + 6 + 1
    assert rows[-1].startswith("└─┄ +19,993 parked: best ")
    small = quick(2_000, parent=lambda node: 0, verdict=Verdict.PARKED)
    assert len(rows_of(show(TreeText(small, everything=True)))) == 2_000


def test_indentation_grows_with_the_logarithm_of_the_size(quick, show):
    # A complete binary tree of 4095 nodes has 12 levels; a caterpillar of 4095 has two.
    binary = show(TreeText(quick(4095, parent=lambda node: (node - 1) // 2, verdict=Verdict.PARKED), everything=True))
    caterpillar = quick(4095, parent=lambda node: node - 1 if node % 2 else max(0, node - 2), verdict=Verdict.PARKED)
    for shown, levels in ((binary, 12), (show(TreeText(caterpillar, everything=True)), 3)):
        rows = rows_of(shown)
        assert len(rows) == 4095
        assert max(line.index("○") for line in rows[1:]) <= 2 * levels
