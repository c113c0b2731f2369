"""Replaying a recorded campaign: the recording's own policy finds itself again, others only what was recorded."""

from ratchetree.search.events import Event
from ratchetree.search.lab.replaying import replay_policy
from ratchetree.search.lab.simulate import Simulation
from ratchetree.search.landscapes import LANDSCAPES
from ratchetree.search.policies import POLICIES, make_policy
from ratchetree.search.ratchet import PRESETS


def recording(policy: str) -> tuple[list[Event], Simulation]:
    events: list[Event] = []
    lab = Simulation(
        make_policy(policy, {}),
        LANDSCAPES["full"][1](2),
        preset=PRESETS["default"],
        evaluations=120,
        seed=2,
        listen=lambda _, event: events.append(event),
    )
    lab.run()
    return events, lab


def test_the_ratchet_replayed_over_its_own_campaign_is_the_campaign() -> None:
    events, lab = recording("ratchet")
    again = replay_policy("ratchet", make_policy("ratchet", {}), events, preset=PRESETS["default"], seed=0)
    assert again.main == lab.tree.loss[lab.tree.incumbent]
    assert again.advances == len(lab.tree.advances) - 1
    assert again.first_choice > 0.9


def test_every_policy_can_be_replayed_and_says_what_was_covered() -> None:
    events, lab = recording("random")
    for name in POLICIES:
        found = replay_policy(name, make_policy(name, {}), events, preset=PRESETS["default"], seed=0)
        assert 0 < found.experiments <= found.recorded
        assert 0 <= found.first_choice <= 1
        assert min(lab.tree.loss[: lab.tree.next_id]) <= found.main <= lab.tree.loss[0]


def test_a_limit_ends_a_replay() -> None:
    events, _ = recording("random")
    limited = replay_policy("random", make_policy("random", {}), events, preset=PRESETS["default"], seed=0, limit=5)
    assert limited.experiments == 5
