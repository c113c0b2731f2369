"""The planner: a model reads the program, the tree's digest and the policy's options, and says what to try where."""

from __future__ import annotations

import time

from ..search.model import ExpansionKind, Failure, FailureKind, Idea, ModelCall, NodeId
from ..search.ports import Option, Plan, PlanReply, PlanRequest
from . import bundling, tuning
from .conversation import HOUR, CannotAsk, Dialogue, Message, Prompt, Speaker, answered, said, text_block
from .digest import facts, history, standing, tokens_of
from .fencing import clean, fence, one_line
from .merging import diff
from .prompts import fill, template
from .replies import LONGEST_REPLY, PlanAnswer, parse_plan

REPLIES = 3  # of which all but the first are corrections
PLATEAU = 12  # experiments without a move of main after which another kind of step is asked for
OPTION_TOKENS = 2_500  # for what is shown of one option that is not main


class ModelPlanner:
    """Implements ports.Planner. digest_tokens: budget for the tree's history."""

    def __init__(self, speaker: Speaker, *, digest_tokens: int = 12_000, limits: str = "") -> None:
        self._speaker = speaker
        self._digest_tokens = digest_tokens
        self._limits = limits

    async def plan(self, request: PlanRequest) -> PlanReply:
        """A plan, or a Failure of kind no-idea."""
        begun = time.perf_counter()
        ready = _without_a_model(request) if not request.calls.replies else None
        if ready is not None:
            name, plan = ready
            return PlanReply(outcome=plan, call=ModelCall(backend=name, seconds=time.perf_counter() - begun))
        dialogue = Dialogue(self._speaker, request.calls)
        outcome = await self._ask(request, dialogue)
        return PlanReply(outcome=outcome, call=dialogue.summary(time.perf_counter() - begun))

    async def _ask(self, request: PlanRequest, dialogue: Dialogue) -> Plan | Failure:
        system = _instructions(request)
        messages: list[Message] = [_question(request, self._digest_tokens, self._limits)]
        outcome: Plan | Failure = _no_idea("nothing was asked")
        for _ in range(REPLIES):
            prompt = Prompt(system=system, messages=tuple(messages), schema=PlanAnswer.model_json_schema())
            try:
                reply = await dialogue.ask(prompt)
            except CannotAsk as error:
                return _no_idea(str(error))
            if reply.stop == "refusal":
                return _no_idea("the model refused to plan this")
            outcome = parse_plan(reply.text, request.options, request.tree)
            if isinstance(outcome, Failure) and reply.stop == "max_tokens":
                return _no_idea("the reply was cut off at max_tokens: raise agents.planner.max_tokens")
            outcome = examined(request, outcome)
            if isinstance(outcome, Plan):
                return outcome
            again = said(text_block(fill(template("again"), reason=outcome.message)))
            readable = reply.content and len(reply.text) <= LONGEST_REPLY  # a rogue one would be paid for again
            messages += [answered(reply) if readable else {"role": "assistant", "content": "(nothing)"}, again]
        return outcome


def _without_a_model(request: PlanRequest) -> tuple[str, Plan] | None:
    """(backend, plan) of what needs no thinking: a bundle that the policy asks for, a study that is under way."""
    bundle = bundling.planned(request)
    if bundle is not None:
        return "bundle", bundle
    study = tuning.follow(request)
    return ("tune", study) if study is not None else None


def question_text(request: PlanRequest, digest_tokens: int) -> str:
    """The whole task as one text, for agents that have tools of their own and stand in a folder with main's files."""
    blocks = _question(request, digest_tokens, "")["content"]
    return "\n\n".join([_instructions(request), *(str(block["text"]) for block in blocks), fill(template("folder"))])


def _instructions(request: PlanRequest) -> str:
    metric, direction = request.tree.metric.name, _direction(request)
    return fill(template("planner"), program=request.brief, metric=metric, direction=direction)


def _question(request: PlanRequest, digest_tokens: int, limits: str) -> Message:
    tree, memory = request.tree, request.memory
    mood = fill(template("plateau"), dry=str(memory.dry)) if memory.dry >= PLATEAU else ""
    if request.note:
        mood += fill(template("note"), note=request.note)
    main = request.sources_at(tree.incumbent) or request.options[0].sources
    files = "\n\n".join(fence(file.text, file.path) for file in main)
    words = fill(
        template("plan"),
        best=standing(request),
        noise=f"{tree.noise:.2g}" if tree.noise else "unknown",
        left=_left(request, limits),
        history=fence(history(request, digest_tokens), "history"),
        mood=mood,
        options="\n\n".join(_shown(request, i + 1, option) for i, option in enumerate(request.options)),
    )
    # The file at main changes only when main moves: between two moves it is read from the server's cache.
    return said(text_block(f"# The files at main\n\n{files}", HOUR), text_block(words))


