"""The agents without a model: what they choose, what they remember, and that chance comes from the request alone."""

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from ratchetree.agents import operators
from ratchetree.agents.offline import OfflineCoder, OfflinePlanner, apply_brief, offers
from ratchetree.agents.weighing import category_worth, record_factor, weights
from ratchetree.search.memory import Memory, Record
from ratchetree.search.model import ExpansionKind, Failure, FailureKind, Idea, Patch, SetbackContract, SourceFile
from ratchetree.search.patch import apply_patch
from ratchetree.search.ports import Plan, WriteRequest

SMALL = "LR = 0.1\nON = True\nprint(LR if ON else 0)\n"


def plan(request) -> Plan | Failure:
    reply = asyncio.run(OfflinePlanner().plan(request))
    assert reply.call.backend == "offline"
    assert reply.call.seconds > 0
    return reply.outcome


def write(text: str, brief: str, **changes) -> Patch | Failure:
    idea = Idea(title="", hypothesis="", mechanism="", category="", brief=brief)
    fields = {
        "experiment": 1,
        "attempt": 0,
        "brief": "",
        "idea": idea,
        "sources": (SourceFile(path="train.py", text=text),),
        "patch": None,
        "failure": None,
        "rng": random.Random(0),
    }
    reply = asyncio.run(OfflineCoder().write(WriteRequest(**(fields | changes))))
    assert reply.call.backend == "offline"
    return reply.outcome


def test_what_the_planner_asks_for_the_coder_writes(text, world):
    for seed in range(25):
        idea = plan(world(text).request(seed=seed)).idea
        patch = write(text, idea.brief)
        assert isinstance(patch, Patch), idea.brief
        patched = apply_patch((SourceFile(path="train.py", text=text),), patch, editable=["train.py"])
        assert patched == (SourceFile(path="train.py", text=operators.apply(text, idea.brief)),)


def test_the_same_generator_gives_the_same_plan_and_another_one_others(text, world):
    first = [plan(world(text).request(seed=seed)) for seed in range(12)]
    assert first == [plan(world(text).request(seed=seed)) for seed in range(12)]
    assert len({p.idea.brief for p in first}) > 6


PLANS = """
import asyncio, random, sys
sys.path.insert(0, sys.argv[1])
from conftest import World, script
from ratchetree.agents.offline import OfflineCoder, OfflinePlanner, apply_brief, offers
for seed in range(6):
    print(asyncio.run(OfflinePlanner().plan(World(script("seed")).request(seed=seed))).outcome.idea.brief)
"""


def test_plans_do_not_depend_on_how_python_hashes_strings():
    here = os.path.dirname(__file__)  # noqa: PTH120
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PLANS, here],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "12345")
    ]
    assert len(outputs[0].splitlines()) == 6
    assert outputs[0] == outputs[1]


def test_no_brief_is_proposed_twice_on_a_node_until_nothing_is_left(world):
    here = world(SMALL)
    briefs = []
    while isinstance(chosen := plan(here.request(seed=len(briefs))), Plan):
        briefs.append(chosen.idea.brief)
        here.begin(chosen.idea)
    assert sorted(briefs) == sorted(p.brief for p in operators.proposals(SMALL))
    assert chosen.kind is FailureKind.NO_IDEA
    assert "\n" not in chosen.message


def test_the_policys_first_choice_is_taken_while_anything_is_left_there(world):
    here = world(SMALL)
    assert plan(here.request(0, 0, 0)).option == 0
    for proposal in operators.proposals(SMALL):
        here.begin(idea_of(proposal.brief))
    here.texts[1] = "WIDTH = 64\nprint(WIDTH)\n"
    chosen = plan(here.request(0, 1))
    assert chosen.option == 1
    assert "WIDTH" in chosen.idea.brief


def idea_of(brief: str, category: str = "optimizer") -> Idea:
    return Idea(title=brief, hypothesis="", mechanism="", category=category, brief=brief)


