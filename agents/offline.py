"""The planner and the coder without a model: they draw from the catalogue of operators and make real edits.

They are the control that a comparison with language models needs, and what runs where there is no model. They read
files and the search's memory, never the web and never a log. The brief carries everything from one to the other.
"""

from __future__ import annotations

import time

from ..search.model import (
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    ModelCall,
    Patch,
    SetbackContract,
    SourceFile,
    Sources,
    digest,
)
from ..search.patch import edits_between
from ..search.ports import Option, Plan, PlanReply, PlanRequest, WriteReply, WriteRequest
from ..search.tree import Tree
from . import operators
from .proposal import NotApplicable, Proposal
from .weighing import weights


class OfflinePlanner:
    """Draws an edit that was not tried on the node, weighted by kind and memory.

    It takes the policy's first option while anything untried is left there, and only then the next: a control must let
    the policy decide where to go on. `request.rng` is its only source of chance.
    """

    async def plan(self, request: PlanRequest) -> PlanReply:
        """An idea whose brief the offline coder understands, or a Failure of kind no-idea."""
        started = time.perf_counter()
        outcome = self._choose(request)
        return PlanReply(outcome=outcome, call=ModelCall(backend="offline", seconds=time.perf_counter() - started))

    def _choose(self, request: PlanRequest) -> Plan | Failure:
        reasons: list[str] = []
        for index, option in enumerate(request.options):
            if option.expansion.kind is ExpansionKind.TRANSPLANT:
                found = _transplanted(request, option)
            elif option.expansion.kind is ExpansionKind.REPAIR:
                found = NotApplicable("the offline planner cannot repair a failed script")
            else:
                found = _drawn(request, option)
            if isinstance(found, Idea):
                return Plan(option=index, idea=found)
            reasons.append(f"{option.expansion.node:04d}: {found.reason}")
        return Failure(kind=FailureKind.NO_IDEA, message="; ".join(reasons))


class OfflineCoder:
    """Applies a brief of the catalogue to the parent's file. It makes no repairs."""

    async def write(self, request: WriteRequest) -> WriteReply:
        """The patch, or a Failure of kind no-patch with the reason in one line."""
        started = time.perf_counter()
        outcome = self._write(request)
        return WriteReply(outcome=outcome, call=ModelCall(backend="offline", seconds=time.perf_counter() - started))

    def _write(self, request: WriteRequest) -> Patch | Failure:
        if request.attempt > 0:
            return Failure(kind=FailureKind.NO_PATCH, message="the offline coder makes no repairs")
        changed = apply_brief(request.sources, request.idea.brief)
        if isinstance(changed, NotApplicable):
            return Failure(kind=FailureKind.NO_PATCH, message=f"the offline coder cannot write this: {changed.reason}")
        before, after = changed
        return Patch(edits=edits_between(before.path, before.text, after.text))


def offers(sources: Sources) -> list[tuple[str, Proposal]]:
    """Every edit the catalogue offers on the files, with its brief: `train.py: set ...` where there are several."""
    scripts = _scripts(sources)
    return [
        (proposal.brief if len(scripts) == 1 else f"{file.path}: {proposal.brief}", proposal)
        for file in scripts
        for proposal in operators.proposals(file.text)
    ]


def apply_brief(sources: Sources, brief: str) -> tuple[SourceFile, SourceFile] | NotApplicable:
    """The file that the brief changes, before and after. A bundle is a brief of several lines, applied in order."""
    first, *others = brief.split("\n")
    changed = _apply_line(sources, first)
    for line in others:
        if isinstance(changed, NotApplicable):
            return changed
        before, after = changed
        again = _apply_line(tuple(after if file is before else file for file in sources), line)
        if isinstance(again, NotApplicable) or again[0] is not after:
            return again if isinstance(again, NotApplicable) else NotApplicable("a bundle changes one file only")
        changed = before, again[1]
    return changed


