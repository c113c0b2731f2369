"""How likely each edit is drawn: what it is, what became of it elsewhere, and what its kind has been worth so far.

Pure functions of a proposal and the search's memory. The factors for memory are those of our study of policies, where
not repeating failed ideas was worth more than any choice of policy.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..search.memory import Memory, Record
from ..search.model import ExpansionKind
from .proposal import Proposal

AFTER_FAILURE = 0.15  # for every time it did not improve its parent, up to three
AFTER_SUCCESS = 3.0  # for every time it did, up to two
IN_FLIGHT = 0.1  # somebody is trying it right now
BEYOND_FAILURE = 0.5  # a smaller step the same way has failed
BEYOND_SUCCESS = 1.5  # a smaller step the same way has helped
PRIOR_TRIES = 8.0  # how many experiments the average of all categories counts for in each


def weights(proposals: Sequence[Proposal], memory: Memory, asked: ExpansionKind) -> list[float]:
    """A positive weight for each proposal."""
    worth = category_worth(memory.categories)
    by_knob: dict[str, list[Proposal]] = defaultdict(list)
    for p in proposals:
        if p.knob and p.step:
            by_knob[p.knob].append(p)
    return [
        p.weight
        * record_factor(memory.brief(p.brief))
        * _direction_factor(p, by_knob.get(p.knob, ()), memory)
        * worth.get(p.category, 1.0)
        * _kind_factor(p, asked)
        for p in proposals
    ]


def record_factor(record: Record) -> float:
    """What the same brief did on other nodes."""
    missed = min(record.tried - record.improved, 3)
    factor = AFTER_FAILURE**missed * AFTER_SUCCESS ** min(record.improved, 2)
    return factor * (IN_FLIGHT if record.in_flight else 1.0)


def category_worth(categories: Mapping[str, Record]) -> dict[str, float]:
    """How often each category improved its parent, relative to all: shrunk to 1 by `PRIOR_TRIES` average experiments
    (the mean of a Beta posterior), and kept within a factor of 3."""
    tried = sum(r.tried for r in categories.values())
    rate = (sum(r.improved for r in categories.values()) + 1) / (tried + 10)
    found = {name: (r.improved + PRIOR_TRIES * rate) / (r.tried + PRIOR_TRIES) / rate for name, r in categories.items()}
    return {name: min(max(worth, 1 / 3), 3.0) for name, worth in found.items()}


def _direction_factor(proposal: Proposal, same_knob: Sequence[Proposal], memory: Memory) -> float:
    """What smaller steps the same way did: a knob's values are neighbours, not strangers."""
    factor = 1.0
    for other in same_knob:
        same_way = math.copysign(1, other.step) == math.copysign(1, proposal.step)
        if same_way and abs(other.step) < abs(proposal.step):
            record = memory.brief(other.brief)
            if record.tried:
                factor *= BEYOND_SUCCESS if record.improved else BEYOND_FAILURE
    return factor


def _kind_factor(proposal: Proposal, asked: ExpansionKind) -> float:
    """Investments are for larger moves."""
    if asked is not ExpansionKind.INVEST:
        return 1.0
    return 4.0 if proposal.structural else 0.4