def test_a_tree_that_was_tried_before_is_not_asked_for_again(world):
    child = SMALL.replace("0.1", "0.125")
    for seed in range(40):
        here = world(SMALL)
        here.texts[1] = child
        assert plan(here.request(1, seed=seed)).idea.brief != "set LR = 0.1"


def drawn(world, text, brief, setup) -> float:
    """How often the brief is drawn in 600 plans."""
    here = world(text)
    setup(here)
    return sum(plan(here.request(7, seed=seed)).idea.brief == brief for seed in range(600)) / 600


def test_ideas_that_failed_elsewhere_are_drawn_less_often_and_those_that_helped_more_often(world):
    text, brief = "LR = 0.1\nWIDTH = 64\nprint(LR, WIDTH)\n", "set LR = 0.125"

    def failed(here):
        here.end(here.begin(idea_of(brief)), loss=1.5)

    def crashed(here):
        here.end(here.begin(idea_of(brief)), loss=None)

    def helped(here):
        here.end(here.begin(idea_of(brief)), loss=0.5)

    def flying(here):
        here.begin(idea_of(brief))

    fresh = drawn(world, text, brief, lambda here: None)
    assert 0.15 < fresh < 0.35
    assert drawn(world, text, brief, failed) < 0.4 * fresh
    assert drawn(world, text, brief, crashed) < 0.4 * fresh
    assert drawn(world, text, brief, flying) < 0.3 * fresh
    assert drawn(world, text, brief, helped) > 1.5 * fresh


@pytest.mark.parametrize(
    ("record", "factor"),
    [
        (Record(), 1.0),
        (Record(tried=1), 0.15),
        (Record(tried=1, failed=1), 0.15),
        (Record(tried=2), 0.0225),
        (Record(tried=9), 0.15**3),
        (Record(tried=1, improved=1), 3.0),
        (Record(tried=2, improved=1), 0.45),
        (Record(in_flight=2), 0.1),
    ],
)
def test_the_record_of_a_brief_weighs_as_in_the_study(record, factor):
    assert record_factor(record) == pytest.approx(factor)


def test_a_larger_step_is_unlikely_where_a_smaller_one_the_same_way_has_failed(world):
    here = world(SMALL)
    here.end(here.begin(idea_of("set LR = 0.125")), loss=2.0)
    found = [p for p in operators.proposals(SMALL) if p.knob == "LR"]
    now = weights(found, here.memory, ExpansionKind.IMPROVE)
    fresh = weights(found, Memory(), ExpansionKind.IMPROVE)
    ratio = {p.brief: a / b for p, a, b in zip(found, now, fresh, strict=True)}
    assert ratio["set LR = 0.16"] == pytest.approx(0.5 * ratio["set LR = 0.08"])
    assert ratio["set LR = 0.05"] == ratio["set LR = 0.08"]


def test_categories_that_pay_are_asked_for_more_often_and_never_ruled_out():
    worth = category_worth({"batch": Record(tried=10, improved=5), "schedule": Record(tried=40, improved=1)})
    # rate = (6 + 1) / (50 + 10) = 0.1167; batch: (5 + 8 x 0.1167) / 18 / 0.1167; schedule: (1 + 0.933) / 48 / 0.1167
    assert worth["batch"] == pytest.approx(2.825, abs=0.001)
    assert worth["schedule"] == pytest.approx(0.345, abs=0.001)
    assert category_worth({}) == {}
    assert 1 / 3 <= category_worth({"a": Record(tried=10000)})["a"] <= 3


def test_investments_are_larger_moves_under_a_contract_in_units_of_the_noise(world, script):
    here = world(script("seed"))
    here.tree._squares, here.tree._freedom = 4 * 0.01**2, 4  # four repeats, each 0.01 off
    plans = [plan(here.request(seed=seed, kind=ExpansionKind.INVEST)) for seed in range(60)]
    contracts = Counter(p.idea.contract for p in plans)
    assert contracts[SetbackContract(expected_dip=0.02, max_dip=0.1, horizon=8)] > 40
    assert all(p.idea.contract is None for p in (plan(here.request(seed=seed)) for seed in range(20)))


