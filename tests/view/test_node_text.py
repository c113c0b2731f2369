"""`show ID` and `diff` for people."""

from __future__ import annotations

import pytest
from rich.console import Console

from ratchetree.search.events import experiment_of
from ratchetree.view.node_text import diff_text, node_text


def test_a_kept_node_tells_its_life_from_idea_to_verdict(new_story, show):
    story = new_story().root(2.0, 2.2).keep(1, 0, 1.7, 1.8, 1.9, title="halve the batch", expected=-0.1, lines=(3, 1))
    own = [event for event in story.events if experiment_of(event) == 1]
    shown = show(node_text(story.tree, 1, events=own, curve=[9.0, 5.0, 3.0]), width=120)
    for words in (
        "● 0001  halve the batch  (main is here)",
        "val_bpb     1.8500 ± 0.0707 over 2 trials",
        "vs parent   −0.2500 better than 0000 (2.1000)",
        "verdict     val_bpb of 1 beats main",
        "hypothesis  it may help 1",
        "mechanism   it works like this 1",
        "predicted   a change of −0.1000; measured −0.2500",
        "coder       attempt 0: applied (offline, 0.0 s)",
        "trials      1.7000 (seed 0, screening, not in the mean), 1.8000 (seed 1), 1.9000 (seed 2)",
        "start-up 3.0 s, training 300.0 s (CPU 290.0 s), peak memory 2,048 MB",
        "400 steps, 1,200,000 tokens, 4,000 tokens/s, last training loss 2.5000",
        "losses      █▃▁  9 → 3",
        "lines       +3 −1",
        f"commit      {1:040x}  refs/ratchetree/0001",
        "ratchetree diff 1",
        "git switch --detach refs/ratchetree/0001",
        "path        0000 → 0001",
    ):
        assert words in shown


def test_a_failed_node_shows_the_end_of_its_traceback(small, show):
    shown = show(node_text(small().tree, 4), width=100)
    assert "✗ 0004  use an optimizer that is not there  (failed: crash)" in shown
    assert "failure     crash: ValueError: no" in shown
    assert "  File train.py" in shown


def test_the_root_and_a_node_in_flight_can_be_shown(small, new_story, show):
    assert "children  0001, 0002, 0003, 0004" in show(node_text(small().tree, 0))
    assert "(in flight)" in show(node_text(small().tree, 8))
    assert "◌ 0000  root" in show(node_text(new_story().tree, 0))


@pytest.mark.parametrize(("by", "word"), [("printed", "self-reported"), ("synthetic", "synthetic")])
def test_every_row_with_a_score_says_that_it_is_no_measurement(small, show, by, word):
    shown = show(node_text(small(by=by).tree, 3), width=200)
    for name in ("val_bpb", "vs parent", "vs main", "verdict", "trials"):
        assert word in next(line for line in shown.splitlines() if line.startswith(name))


def test_hostile_ideas_are_text(new_story, show, hostile):
    for text, harmless in hostile.items():
        shown = show(node_text(new_story().root(2.0).park(1, 0, 2.1, text).tree, 1), width=120)
        assert harmless in shown
        assert "\x1b" not in shown


def test_a_diff_keeps_its_text_and_gets_colours(show):
    diff = "diff --git a/train.py b/train.py\n@@ -1 +1 @@\n-x = [1]\n+x = \x1b[31m2\n same\n"
    assert show(diff_text(diff)) == "diff --git a/train.py b/train.py\n@@ -1 +1 @@\n-x = [1]\n+x = 2\n same\n"
    console = Console(force_terminal=True, color_system="standard", record=True, quiet=True, width=80)
    console.print(diff_text(diff))
    styles = {segment.text: str(segment.style) for segment in console.render(diff_text(diff)) if segment.text.strip()}
    assert (styles["-x = [1]"], styles["+x = 2"], styles["@@ -1 +1 @@"]) == ("red", "green", "cyan")


def test_an_empty_diff_is_an_empty_text(show):
    assert show(diff_text("")).strip() == ""