def _shown(request: PlanRequest, number: int, option: Option) -> str:
    """One option: its node, what is asked for there, and how its files differ from main's."""
    tree, expansion = request.tree, option.expansion
    node = tree.node(expansion.node)
    asked = {
        ExpansionKind.IMPROVE: "improve it",
        ExpansionKind.INVEST: "a setback under contract is welcome if it opens a line",
        ExpansionKind.REPAIR: "it failed: mend it",
        ExpansionKind.TRANSPLANT: f"bring the change of {expansion.source or 0:04d} here",
    }[expansion.kind]
    parts = [f"## Option {number}: node {node.id:04d}, {asked}", fence(facts(node, tree), "node")]
    if node.id == tree.incumbent:
        parts.append("This is main.")
    else:
        main = request.sources_at(tree.incumbent) or option.sources
        parts.append(_difference("from main to this node", diff(main, option.sources)))
    if expansion.kind is ExpansionKind.REPAIR and node.failure:
        parts.append(fence(clean(node.failure.detail, 3000), "failure"))
    source = expansion.source
    if source is not None and source in tree and (parent := tree.node(source).parent) is not None:
        change = diff(request.sources_at(parent), request.sources_at(source))
        parts += [fence(facts(tree.node(source), tree), "source"), _difference(f"the change of {source:04d}", change)]
    return "\n\n".join(parts)


def _difference(label: str, text: str) -> str:
    if not text:
        return "Its files are the same as main's."
    if tokens_of(text) > OPTION_TOKENS:
        text = text[: 3 * OPTION_TOKENS] + "\n[cut]"
    return fence(text, label)


def examined(request: PlanRequest, plan: Plan | Failure) -> Plan | Failure:
    """The plan, unless it repeats what the node has seen, or cannot be carried out."""
    if isinstance(plan, Failure):
        return plan
    node, idea = request.options[plan.option].expansion.node, plan.idea
    if idea.operator == "tune":
        study = tuning.begun(request, plan)
        return study if isinstance(study, Plan) else _no_idea(study.reason)
    if idea.brief in request.memory.tried_on(node):
        return _no_idea(f"this very brief was tried there already: {_tried(request, node, idea.brief)}")
    lost = _lost_elsewhere(request, idea)
    if lost is not None:
        return _no_idea(f"this very brief lost on another node; only a retry may take it up, with a reason: {lost}")
    words = _words(idea.brief)
    for other, (parent, flying) in request.memory.in_flight.items():
        if parent == node and _alike(words, _words(flying.brief)):
            return _no_idea(f"{other:04d} is trying almost the same right now: {flying.title}")
    return plan


def _tried(request: PlanRequest, node: NodeId, brief: str) -> str:
    """The line of the experiment that had the brief."""
    for child in request.memory.children(node):
        found = request.tree.node(child)
        if found.idea is not None and found.idea.brief == brief:
            return facts(found, request.tree)
    return ""


def _lost_elsewhere(request: PlanRequest, idea: Idea) -> str | None:
    """The line of the last experiment with the brief, if all that had it lost."""
    record = request.memory.brief(idea.brief)
    if idea.operator in ("retry", "combine", "repair") or record.last is None or not record.tried or record.improved:
        return None
    return facts(request.tree.node(record.last), request.tree)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.lower().split())


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) > 0.9 * len(one | other)


def _direction(request: PlanRequest) -> str:
    return "Lower is better." if request.tree.metric.direction == "min" else "Higher is better."


def _left(request: PlanRequest, limits: str) -> str:
    spent = request.spending.total
    done = f"This is experiment {request.experiment}; the campaign has used {spent.tokens:,} tokens"
    done += f" (${spent.dollars:.2f})" if spent.dollars is not None else ""
    return f"{done}. {limits}".strip()


def _no_idea(message: str) -> Failure:
    return Failure(kind=FailureKind.NO_IDEA, message=one_line(message, 300))
