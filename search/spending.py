"""What model calls cost: tokens by kind and dollars, of the campaign and of every experiment. A replay of the events,
O(1) each. An unknown price makes a sum unknown, never smaller."""

from __future__ import annotations

from dataclasses import dataclass

from .events import Called, Event, Judged, Planned, Selected, Written
from .model import ModelCall, NodeId

DEARER = 1.5
"""How much dearer than all before an experiment may turn out without breaking a limit: histories grow, code crashes."""


@dataclass(slots=True)
class Spent:
    """A sum of model calls."""

    calls: int = 0  # that asked a model
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    seconds: float = 0.0  # of waiting for replies
    priced: float = 0.0  # dollars of the calls whose price is known
    unpriced: int = 0  # calls whose price is not

    @property
    def tokens(self) -> int:
        """Of all kinds together."""
        return self.input_tokens + self.output_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def dollars(self) -> float | None:
        """None as soon as one call's price is not known."""
        return None if self.unpriced else self.priced

    def add(self, call: ModelCall) -> None:
        """One call more."""
        self.calls += bool(call.model)
        self.input_tokens += call.input_tokens
        self.output_tokens += call.output_tokens
        self.cache_write_tokens += call.cache_write_tokens
        self.cache_read_tokens += call.cache_read_tokens
        self.seconds += call.seconds
        if call.cost is None:
            self.unpriced += 1
        else:
            self.priced += call.cost


class Spending:
    """Sums over the journal, and what the experiments in flight may still cost."""

    def __init__(self) -> None:
        self.total = Spent()
        self.by_experiment: dict[NodeId, Spent] = {}
        self._open: set[NodeId] = set()  # not judged
        self._called: set[tuple[NodeId, str]] = set()  # plans and writings whose calls are journalled one by one
        self._most_tokens = 0  # of one judged experiment
        self._most_dollars = 0.0

    def of(self, experiment: NodeId) -> Spent:
        """What one experiment cost; all zeros if nothing was asked."""
        return self.by_experiment.get(experiment) or Spent()

    def observe(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, Selected):
            self._open.add(event.experiment)
        elif isinstance(event, Called):
            self._called.add((event.experiment, event.purpose))
            self._add(event.experiment, event.call)
        elif isinstance(event, Planned | Written):
            purpose = "plan" if isinstance(event, Planned) else "write"
            if (event.experiment, purpose) not in self._called:
                self._add(event.experiment, event.call)
        elif isinstance(event, Judged) and event.experiment in self._open:
            self._open.discard(event.experiment)
            self._called -= {(event.experiment, "plan"), (event.experiment, "write")}
            spent = self.of(event.experiment)
            self._most_tokens = max(self._most_tokens, spent.tokens)
            self._most_dollars = max(self._most_dollars, spent.priced)

    def room(self, *, tokens: int | None, dollars: float | None) -> str | None:
        """Which limit one more experiment might break; None if none. Every experiment not yet judged, and that one, may
        come to cost `DEARER` times as much as the dearest so far, so that what is in the air can be finished."""
        spent = [self.of(experiment) for experiment in self._open]
        most = DEARER * self._most_tokens
        used = self.total.tokens + most + sum(max(0.0, most - own.tokens) for own in spent)
        if tokens is not None and (self.total.tokens >= tokens or used > tokens):
            return f"the limit of {tokens:,} tokens"
        dearest = DEARER * self._most_dollars
        paid = self.total.priced + dearest + sum(max(0.0, dearest - own.priced) for own in spent)
        if dollars is not None and (self.total.priced >= dollars or paid > dollars):
            return f"the limit of {dollars:g} dollars"
        return None

    def _add(self, experiment: NodeId, call: ModelCall) -> None:
        self._open.add(experiment)
        self.total.add(call)
        self.by_experiment.setdefault(experiment, Spent()).add(call)
