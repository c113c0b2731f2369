"""What the rehearsal's server says: plans and edits from the offline catalogue, as a model would put them.

It reads nothing but the request, so that the whole way of a real model is rehearsed: prompts, replies, tools, repairs.
"""

from __future__ import annotations

import hashlib
import json
import random
import re

from ..search.model import SourceFile, Sources
from ..search.patch import edits_between
from .conversation import Block
from .editor import TOOL
from .fencing import unfenced
from .offline import apply_brief, offers
from .proposal import NotApplicable
from .rehearsal import Answer, Body, Brain

_OPTION = re.compile(r"^## Option (\d+): node (\d+)", re.MULTILINE)
_BRIEF = re.compile(r"^What to do: (.*)$", re.MULTILINE)


def catalogue(seed: int = 1) -> Brain:
    """A brain that plans from the catalogue and codes what it planned; the same request gets the same answer."""

    def think(body: Body) -> Answer:
        rng = random.Random(f"{seed}/{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()}")
        return _code(body) if body.get("tools") else _plan(body, rng)

    return think


def _plan(body: Body, rng: random.Random) -> Answer:
    text = _texts(body)
    known = offers(_files(text))
    if not known:
        return Answer(content=({"type": "text", "text": "I find nothing to change."},))
    brief, proposal = rng.choices(known, [proposal.weight for _, proposal in known])[0]
    plan = {
        "analysis": "The catalogue offers this edit; a model would say here why it takes it.",
        "option": int(rng.choice(_OPTION.findall(text))[0]),
        "operator": "simplify" if proposal.category == "simplify" else rng.choice(["draft", "refine"]),
        "source": None,
        "title": proposal.title,
        "hypothesis": proposal.hypothesis,
        "mechanism": proposal.mechanism,
        "category": proposal.category,
        "brief": brief,
        "expected_change": 0.0,
        "contract": None,
        "knobs": [],
    }
    return Answer(content=({"type": "text", "text": json.dumps(plan)},))


def _code(body: Body) -> Answer:
    text = _texts(body)
    last = body["messages"][-1]["content"]
    if any(block["type"] == "tool_result" for block in last):
        failed = any(block.get("is_error") for block in last)
        return _said("GIVE UP: an edit did not fit." if failed else "The change is made.")
    brief = _BRIEF.search(text)
    changed = apply_brief(_files(text), brief[1]) if brief else NotApplicable("there is no brief")
    if isinstance(changed, NotApplicable):
        return _said(f"GIVE UP: {changed.reason}")
    if len(body["messages"]) > 1 or "Your patch did not work" in text:
        return _said("GIVE UP: there is no other way to write it.")
    before, after = changed
    edits = edits_between(before.path, before.text, after.text)
    uses: list[Block] = [{"type": "text", "text": "I make the change."}]
    for index, edit in enumerate(edits):
        place = {"command": "str_replace", "path": edit.path, "old_str": edit.old, "new_str": edit.new}
        if not edit.old:
            place = {"command": "create", "path": edit.path, "file_text": edit.new}
        uses.append({"type": "tool_use", "id": f"toolu_{index:04d}", "name": TOOL["name"], "input": place})
    return Answer(content=tuple(uses), stop="tool_use")


def _said(text: str) -> Answer:
    return Answer(content=({"type": "text", "text": text},))


def _texts(body: Body) -> str:
    content = body["messages"][0]["content"]
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def _files(text: str) -> Sources:
    found = {label: SourceFile(path=label, text=body) for label, body in unfenced(text) if label.endswith(".py")}
    return tuple(found[path] for path in sorted(found))
