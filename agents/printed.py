"""What a command-line agent prints: its words, and what it says that it cost. Pure.

Agents that print one JSON object at their end (`claude -p --output-format json`) wrap their words in it and add what
they spent. That is the agent's own word; where there is none the cost is unknown.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from ..search.model import ModelCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """One run's output, read."""

    words: str
    summary: dict[str, Any]  # empty: it printed none


def read(output: str) -> Printed:
    """The words in an output: all of it, unless its last line is a summary with a `result`."""
    last = output.rstrip().rpartition("\n")[2]
    try:
        summary = json.loads(last) if last.startswith("{") else None
    except (ValueError, RecursionError):
        summary = None
    if isinstance(summary, dict) and isinstance(summary.get("result"), str):
        return Printed(words=summary["result"], summary=summary)
    return Printed(words=output, summary={})


def with_cost(call: ModelCall, printed: Printed) -> ModelCall:
    """The call with tokens and dollars as far as the agent tells them."""
    dollars, usage = printed.summary.get("total_cost_usd"), printed.summary.get("usage")
    counts = usage if isinstance(usage, dict) else {}

    def tokens(name: str) -> int:
        count = counts.get(name)
        return count if isinstance(count, int) and 0 <= count < 1 << 40 else 0

    known = isinstance(dollars, int | float) and math.isfinite(dollars) and dollars >= 0
    return replace(
        call,
        dollars=float(dollars) if known and dollars is not None else None,
        input_tokens=tokens("input_tokens"),
        output_tokens=tokens("output_tokens"),
        cache_write_tokens=tokens("cache_creation_input_tokens"),
        cache_read_tokens=tokens("cache_read_input_tokens"),
    )
