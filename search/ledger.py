"""Writing down before believing: journal first, then state; git and main in the order of the verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from .events import Event, Judged, Settled
from .life import Life, note_text, slug
from .model import NodeId, Verdict
from .ports import Clock, Journal, Observer, Repository
from .state import State
from .tree import ROOT


class Ledger:
    """The one way in which anything becomes part of a campaign's history."""

    def __init__(
        self, *, state: State, journal: Journal, repository: Repository, clock: Clock, observers: Sequence[Observer]
    ) -> None:
        self.state = state
        self._journal = journal
        self._repository = repository
        self._clock = clock
        self._observers = observers

    def now(self) -> float:
        """Seconds since the epoch, to the millisecond."""
        return round(self._clock(), 3)

    def record(self, event: Event) -> None:
        """Journal the event, believe it, tell the observers."""
        number = self._journal.append(event)
        self.state.apply(number, event)
        for observer in self._observers:
            observer.event(self.state.tree, event)

    def settle_upto(self, experiment: NodeId) -> None:
        """Settle the experiment, and before it every kept node that main has not moved to yet: main moves in the order
        in which nodes were kept, whichever experiment gets here first."""
        waiting: list[NodeId] = []
        for node in reversed(self.state.tree.advances):
            if node not in self.state.lives:
                break
            waiting.append(node)
        for node in [*reversed(waiting), experiment]:
            if node in self.state.lives:
                self._settle(self.state.lives[node])

    def note_root(self) -> None:
        """Write the root's note anew: it carries the campaign's own events too."""
        commit = self.state.tree.root_commit
        assert commit is not None
        note = note_text(list(self._journal.events(ROOT)))
        self._repository.settle(node=ROOT, commit=commit, branch=None, note=note)

    def note_again(self, node: NodeId) -> None:
        """Write a settled node's note anew: something was measured since."""
        if node == ROOT:
            self.note_root()
            return
        known = self.state.tree.node(node)
        assert known.commit is not None
        note = note_text(list(self._journal.events(node)))
        self._repository.settle(node=node, commit=known.commit, branch=known.branch, note=note)

    def _settle(self, life: Life) -> None:
        node = self.state.tree.node(life.id)
        assert life.judged is not None and node.commit is not None
        main = branch = None
        if life.id == ROOT:
            main = node.commit
        elif life.judged.verdict is Verdict.KEPT:
            main = self._advance_main(life.judged, node.title, node.commit)
        elif life.judged.verdict is Verdict.PARKED:
            branch = f"parked/{life.id:04d}-{slug(node.title)}"
        event = Settled(time=self.now(), experiment=life.id, main=main, branch=branch)
        events = list(self._journal.events(ROOT)) if life.id == ROOT else life.events
        note = note_text([*events, (self.state.number + 1, event)])
        self._repository.settle(node=life.id, commit=node.commit, branch=branch, note=note)
        self.record(event)

    def _advance_main(self, judged: Judged, title: str, commit: str) -> str:
        tree = self.state.tree
        before = tree.advances[tree.advances.index(judged.experiment) - 1]
        expected = tree.node(before).main
        assert expected is not None
        message = f"{judged.experiment:04d} {title}\n\n{judged.reason}\n"
        return self._repository.advance(expected=expected, winner=commit, message=message, time=judged.time)
