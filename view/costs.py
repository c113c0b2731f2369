"""What a campaign's model calls cost, in words and in numbers. An unknown price is shown as unknown, never as 0."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..search.events import Called, Event, Planned, Written
from ..search.spending import Spending, Spent
from ..search.tree import IN_FLIGHT, ROOT, Tree
from .numbers import count, duration
from .plain import Fact, plain

UNIT_GAIN = 0.001  # of the metric, for which a price is given


def cost_facts(tree: Tree, spending: Spending) -> list[Fact]:
    """For `status`: what was spent, per experiment and per 0.001 of gain; nothing if no model was asked."""
    total = spending.total
    if not total.calls:
        return []
    rows: list[Fact] = [("cost", cost_words(total))]
    shares = shares_of(tree, spending)
    words = [f"{dollars(value)} {name}" for name, value in shares.items() if value is not None]
    return [*rows, ("", ", ".join(words))] if words else rows


def cost_words(spent: Spent) -> str:
    """ "$1.24 for 31 calls: 412,000 tokens (310,000 from the cache), 12,345 of them output; 14 min of waiting"."""
    price = dollars(spent.dollars)
    if spent.dollars is None:
        price += f" (${spent.priced:.2f} and {count(spent.unpriced, 'call')} without a price)" if spent.priced else ""
    words = f"{price} for {count(spent.calls, 'call')}: {spent.tokens:,} tokens"
    words += f" ({spent.cache_read_tokens:,} from the cache)" if spent.cache_read_tokens else ""
    return f"{words}, {spent.output_tokens:,} of them output; {duration(spent.seconds)} of waiting"


def dollars(value: float | None) -> str:
    """Cents, and more digits where that would be nothing."""
    if value is None:
        return "unknown cost"
    return f"${value:,.2f}" if value >= 0.1 or value == 0 else f"${value:.4f}"


def shares_of(tree: Tree, spending: Spending) -> dict[str, float | None]:
    """Dollars per judged experiment, and per 0.001 of main's gain over the root; None where there is no such number."""
    total, judged = spending.total.dollars, tree.experiments - tree.counts[IN_FLIGHT]
    gain = float(tree.loss[ROOT] - tree.loss[tree.incumbent]) if tree.trials[ROOT] else 0.0
    return {
        "per experiment": total / judged if total is not None and judged else None,
        "per 0.001 of gain": total / (gain / UNIT_GAIN) if total is not None and gain > 0 else None,
    }


def node_costs(events: Iterable[Event]) -> Spent:
    """What the calls in one experiment's events cost."""
    spending = Spending()
    for event in events:
        if isinstance(event, Called | Planned | Written):
            spending.observe(event)
    return spending.total


def call_facts(events: Iterable[Event]) -> list[Fact]:
    """For `show`: every call to a model, and their sum."""
    own = [event for event in events if isinstance(event, Called | Planned | Written)]
    rows: list[Fact] = []
    for event in own:
        if isinstance(event, Called):
            call = event.call
            words = f"{event.purpose}: {plain(call.model, 40)}, {call.tokens:,} tokens, {dollars(call.cost)}"
            words += f", {call.seconds:.1f} s" + (f", {plain(call.request_id, 40)}" if call.request_id else "")
            rows.append(("call", words + (f"; {plain(call.error, 120)}" if call.error else "")))
    return [*rows, ("cost", cost_words(node_costs(own)))] if rows else []


def cost_json(spent: Spent) -> dict[str, Any]:
    """{calls, dollars | null, unpriced, tokens, input_tokens, output_tokens, cache_write_tokens, cache_read_tokens,
    seconds}; dollars is null as soon as one price is unknown."""
    return {
        "calls": spent.calls,
        "dollars": round(spent.dollars, 9) if spent.dollars is not None else None,
        "unpriced": spent.unpriced,
        "tokens": spent.tokens,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cache_write_tokens": spent.cache_write_tokens,
        "cache_read_tokens": spent.cache_read_tokens,
        "seconds": round(spent.seconds, 3),
    }