def _apply_line(sources: Sources, brief: str) -> tuple[SourceFile, SourceFile] | NotApplicable:
    scripts = _scripts(sources)
    named = next((file for file in scripts if brief.startswith(f"{file.path}: ")), None)
    if named is None and len(scripts) != 1:
        paths = ", ".join(file.path for file in scripts) or "none"
        return NotApplicable(f"the brief does not begin with one of the Python files ({paths}): {brief[:80]!r}")
    file = named or scripts[0]
    after = operators.apply(file.text, brief.removeprefix(f"{file.path}: "))
    return after if isinstance(after, NotApplicable) else (file, SourceFile(path=file.path, text=after))


def _scripts(sources: Sources) -> list[SourceFile]:
    return [file for file in sources if file.path.endswith(".py")]


def _drawn(request: PlanRequest, option: Option) -> Idea | NotApplicable:
    """One weighted draw among what was not tried here; a draw that leads to a known tree is put aside for the next."""
    tried = request.memory.tried_on(option.expansion.node)
    known = offers(option.sources)
    left = [(brief, proposal) for brief, proposal in known if brief not in tried]
    odds = weights([proposal for _, proposal in left], request.memory, option.expansion.kind)
    while left:
        index = request.rng.choices(range(len(left)), odds)[0]
        (brief, proposal), _ = left.pop(index), odds.pop(index)
        if _is_new(request.tree, option.sources, brief):
            return _idea(brief, proposal, _contract(request.tree, option.expansion, proposal))
    if not known:
        return NotApplicable("no operator fits the file")
    return NotApplicable(f"all {len(known)} edits the catalogue knows here were tried or lead to known files")


def _is_new(tree: Tree, sources: Sources, brief: str) -> bool:
    """Whether the brief applies and leads to files nobody has tried."""
    changed = apply_brief(sources, brief)
    if isinstance(changed, NotApplicable):
        return False
    before, after = changed
    return digest(tuple(after if file is before else file for file in sources)) not in tree.digests


def _transplanted(request: PlanRequest, option: Option) -> Idea | NotApplicable:
    """The source's idea once more, here."""
    source = option.expansion.source
    idea = request.tree.node(source).idea if source is not None and source in request.tree else None
    if source is None or idea is None:
        return NotApplicable("there is no idea to bring here")
    if len(option.expansion.sources) > 1:
        idea = _bundled([i for s in option.expansion.sources if s in request.tree and (i := request.tree.idea(s))])
    if idea.brief in request.memory.tried_on(option.expansion.node):
        return NotApplicable(f"the idea of {source:04d} was tried here")
    if not _is_new(request.tree, option.sources, idea.brief):
        return NotApplicable(f"the idea of {source:04d} does not fit here, or leads to known files")
    return Idea(
        title=f"{idea.title} (from {source:04d})",
        hypothesis=f"What {source:04d} did on its own line may add to this one. {idea.hypothesis}",
        mechanism=idea.mechanism,
        category=idea.category,
        brief=idea.brief,
    )


def _bundled(ideas: list[Idea]) -> Idea:
    """Several ideas as one: their briefs, a line each."""
    return Idea(
        title=f"{len(ideas)} ideas together: " + "; ".join(idea.title for idea in ideas),
        hypothesis="Each helped where it was tried.",
        mechanism="They change different things.",
        category=ideas[0].category,
        brief="\n".join(idea.brief for idea in ideas),
    )


def _idea(brief: str, proposal: Proposal, contract: SetbackContract | None) -> Idea:
    return Idea(
        title=proposal.title,
        hypothesis=proposal.hypothesis,
        mechanism=proposal.mechanism,
        category=proposal.category,
        brief=brief,
        contract=contract,
    )


def _contract(tree: Tree, expansion: Expansion, proposal: Proposal) -> SetbackContract | None:
    """For larger moves where an investment is asked for: dips in units of the noise, as in our study of policies."""
    if expansion.kind is not ExpansionKind.INVEST or not proposal.structural or not tree.noise:
        return None
    noise = float(f"{tree.noise:.2g}")
    return SetbackContract(expected_dip=2 * noise, max_dip=10 * noise, horizon=8)
