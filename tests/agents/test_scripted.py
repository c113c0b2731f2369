"""The scripted agents do what they are told, in order, and say when they are told no more."""

import asyncio
import random

from ratchetree.agents.scripted import ScriptedCoder, ScriptedPlanner
from ratchetree.search.model import Edit, Failure, FailureKind, Idea, Patch, SourceFile
from ratchetree.search.ports import Plan, WriteRequest

IDEA = Idea(title="t", hypothesis="h", mechanism="m", category="c", brief="b")
PATCH = Patch(edits=(Edit(path="train.py", old="1", new="2"),))
REQUEST = WriteRequest(
    experiment=1,
    attempt=0,
    brief="",
    idea=IDEA,
    sources=(SourceFile(path="train.py", text="1"),),
    patch=None,
    failure=None,
    rng=random.Random(0),
)


def test_a_planner_plays_its_list_and_then_has_no_idea(world):
    planner, request = ScriptedPlanner([IDEA, Plan(option=1, idea=IDEA)]), world("A = 1\n").request(0, 0)
    outcomes = [asyncio.run(planner.plan(request)).outcome for _ in range(3)]
    assert outcomes[:2] == [Plan(option=0, idea=IDEA), Plan(option=1, idea=IDEA)]
    assert outcomes[2] == Failure(kind=FailureKind.NO_IDEA, message="the script has ended")
    assert planner.requests == [request] * 3


def test_a_planner_can_be_a_function_of_the_request(world):
    planner = ScriptedPlanner(lambda request: Failure(kind=FailureKind.NO_IDEA, message=str(request.experiment)))
    assert asyncio.run(planner.plan(world("A = 1\n").request())).outcome.message == "1"


def test_a_coder_plays_its_list_and_then_has_no_patch():
    coder = ScriptedCoder([PATCH])
    assert asyncio.run(coder.write(REQUEST)).outcome == PATCH
    assert asyncio.run(coder.write(REQUEST)).outcome.kind is FailureKind.NO_PATCH
    assert len(coder.requests) == 2


def test_a_coder_can_be_a_function_of_the_request():
    coder = ScriptedCoder(lambda request: PATCH if request.idea.brief == "b" else Patch(edits=()))
    reply = asyncio.run(coder.write(REQUEST))
    assert reply.outcome == PATCH
    assert reply.call.backend == "scripted"
