"""The coder: a model edits the parent's files with the text-editor tool, in memory, until it says that it is done."""

from __future__ import annotations

import time

from ..search.model import Failure, FailureKind, NodeId, Patch, Sources
from ..search.patch import check_syntax
from ..search.ports import WriteReply, WriteRequest
from . import bundling, tuning
from .conversation import (
    FIVE_MINUTES,
    HOUR,
    Block,
    CannotAsk,
    Dialogue,
    Message,
    Prompt,
    Reply,
    Speaker,
    answered,
    said,
    text_block,
)
from .duplicates import objection
from .editor import TOOL, Editor
from .fencing import clean, fence, one_line
from .merging import Merge, combined, no_merge, patch_between, shown_change
from .prompts import fill, template

GIVE_UP = "GIVE UP:"
COMPLAINTS = 2  # about a patch that is complete, before it is refused for good


class ModelCoder:
    """Implements ports.Coder. turns: replies in one writing."""

    def __init__(self, speaker: Speaker, *, turns: int = 12, merge: Merge = no_merge) -> None:
        self._speaker = speaker
        self._turns = turns
        self._merge = merge

    async def write(self, request: WriteRequest) -> WriteReply:
        """The patch, or a Failure with the reason in one line."""
        begun = time.perf_counter()
        dialogue = Dialogue(self._speaker, request.calls)
        outcome = await self._outcome(request, dialogue)
        return WriteReply(outcome=outcome, call=dialogue.summary(time.perf_counter() - begun))

    async def _outcome(self, request: WriteRequest, dialogue: Dialogue) -> Patch | Failure:
        """Without a model what needs no understanding: the values of a study, and merges without conflicts."""
        idea = request.idea
        if idea.operator == "tune" and request.attempt == 0:
            return tuning.applied(request.sources, idea) or await self._write(request, dialogue)
        merged, left = combined(request, bundling.sources_of(idea), self._merge)
        if request.attempt == 0 and merged != request.sources and not left:
            return patch_between(request.sources, merged)
        return await self._write(request, dialogue, begun=merged, left=left)

    async def _write(
        self, request: WriteRequest, dialogue: Dialogue, *, begun: Sources | None = None, left: tuple[NodeId, ...] = ()
    ) -> Patch | Failure:
        """begun: the files as far as they are done; left: nodes whose changes have to be brought there."""
        editor = Editor(request.sources, begun)
        system = fill(template("coder"), program=request.brief, editable=", ".join(editor.editable))
        messages: list[Message] = [_task(request, editor.sources, left)]
        complained = 0
        for turn in range(1, self._turns + 1):
            prompt = Prompt(system=system, messages=_warm(messages), tools=(TOOL,))
            try:
                reply = await dialogue.ask(prompt)
            except CannotAsk as error:
                return _no_patch(str(error))
            if reply.stop == "refusal":
                return _hopeless("the model refused to write this")
            if reply.stop in ("max_tokens", "model_context_window_exceeded"):
                return _no_patch("the reply was cut off at max_tokens: raise agents.coder.max_tokens, or ask for less")
            if GIVE_UP in reply.text:
                reason = one_line(reply.text.split(GIVE_UP, 1)[1], 200)
                return _hopeless(f"the coder gave the idea up: {reason}")
            if not reply.tool_uses:
                patch = editor.patch()
                complaint = None if isinstance(patch, Failure) else objected(request, editor.sources)
                if complaint is None:
                    return patch
                if turn == self._turns or complained == COMPLAINTS:
                    return complaint
                complained += 1
                words = fill(template("objection"), reason=complaint.message)
                messages += [_spoken(reply), said(text_block(words))]
                continue
            messages += [answered(reply), said(*(_result(editor, use) for use in reply.tool_uses))]
        patch = editor.patch()
        return patch if isinstance(patch, Failure) else _no_patch(f"the coder was not done after {self._turns} replies")


def objected(request: WriteRequest, after: Sources) -> Failure | None:
    """Why the finished patch must not cost a trial."""
    problem = check_syntax(after)
    if problem is not None:
        return problem
    reason = objection(request, after)
    return Failure(kind=FailureKind.DUPLICATE, message=one_line(reason, 300)) if reason else None


def _task(request: WriteRequest, files: Sources, left: tuple[NodeId, ...]) -> Message:
    shown = "\n\n".join(fence(file.text, file.path) for file in files)
    idea = request.idea
    words = {"title": idea.title, "hypothesis": idea.hypothesis, "mechanism": idea.mechanism, "brief": idea.brief}
    blocks = [text_block(f"# The files\n\n{shown}", HOUR), text_block(fill(template("write"), **words))]
    taken = (idea.source,) if idea.operator == "retry" and idea.source is not None else left
    blocks += [text_block(_other_line(request, source)) for source in taken if source in request.tree]
    if request.failure is not None:
        blocks.append(text_block(_repair(request, request.failure)))
    return said(*blocks)


def task_text(request: WriteRequest) -> str:
    """The whole task as one text, for agents that have tools of their own."""
    editable = ", ".join(file.path for file in request.sources)
    blocks = [fill(template("command"), program=request.brief, editable=editable)]
    task = _task(request, request.sources, bundling.sources_of(request.idea))
    return "\n\n".join([*blocks, *(str(block["text"]) for block in task["content"][1:])])


def _other_line(request: WriteRequest, source: int) -> str:
    return fill(template("combine"), source=f"{source:04d}", change=fence(shown_change(request, source), "its change"))


def _repair(request: WriteRequest, failure: Failure) -> str:
    edits = request.patch.edits if request.patch else ()
    tried = "\n".join(f"{edit.path}: {clean(edit.old, 1500)}\n→\n{clean(edit.new, 3000)}" for edit in edits)
    return fill(
        template("repair"),
        kind=str(failure.kind),
        message=fence(one_line(failure.message, 300), "message"),
        detail=fence(clean(failure.detail, 3000), "detail"),
        patch=fence(clean(tried, 6000), "your patch"),
    )


def _result(editor: Editor, use: Block) -> Block:
    text, is_error = editor.use(use.get("input"))
    result: Block = {"type": "tool_result", "tool_use_id": str(use.get("id", "")), "content": text}
    return result | {"is_error": True} if is_error else result


def _spoken(reply: Reply) -> Message:
    """An answer without an empty content, which servers refuse to read again."""
    return answered(reply) if reply.content else {"role": "assistant", "content": [text_block("(nothing)")]}


def _warm(messages: list[Message]) -> tuple[Message, ...]:
    """With the last block marked, so that the next turn of the loop reads everything before it from the cache."""
    if len(messages) == 1:
        return tuple(messages)
    *rest, last = messages
    *blocks, block = last["content"]
    return (*rest, {**last, "content": [*blocks, {**block, "cache_control": FIVE_MINUTES}]})


def _no_patch(message: str) -> Failure:
    return Failure(kind=FailureKind.NO_PATCH, message=one_line(message, 300))


def _hopeless(message: str) -> Failure:
    """No further write turn would help."""
    return Failure(kind=FailureKind.NO_IDEA, message=one_line(message, 300))
