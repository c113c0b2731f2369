"""Edits on edits: what the catalogue makes of a file it can work on again, and most of it trains."""

import ast
import random

import pytest

from ratchetree.agents import operators
from ratchetree.agents.meaning import family_of
from ratchetree.agents.operators.constants import company_of, numbers
from ratchetree.agents.source import parse


def test_two_hundred_random_edits_in_a_row_leave_valid_python_and_sane_numbers(script):
    text, rng = script("seed"), random.Random(1)
    seen = {text}
    for _ in range(200):
        proposal = rng.choice(operators.proposals(text))
        new = operators.apply(text, proposal.brief)
        assert isinstance(new, str), (proposal.brief, new)
        ast.parse(new)
        text = new
        seen.add(text)
    assert len(seen) > 150
    file = parse(text)
    moved = [(knob, family) for knob, family in numbers(file) if knob.value and family_of(knob.name, knob.value)]
    assert moved
    assert all(family.scale.allows(knob.value, company_of(file, knob)) for knob, family in moved)


@pytest.mark.slow
def test_thirty_different_edits_of_the_seed_build_a_model_and_make_two_steps(script, two_steps):
    seed, rng = script("seed"), random.Random(2)
    verbs = {}
    for proposal in operators.proposals(seed):
        verbs.setdefault(proposal.brief.partition(" ")[0], []).append(proposal.brief)
    one_of_each = [rng.choice(briefs) for briefs in verbs.values()]
    others = [brief for briefs in verbs.values() for brief in briefs if brief not in one_of_each]
    briefs = one_of_each + rng.sample(others, 30 - len(one_of_each))
    outcomes = two_steps([seed, *(operators.apply(seed, brief) for brief in briefs)])
    assert outcomes[0] == ""
    assert {b: o for b, o in zip(briefs, outcomes[1:], strict=True) if o} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["speedrun_style", "config_style"])
def test_edits_of_scripts_in_other_styles_make_two_steps_too(name, script, two_steps):
    text, rng = script(name), random.Random(3)
    briefs = rng.sample([p.brief for p in operators.proposals(text)], 30)
    outcomes = two_steps([operators.apply(text, brief) for brief in briefs])
    assert {b: o for b, o in zip(briefs, outcomes, strict=True) if o} == {}


@pytest.mark.slow
def test_twelve_edits_in_a_row_still_make_two_steps(script, two_steps):
    text, rng = script("seed"), random.Random(4)
    texts = []
    for _ in range(12):
        text = operators.apply(text, rng.choice(operators.proposals(text)).brief)
        texts.append(text)
    assert two_steps(texts) == [""] * 12
