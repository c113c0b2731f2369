"""What the journal says of one experiment in flight, and the questions that its steps ask of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .events import Called, Checked, Committed, Event, Judged, Planned, Scored, Selected, Trained, Written, encode
from .model import Failure, FailureKind, NodeId, ScoreReport, Sources
from .patch import apply_patch

STARVED_RERUNS = 2
"""How often a trial is made again because its machine was taken from it."""


@dataclass(slots=True)
class Life:
    """What the journal says of one experiment that is not settled yet."""

    id: NodeId
    events: list[tuple[int, Event]] = field(default_factory=list)  # with their numbers, for the git note
    selected: Selected | None = None
    called: list[Called] = field(default_factory=list)
    planned: Planned | None = None
    written: list[Written] = field(default_factory=list)  # by attempt
    checked: dict[int, Checked] = field(default_factory=dict)  # by attempt
    committed: dict[int, Committed] = field(default_factory=dict)  # by attempt
    trained: dict[int, Trained] = field(default_factory=dict)  # by trial, of the last attempt, without void runs
    void: dict[int, int] = field(default_factory=dict)  # runs that were starved and are made again, by trial
    scored: dict[int, Scored] = field(default_factory=dict)  # likewise
    judged: Judged | None = None
    beside: dict[NodeId, int] = field(default_factory=dict)  # scored trials of other nodes since its own first
    unanchored: FailureKind | None = None  # why main could not be measured beside it; not journalled: tried again
    failures: list[Failure] = field(default_factory=list)  # of all attempts, oldest first

    def apply(self, number: int, event: Event) -> None:
        """Take in one event of this experiment."""
        self.events.append((number, event))
        match event:
            case Selected():
                self.selected = event
            case Called():
                self.called.append(event)
            case Planned():
                self.planned = event
                self._note_failure(event.outcome)
            case Written():
                self.written.append(event)
                self.trained, self.scored, self.void = {}, {}, {}
                if event.patch is not None or not self.failures:  # "I make no repairs" is not why it failed
                    self._note_failure(event.failure)
            case Checked():
                self.checked[event.attempt] = event
                self._note_failure(event.failure)
            case Committed():
                self.committed[event.attempt] = event
            case Trained() if is_void(event):
                self.void[event.trial] = event.run + 1
            case Trained():
                self.trained[event.trial] = event
                self._note_failure(event.outcome)
            case Scored():
                self.scored[event.trial] = event
                self._note_failure(event.outcome)
            case Judged():
                self.judged = event
            case _:
                pass

    @property
    def values(self) -> tuple[float, ...]:
        """The scores of its trials, in order."""
        outcomes = [self.scored[trial].outcome for trial in sorted(self.scored)]
        return tuple(outcome.value for outcome in outcomes if isinstance(outcome, ScoreReport))

    @property
    def measured_by(self) -> set[str]:
        """Who found its scores: trusted, printed, synthetic."""
        return {scored.outcome.by for scored in self.scored.values() if isinstance(scored.outcome, ScoreReport)}

    def _note_failure(self, outcome: object) -> None:
        if isinstance(outcome, Failure):
            self.failures.append(outcome)

    @property
    def parent(self) -> NodeId:
        """The node that the planner chose."""
        assert self.planned is not None
        return self.planned.parent

    def patched(self, before: Sources, editable: Sequence[str]) -> Sources:
        """The files of the last attempt; the parent's (`before`) if it could not be applied."""
        patch = self.written[-1].patch if self.written else None
        after = apply_patch(before, patch, editable=editable) if patch else before
        return before if isinstance(after, Failure) else after

    def ready_to_train(self, attempt: int) -> bool:
        """Whether the attempt was applied and passed every check."""
        checked = self.checked.get(attempt)
        return bool(self.written) and self.written[-1].failure is None and checked is not None and not checked.failure

    def may_repair(self, attempt: int, *, allowed: int) -> bool:
        """Whether the failed attempt gets a further write turn.

        Patches that do not apply and patches that crash are counted apart; a coder that answers a repair without a
        patch gets no further turn.
        """
        if attempt + 1 < len(self.written):  # it had one
            return True
        last = self.written[-1]
        if last.patch is None and attempt > 0:
            return False
        applies = last.failure is None
        return sum((written.failure is None) == applies for written in self.written) <= allowed


def is_void(event: Trained) -> bool:
    """Whether a run was starved and will be made again."""
    return (
        isinstance(event.outcome, Failure) and event.outcome.kind is FailureKind.STARVED and event.run < STARVED_RERUNS
    )


def slug(title: str) -> str:
    """A branch-name-safe form of a title, at most 40 characters."""
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in title.lower()).split()
    return "-".join(words)[:40].strip("-") or "untitled"


def note_text(events: Sequence[tuple[int, Event]]) -> str:
    """What git remembers of an experiment: its events as JSON lines, each with its number in the journal, so that the
    journal can be rebuilt from git alone."""
    return "".join(f'{{"number":{number},"event":{encode(event)}}}\n' for number, event in events)
