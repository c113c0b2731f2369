"""What `run` says into a pipe."""

from __future__ import annotations

import io

from rich.console import Console

from ratchetree.search.model import Progress
from ratchetree.search.tree import Tree
from ratchetree.view.plain_screen import PlainScreen


def lines_of(story, *, encoding: str = "utf-8", limit: int | None = 100) -> list[str]:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding), _environ={})
    tree, now = Tree(), [0.0]
    with PlainScreen(console, limit=limit, slots=2, clock=lambda: now[0]) as screen:
        for event in story.events:
            now[0] = event.time
            tree.apply(event)
            screen.event(tree, event)
            screen.progress(Progress(experiment=0, trial=0, stage="training"))
    return raw.getvalue().decode(encoding).splitlines()


def test_it_prints_one_line_per_milestone_and_verdict(new_story):
    story = new_story().root(2.10, 2.11, 2.12).park(1, 0, 2.13, "raise the rate")
    story.keep(2, 0, 2.05, 2.07, 2.06, 2.08, title="halve the batch").fail(3, 2, "no such thing").stop("enough")
    assert lines_of(story) == [
        "0:00:00  ratchetree 0.1.0 starts: policy beam, ratchet default, lower val_bpb is better, 2 slots",
        "0:00:10  root: trial 1 of 3: 2.1000",
        "0:00:20  root: trial 2 of 3: 2.1100",
        "0:00:30  root: trial 3 of 3: 2.1200",
        "0:00:30  ● 0000 root 2.1100 ±0.0100 ×3",
        '0:01:40  [1/100] ○ parked 0001 "raise the rate": val_bpb of 1 is worse',
        '0:03:20  [2/100] ● kept 0002 "halve the batch": val_bpb of 2 beats main; main is now 2.0700 ±0.0100 ×3',
        '0:04:20  [3/100] ✗ failed 0003 "no such thing": crash: ValueError: no',
        "0:04:20  stopped: enough; 3 experiments (1 kept, 1 parked, 1 failed), val_bpb 2.1100 → 2.0700",
    ]


def test_a_resumed_campaign_says_where_it_stands(new_story):
    story = new_story().root(2.0, 2.0, 2.0).park(1, 0, 2.1).resume()
    assert lines_of(story, limit=None)[-1] == (
        "0:00:00  ratchetree 0.1.0 goes on: policy ratchet, ratchet fast, lower val_bpb is better, 2 slots, "
        "1 experiment (1 parked), val_bpb 2.0000 → 2.0000"
    )


def test_every_line_with_a_score_says_that_it_is_no_measurement(new_story):
    for by, word in (("printed", "(self-reported)"), ("synthetic", "(synthetic)")):
        story = new_story(by=by).root(2.0, 2.0).park(1, 0, 2.1).keep(2, 0, 1.9, 1.9).stop()
        assert all(word in line for line in lines_of(story))


def test_hostile_titles_stay_on_their_line_and_ascii_gets_ascii(new_story, hostile):
    story = new_story().root(2.0, 2.0)
    for node, title in enumerate(hostile, start=1):
        story.park(node, 0, 2.1, title)
    lines = lines_of(story)
    assert len(lines) == 4 + len(hostile)
    for line, harmless in zip(lines[4:], hostile.values(), strict=True):
        assert f'"{harmless}"' in line
    assert "\x1b" not in "".join(lines)
    assert "".join(lines_of(story, encoding="ascii")).isascii()


def test_notes_and_the_wish_to_stop_are_lines():
    console = Console(file=io.StringIO(), _environ={})
    screen = PlainScreen(console, limit=1, slots=1, clock=lambda: 0.0)
    screen.note("the disk\nis full")
    screen.stopping("you asked")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "0:00:00  note: the disk is full",
        "0:00:00  stopping: what trains is finished and judged, nothing new begins (you asked)",
    ]
