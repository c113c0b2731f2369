"""From a planner's reply to a Plan, or to the reason why it is none. Pure; what a model says is data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..search.model import LONGEST_HORIZON, ExpansionKind, Failure, FailureKind, Idea, Knob, SetbackContract
from ..search.ports import Option, Plan
from ..search.tree import ROOT, Tree
from .fencing import clean, one_line

Operator = Literal["draft", "refine", "combine", "simplify", "ablate", "tune", "repair", "retry"]
LONGEST_REPLY = 200_000  # characters that are looked at
LONGEST_BRIEF = 6_000
_CANDIDATES = 50  # places in a text where an object may begin
_CATEGORY = re.compile(r"[^a-z0-9-]+")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class ContractAnswer(_Answer):
    """A setback announced beforehand."""

    expected_dip: float = Field(ge=0)
    max_dip: float = Field(ge=0)
    horizon: int = Field(ge=1, le=LONGEST_HORIZON)

    @model_validator(mode="after")
    def _ordered(self) -> ContractAnswer:
        if self.max_dip < self.expected_dip:
            raise ValueError("max_dip must be at least expected_dip")
        return self


class KnobAnswer(_Answer):
    """A constant to search."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}$")
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> KnobAnswer:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 for a logarithmic range")
        return self


class PlanAnswer(_Answer):
    """What the planner is asked for; its JSON schema is what a server is told."""

    analysis: str = ""  # first, because a model thinks in the order in which it writes; kept in the journal's reply
    option: int
    operator: Operator
    source: int | None = None
    title: str = Field(min_length=1)
    hypothesis: str
    mechanism: str
    category: str
    brief: str = Field(min_length=1)
    expected_change: float = 0.0
    contract: ContractAnswer | None = None
    knobs: list[KnobAnswer] = Field(default=[], max_length=6)


def parse_plan(text: str, options: Sequence[Option], tree: Tree) -> Plan | Failure:
    """The plan in a reply, or a Failure of kind no-idea whose message the planner can learn from."""
    answer = _answer(text)
    if isinstance(answer, str):
        return _no_idea(answer)
    if not 1 <= answer.option <= len(options):
        return _no_idea(f"option {answer.option} does not exist; there are 1 to {len(options)}")
    if len(answer.brief) > LONGEST_BRIEF:
        return _no_idea(f"the brief has {len(answer.brief):,} characters; at most {LONGEST_BRIEF:,} are read")
    if answer.operator in ("combine", "retry") and (answer.source is None or answer.source not in tree):
        return _no_idea(f"{answer.operator} needs a source that exists; {answer.source} does not")
    if answer.operator in ("combine", "retry") and answer.source == ROOT:
        return _no_idea(f"{answer.operator} needs a source with a change of its own; {ROOT:04d} is the root")
    if answer.operator == "tune" and not answer.knobs:
        return _no_idea("tune needs knobs")
    asked = options[answer.option - 1].expansion
    source = asked.source if asked.kind is ExpansionKind.TRANSPLANT else answer.source
    idea = Idea(
        title=one_line(answer.title, 100) or "untitled",
        hypothesis=clean(answer.hypothesis, 1500),
        mechanism=clean(answer.mechanism, 1500),
        category=_CATEGORY.sub("-", one_line(answer.category).lower()).strip("-")[:30] or "other",
        brief=clean(answer.brief, LONGEST_BRIEF),
        expected_change=answer.expected_change if math.isfinite(answer.expected_change) else 0.0,
        contract=SetbackContract(**answer.contract.model_dump()) if answer.contract else None,
        operator="combine" if asked.kind is ExpansionKind.TRANSPLANT else answer.operator,
        source=source if answer.operator in ("combine", "retry") or asked.source is not None else None,
        knobs=tuple(Knob(**knob.model_dump()) for knob in answer.knobs) if answer.operator == "tune" else (),
    )
    return Plan(option=answer.option - 1, idea=idea)


def _answer(text: str) -> PlanAnswer | str:
    """The first object in the text that is a plan; else why the most promising one is none."""
    if not text.strip():
        return "the reply is empty"
    why = "the reply holds no JSON object"
    for value in _objects(text[:LONGEST_REPLY]):
        try:
            return PlanAnswer.model_validate(value)
        except ValidationError as error:
            if "title" in value or "brief" in value or why.startswith("the reply holds no"):
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "the object"
                why = f"{where}: {one_line(first['msg'], 160)}"
    return why


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, start = json.JSONDecoder(), text.find("{")
    for _ in range(_CANDIDATES):
        if start < 0:
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if isinstance(value, dict):
                yield value
        start = text.find("{", end)


def _no_idea(message: str) -> Failure:
    return Failure(kind=FailureKind.NO_IDEA, message=one_line(message, 300))