def test_without_a_known_noise_there_is_no_contract(world, script):
    here = world(script("seed"))
    assert all(plan(here.request(seed=s, kind=ExpansionKind.INVEST)).idea.contract is None for s in range(20))


def test_a_transplant_brings_the_idea_of_its_source(world):
    here = world(SMALL)
    node = here.begin(idea_of("set LR = 0.16"))
    here.end(node, loss=0.9)
    here.texts[2] = SMALL.replace("ON = True", "ON = False")
    chosen = plan(here.request(2, kind=ExpansionKind.TRANSPLANT, source=node))
    assert chosen.idea.brief == "set LR = 0.16"
    assert "0001" in chosen.idea.title


def test_a_bundle_brings_the_ideas_of_all_its_sources_as_one_patch(world):
    here = world(SMALL)
    nodes = [here.begin(idea_of(brief)) for brief in ("set LR = 0.16", "set ON = False")]
    for node in nodes:
        here.end(node, loss=0.9)
    here.texts[9] = SMALL + "# main has moved on\n"
    request = here.request(9, kind=ExpansionKind.TRANSPLANT, source=nodes[0], sources=tuple(nodes))
    chosen = plan(request)
    before, after = apply_brief(request.options[0].sources, chosen.idea.brief)
    assert after.text == before.text.replace("LR = 0.1", "LR = 0.16").replace("ON = True", "ON = False")


@pytest.mark.parametrize("source", [None, 99, 0])
def test_a_transplant_without_an_idea_to_bring_is_no_idea(source, world):
    outcome = plan(world(SMALL).request(kind=ExpansionKind.TRANSPLANT, source=source))
    assert outcome.kind is FailureKind.NO_IDEA


def test_repairs_are_declined_in_one_line_and_the_next_option_is_taken(world):
    here = world(SMALL)
    outcome = plan(here.request(kind=ExpansionKind.REPAIR))
    assert outcome.kind is FailureKind.NO_IDEA
    assert "repair" in outcome.message


def test_a_file_without_anything_known_is_no_idea(world, script):
    outcome = plan(world(script("nothing_known")).request())
    assert outcome == Failure(kind=FailureKind.NO_IDEA, message="0000: no operator fits the file")


def test_the_coder_makes_no_repairs(script):
    outcome = write(script("seed"), "set MATRIX_LR = 0.025", attempt=1)
    assert outcome == Failure(kind=FailureKind.NO_PATCH, message="the offline coder makes no repairs")


@pytest.mark.parametrize("brief", ["Raise the learning rate.", "set NOTHING = 3", ""])
def test_a_brief_the_coder_does_not_understand_is_no_patch(brief, script):
    outcome = write(script("seed"), brief)
    assert outcome.kind is FailureKind.NO_PATCH
    assert "\n" not in outcome.message


def test_with_several_python_files_a_brief_names_its_file():
    sources = (
        SourceFile(path="model.py", text="WIDTH = 64\nprint(WIDTH)\n"),
        SourceFile(path="notes.md", text="WIDTH = 64\n"),
        SourceFile(path="train.py", text=SMALL),
    )
    briefs = [brief for brief, _ in offers(sources)]
    assert "model.py: set WIDTH = 80" in briefs
    assert "train.py: set ON = False" in briefs
    patch = write("", "model.py: set WIDTH = 80", sources=sources)
    assert [edit.path for edit in patch.edits] == ["model.py"]
    assert write("", "set WIDTH = 80", sources=sources).kind is FailureKind.NO_PATCH


def test_what_the_catalogue_offers_on_the_last_files_is_kept(script):
    assert operators.proposals(script("seed")) is operators.proposals(script("seed"))
    assert operators.proposals.cache_info().maxsize is not None
