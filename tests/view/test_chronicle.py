"""What a campaign's screens know beside the tree."""

from __future__ import annotations

from ratchetree.search.events import CampaignStopped
from ratchetree.search.model import FailureKind
from ratchetree.search.tree import replay
from ratchetree.view.chronicle import Chronicle


def test_it_says_what_every_experiment_in_flight_is_at(new_story):
    story = new_story().root(2.0, 2.0, 2.0)
    story.fly(1, 0, upto="select").fly(2, 0, upto="plan").fly(3, 0).fly(4, 0).trial(4, 0, 1.9)
    _, chronicle = story.read()
    assert chronicle.stages == {1: "planning", 2: "writing", 3: "training", 4: "confirming"}


def test_the_root_is_in_flight_until_it_is_scored(new_story):
    story = new_story().trial(0, 0, 2.0)
    assert story.read()[1].stages == {0: "scoring the root"}


def test_pace_counts_verdicts_per_hour_of_searching(new_story):
    # The root takes 30 s; then a minute and ten seconds each, so three verdicts come 70, 140 and 205 seconds later.
    story = new_story().root(2.0, 2.0, 2.0).park(1, 0, 2.1).park(2, 0, 2.1).fail(3, 0)
    _, chronicle = story.read()
    assert story.time == 1000 + 30 + 70 + 70 + 60
    assert chronicle.per_hour == 3 * 3600 / 200
    assert chronicle.ran_seconds == 230


def test_the_hour_between_two_sessions_is_not_running_time(new_story):
    story = new_story().root(2.0, 2.0, 2.0).park(1, 0, 2.1).stop("enough").resume().park(2, 0, 2.1)
    _, chronicle = story.read()
    assert chronicle.sessions == 2
    assert chronicle.ran_seconds == 100 + 70
    assert chronicle.per_hour == 2 * 3600 / 140
    assert (chronicle.policy, chronicle.preset, chronicle.stopped) == ("ratchet", "fast", None)


def test_failures_are_counted_by_kind(new_story):
    story = new_story().root(2.0, 2.0).fail(1, 0).fail(2, 0, kind=FailureKind.TIMEOUT).fail(3, 0)
    assert story.read()[1].failures == {FailureKind.CRASH: 2, FailureKind.TIMEOUT: 1}


def test_mains_course_is_a_step_line_over_the_experiments_judged(new_story):
    story = new_story().root(3.0, 3.0).park(1, 0, 3.1).keep(2, 0, 2.0, 2.0).park(3, 2, 2.5).keep(4, 2, 1.0, 1.0)
    tree, chronicle = story.read()
    assert chronicle.main_over_time(tree, 40) == [3.0, 3.0, 2.0, 2.0, 1.0]  # after 0, 1, 2, 3, 4 experiments
    assert chronicle.main_over_time(tree, 3) == [3.0, 2.0, 1.0]


def test_who_begins_to_watch_at_a_resumption_knows_mains_course_and_what_is_in_flight(new_story):
    story = new_story().root(3.0, 3.0).keep(1, 0, 2.0, 2.0).park(2, 0, 3.0).fly(3, 1).resume()
    chronicle = Chronicle()
    chronicle.observe(replay(story.events), story.events[-1])
    assert chronicle.advances == [(0, 3.0), (1, 2.0)]
    assert chronicle.stages == {3: "resuming"}
    assert chronicle.per_hour is None


def test_a_crash_leaves_no_reason_and_a_stop_does(small):
    story = small()
    assert story.read()[1].stopped is None
    assert isinstance(story.stop("the limit of 8 experiments").events[-1], CampaignStopped)
    assert story.read()[1].stopped == "the limit of 8 experiments"


def test_settings_of_another_version_are_no_reason_not_to_show_a_campaign(new_story):
    story = new_story()
    story.settings = '{"a_key_of_the_future": 1}'
    story.root(2.0, 2.0).resume()
    _, chronicle = story.read()
    assert chronicle.settings is None
    assert chronicle.scorer == "trusted"
