"""`status` for people."""

from __future__ import annotations

import pytest

from ratchetree.search.tree import Tree
from ratchetree.view.chronicle import Chronicle
from ratchetree.view.status_text import brief_text, status_text


def facts_of(text: str) -> dict[str, str]:
    """The rows by name, continuation rows joined."""
    facts: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        first, _, words = line.partition("  ")
        name = first or name
        facts[name] = f"{facts.get(name, '')} {words.strip()}".strip()
    return facts


def test_it_says_where_the_campaign_stands_and_how_sure_that_is(small, show):
    story = small()
    facts = facts_of(show(status_text(*story.read(), running=True, now=story.time + 120), width=140))
    assert facts["state"] == "running for 12 min; last event 2 min ago"
    assert facts["root"] == "0000  2.1100 ± 0.0100 over 3 trials"
    assert facts["main"] == "0005  2.0300 ± 0.0100 over 3 trials  delete the second norm"
    # sd of the difference: 0.01 * sqrt(1/3 + 1/3) = 0.00816
    assert facts["gain"] == (
        "val_bpb 2.1100 → 2.0300, 0.0800 better, ± 0.0082 (sd of the difference, 3 trials against 3) "
        "███▅▅▁▁▁  lower val_bpb is better; main moved 2 times"
    )
    assert facts["noise"] == "0.0100 between trials of one node (6 degrees of freedom)"
    assert facts["done"] == "7 of 100 experiments: ● 2 kept, ○ 4 parked, ✗ 1 failed"
    assert facts["failed"] == "1 crash"
    assert facts["in flight"] == "◌ 0008 training  warm up for 5 % of the steps"
    assert facts["pace"] == "46.7 experiments an hour; about 1 h 59 min left"  # 93 at 7 in 540 s
    assert facts["setbacks"] == "1 contract: 1 open; 1 experiment went on from them"
    assert "ratchetree show 5" in facts["next"]
    assert "ratchetree run" not in facts["next"]


def test_a_campaign_that_was_stopped_says_why_and_how_to_go_on(small, show):
    story = small().stop("the limit of 8 experiments")
    facts = facts_of(show(status_text(*story.read(), running=False, now=story.time + 7200), width=140))
    assert facts["state"] == "stopped 2 h 0 min ago (the limit of 8 experiments); ran 10 min"
    assert facts["next"].startswith("ratchetree run")
    assert facts["in flight"].startswith("◌ 0008 left at: training")


def test_a_campaign_that_was_killed_says_so(small, show):
    story = small()
    facts = facts_of(show(status_text(*story.read(), running=False, now=story.time), width=140))
    assert facts["state"] == "interrupted 0 s ago, without a stop; ran 10 min; `ratchetree run` goes on where it was"


def test_one_trial_alone_is_not_sold_as_a_sure_gain(new_story, show):
    story = new_story().root(2.0).keep(1, 0, 1.9)
    facts = facts_of(show(status_text(*story.read(), running=True, now=story.time), width=140))
    assert "unknown: main was kept on a single trial" in facts["gain"]
    assert "0.1" not in facts["gain"]
    assert facts["noise"] == "unknown: no trial was repeated, so luck cannot be told from gain"


@pytest.mark.parametrize(("by", "word"), [("printed", "self-reported"), ("synthetic", "synthetic")])
def test_scores_that_are_no_measurement_are_called_so(small, show, by, word):
    facts = facts_of(show(status_text(*small(by=by).read(), running=True, now=2000), width=160))
    for name in ("root", "main", "gain", "scorer"):
        assert word in facts[name]


def test_before_the_root_is_scored_and_before_anything_at_all(new_story, show):
    facts = facts_of(show(status_text(*new_story().read(), running=True, now=1000)))
    assert facts["root"] == "not scored yet"
    assert facts["in flight"] == "◌ 0000 scoring the root"
    assert show(status_text(Tree(), Chronicle(), running=False, now=0)) == (
        "no campaign yet: `ratchetree run` starts one\n"
    )


def test_it_reads_at_40_columns_and_in_ascii(small, show):
    shown = show(status_text(*small().read(), running=True, now=2000), width=40, encoding="ascii")
    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= 40
    assert not any(line.endswith(" ") for line in shown.splitlines())


def test_the_first_lines_say_what_was_won_how_sure_where_it_stands_and_what_it_took(small, show):
    tree, chronicle = small().read()
    lines = show(brief_text(tree, chronicle, running=True, now=2000.0), width=120).splitlines()
    assert [line.split()[0] for line in lines] == ["state", "main", "gain", "done", "pace", "setbacks"]
    assert "0.0800 better, ± 0.0082" in lines[2] and "2 kept" in lines[3]
