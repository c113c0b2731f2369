"""The live screen, driven by events on a terminal that is a string."""

from __future__ import annotations

import io
import math
import sys
import threading

import pytest
from rich.cells import cell_len
from rich.console import Console

from ratchetree.search.model import Progress
from ratchetree.search.tree import Tree
from ratchetree.view.live import KEYS, STOPPING, LiveScreen, open_screen
from ratchetree.view.plain_screen import PlainScreen


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, _environ={})


def screen_of(story, *, upto: int | None = None, console: Console | None = None, slots: int = 2) -> LiveScreen:
    """A screen that has seen the story, five seconds later."""
    screen = LiveScreen(console or terminal(), limit=100, slots=slots, clock=lambda: story.time + 5)
    tell(screen, story, upto)
    return screen


def tell(screen, story, upto: int | None = None) -> None:
    tree = Tree()
    for event in story.events[:upto]:
        tree.apply(event)
        screen.event(tree, event)


def training(experiment: int, *, trial: int = 0, slot: int | None = 0, share: float = 0.5, **more) -> Progress:
    return Progress(experiment=experiment, trial=trial, stage="training", share=share, slot=slot, **more)


def test_it_shows_slots_verdicts_main_and_pace(small, show):
    screen = screen_of(small().fly(9, 5, "another idea", upto="plan"))
    screen.progress(training(8, slot=1, share=0.42, step=412, loss=2.3456))
    shown = show(screen, width=110)
    for words in (
        "ratchetree  beam · ratchet default · lower val_bpb is better",
        "main  0005  2.0300 ±0.0100 ×3, 0.0800 better than the root's 2.1100",
        "███▅▅▁▁▁  delete the second norm",
        "done  7 of 100 in 0:11:35, 46.7 an hour, about 1 h 59 min left",
        "● 2 kept  ○ 4 parked  ✗ 1 failed  ◌ 2 in flight",
        "slot 1  idle",
        "slot 2  ◌ 0008 training ███░░░░░  42%  step 412   loss 2.346  warm up for 5 % of the steps",
        "also    0009 writing",
        "○ 0007 widen the model                     val_bpb of 7 is worse",
        "✗ 0004 use an optimizer that is not there  crash: ValueError: no",
        KEYS,
    ):
        assert words in shown
    assert len(shown.splitlines()) == 5 + 1 + 3 + 1 + 8 + 1 + 1  # head, slots, verdicts, keys, and blanks between


def test_only_the_last_eight_verdicts_stay(small, show):
    story = small()
    for node in range(10, 16):
        story.park(node, 5, 2.2)
    shown = show(screen_of(story))
    assert "○ 0015" in shown
    assert "○ 0006" in shown
    assert "● 0005" not in shown


def test_the_baseline_is_experiment_0(new_story, show):
    screen = screen_of(new_story().trial(0, 0, 2.0))
    screen.progress(training(0, trial=1, share=0.25))
    shown = show(screen)
    assert "main  scoring the root, 3 trials" in shown
    assert "slot 1  ◌ 0000 root 2/3 training ██░░░░░░  25%  the root" in shown


def test_a_confirming_trial_is_numbered_and_a_scored_one_leaves_its_slot(new_story, show):
    story = new_story().root(2.0, 2.0, 2.0).fly(1, 0, "an idea").trial(1, 0, 1.9)
    screen = screen_of(story)
    screen.progress(training(1, trial=1))
    assert "slot 1  ◌ 0001 training #2 ████░░░░  50%  an idea" in show(screen)
    before = len(story.events)
    story.trial(1, 1, 1.9)
    for event in story.events[before:]:
        screen.event(story.tree, event)
    assert "slot 1  idle" in show(screen)


def test_who_waits_for_a_slot_is_listed_beside_the_slots(new_story, show):
    screen = screen_of(new_story().root(2.0, 2.0, 2.0).fly(1, 0).fly(2, 0, upto="select"))
    screen.progress(Progress(experiment=1, trial=0, stage="waiting"))
    assert "also    0001 waits for a slot, 0002 planning" in show(screen)


