"""Several wins brought to one node together: the policy says which, no model is asked as long as they merge.

A policy that sends a bundle measures it as one node and halves it if it fails; so the bundle is planned as it was asked
for, or not at all.
"""

from __future__ import annotations

import re

from ..search.model import ExpansionKind, Idea, NodeId
from ..search.ports import Plan, PlanRequest

_BRIEF = "bring here the changes of "
_NUMBER = re.compile(r"\d+")


def planned(request: PlanRequest) -> Plan | None:
    """The plan that the policy's first option is, if that is a bundle which was not tried there yet."""
    expansion = request.options[0].expansion
    known = [node for node in expansion.sources if node in request.tree and request.tree.idea(node) is not None]
    if expansion.kind is not ExpansionKind.TRANSPLANT or len(known) < 2 or len(known) != len(expansion.sources):
        return None
    numbers = ", ".join(f"{node:04d}" for node in known)
    brief = _BRIEF + numbers
    if brief in request.memory.tried_on(expansion.node):
        return None
    titles = "; ".join(idea.title for node in known if (idea := request.tree.idea(node)) is not None)
    idea = Idea(
        title=f"{len(known)} wins together: {numbers}"[:100],
        hypothesis=f"Each was better than its own parent: {titles}"[:1500],
        mechanism="They change different things, so their gains may add up.",
        category="combine",
        brief=brief,
        operator="combine",
        source=known[0],
    )
    return Plan(option=0, idea=idea)


def sources_of(idea: Idea) -> tuple[NodeId, ...]:
    """The nodes whose changes the idea brings together, in order; empty if it is nothing of the kind."""
    if idea.operator != "combine" or idea.source is None:
        return ()
    if idea.brief.startswith(_BRIEF):
        return tuple(int(number) for number in _NUMBER.findall(idea.brief))
    return (idea.source,)