def test_slots_without_numbers_and_odd_shares_find_a_row(new_story, show):
    screen = screen_of(new_story().root(2.0, 2.0, 2.0).fly(1, 0).fly(2, 0).fly(3, 0))
    for node, share in ((1, math.nan), (2, -3.0), (3, 17.0)):
        screen.progress(training(node, slot=None, share=share))
    shown = show(screen)
    assert "slot 1  ◌ 0001 training ░░░░░░░░   0%" in shown
    assert "slot 2  ◌ 0002 training ░░░░░░░░   0%" in shown
    assert "slot 3  ◌ 0003 training ████████ 100%" in shown


def test_notes_and_the_users_wish_to_stop_are_said(small, show):
    screen = screen_of(small())
    screen.note("the disk is \x1b[5mnearly\x1b[0m full")
    assert "the disk is nearly full" in show(screen)
    screen.stopping()
    shown = show(screen, width=110)
    assert STOPPING in shown
    assert KEYS not in shown
    assert "left" not in shown
    screen = screen_of(small().stop("the limit of 8 experiments"))
    assert "stopped: the limit of 8 experiments" in show(screen)


@pytest.mark.parametrize(("by", "word"), [("printed", "(self-reported)"), ("synthetic", "(synthetic)")])
def test_scores_that_are_no_measurement_are_called_so(small, show, by, word):
    shown = show(screen_of(small(by=by)), width=120)
    rows = [line for line in shown.splitlines() if line.startswith(("ratchetree", "main", "○", "● 0003"))]
    assert rows
    assert all(word in line for line in rows)


def test_a_resumed_campaign_stands_where_it_stood(small, show):
    story = small().resume()
    screen = LiveScreen(terminal(), limit=100, slots=1, clock=lambda: story.time)
    screen.event(story.tree, story.events[-1])
    shown = show(screen)
    assert "main  0005  2.0300 ±0.0100 ×3, 0.0800 better than the root's 2.1100" in shown
    assert "done  7 of 100 in 0:00:00" in shown
    assert "0008 resuming" in shown


@pytest.mark.parametrize("slots", [1, 16])
@pytest.mark.parametrize("size", [(1, 1), (20, 5), (40, 10), (80, 24), (200, 60)])
def test_it_fits_every_terminal(small, show, size, slots):
    width, height = size
    screen = screen_of(small(), slots=slots)
    for slot in range(slots):
        screen.progress(training(8, trial=slot, slot=slot))
    screen.note("x" * 1000)
    shown = show(screen, width=width, height=height)
    lines = shown.removesuffix("\n").split("\n")
    assert len(lines) <= max(1, height)
    assert max(map(cell_len, lines)) <= width


def test_ascii_terminals_get_ascii(small, show):
    screen = screen_of(small())
    screen.progress(training(8))
    shown = show(screen, encoding="ascii")
    assert shown.isascii()
    assert "####...." in shown


def test_it_draws_on_the_terminal_survives_a_resize_and_leaves_the_last_picture(small):
    story, console, stdout = small(), terminal(), sys.stdout
    screen = LiveScreen(console, limit=100, slots=2, clock=lambda: story.time)
    with screen:
        screen.draw()
        tell(screen, story)
        screen.draw()
        for width, height in ((40, 10), (1, 1), (200, 60)):
            console.width, console.height = width, height
            screen.progress(training(8))
            screen.draw()
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "starting" in drawn
    assert drawn.count("\x1b[2J") == 3  # one clean screen for each new size
    assert "delete the second norm" in drawn.rsplit("\x1b[2J", 1)[1]
    assert drawn.endswith("\x1b[?25h")  # the cursor is back
    assert sys.stdout is stdout
    assert "ratchetree screen" not in [thread.name for thread in threading.enumerate()]


def test_an_error_inside_gives_the_terminal_back(small):
    console = terminal()
    with pytest.raises(ZeroDivisionError), LiveScreen(console, limit=None, slots=1, clock=lambda: 0.0):
        raise ZeroDivisionError
    assert console.file.getvalue().endswith("\x1b[?25h")  # type: ignore[attr-defined]


def test_a_terminal_gets_the_live_screen_and_a_pipe_gets_lines():
    settings = {"limit": 1, "slots": 1, "clock": lambda: 0.0}
    assert isinstance(open_screen(terminal(), **settings), LiveScreen)
    assert isinstance(open_screen(Console(file=io.StringIO(), _environ={}), **settings), PlainScreen)
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(open_screen(dumb, **settings), PlainScreen)
