"""What `run` says where there is no terminal (a pipe, CI): one line per verdict and per milestone, no colours."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console

from ..search.events import CampaignResumed, CampaignStarted, CampaignStopped, Event, Scored
from ..search.model import Progress, ScoreReport, Verdict
from ..search.tree import ROOT, Tree
from .numbers import count
from .plain import plain, to_ascii
from .tree_text import SIGNS, count_words
from .watch import VerdictLine, Watch


class PlainScreen:
    """An Observer with the live screen's methods that only ever appends lines to the console's file."""

    def __init__(
        self,
        console: Console,
        *,
        limit: int | None,
        slots: int,
        clock: Callable[[], float],
        ends: float | None = None,
    ) -> None:
        self._file = console.file
        self._ascii_only = console.options.ascii_only
        self._watch = Watch(limit=limit, ends=ends)
        self._slots, self._clock = slots, clock

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()

    def event(self, tree: Tree, event: Event) -> None:
        """An event was journalled and applied."""
        verdict = self._watch.event(tree, event)
        match event:
            case CampaignStarted():
                self._say(self._greeting("starts"))
            case CampaignResumed():
                self._say(f"{self._greeting('goes on')}, {self._standing()}")
            case CampaignStopped():
                self._say(f"stopped: {event.reason}; {self._standing()}")
            case Scored(experiment=0, outcome=ScoreReport() as report):
                value = self._watch.digits.value(report.value)
                wanted = self._watch.root_trials
                which = f"trial {event.trial + 1} of {wanted}" if event.trial < wanted else "measured once more"
                self._say(f"root: {which}: {value}{self._watch.label}")
            case _:
                if verdict is not None:
                    self._say(self._verdict(verdict))

    def progress(self, progress: Progress) -> None:
        """Nothing: progress is for eyes that watch."""

    def note(self, text: str) -> None:
        """Say something to whoever reads."""
        self._say(f"note: {text}")

    def stopping(self, reason: str = "") -> None:
        """The user asked to stop."""
        self._say(f"stopping: what trains is finished and judged, nothing new begins{f' ({reason})' if reason else ''}")

    def _verdict(self, line: VerdictLine) -> str:
        watch, digits = self._watch, self._watch.digits
        if line.node == ROOT:
            score = digits.score(watch.main) if watch.main else "no score"
            return f"{SIGNS[line.verdict]} 0000 root {score}{watch.label}"
        of = f"{watch.judged}/{watch.limit}" if watch.limit is not None else str(watch.judged)
        words = f'[{of}] {SIGNS[line.verdict]} {line.verdict} {line.node:04d} "{line.title}": {line.sentence}'
        if line.verdict is Verdict.KEPT and watch.main:
            words += f"; main is now {digits.score(watch.main)}{watch.label}"
        return words

    def _greeting(self, verb: str) -> str:
        chronicle, slots = self._watch.chronicle, "1 slot" if self._slots == 1 else f"{self._slots} slots"
        words = f"ratchetree {chronicle.version} {verb}: policy {chronicle.policy}, ratchet {chronicle.preset}"
        return f"{words}, {self._watch.digits.which_way}{self._watch.label}, {slots}"

    def _standing(self) -> str:
        watch, digits = self._watch, self._watch.digits
        words = count(watch.judged, "experiment")
        if counts := count_words(watch.counts):
            words += f" ({counts})"
        if watch.main and watch.root:
            course = f"{digits.value(watch.root.mean)} → {digits.value(watch.main.mean)}"
            words += f", {digits.metric.name} {course}{watch.label}"
            words += " in the one trial it was picked by" if watch.is_screened_only else ""
        return words

    def _say(self, text: str) -> None:
        begun = self._watch.chronicle.begun
        elapsed = max(0, int(self._clock() - begun)) if begun is not None else 0
        line = f"{elapsed // 3600}:{elapsed // 60 % 60:02d}:{elapsed % 60:02d}  {plain(text, 2000)}"
        self._file.write((to_ascii(line) if self._ascii_only else line) + "\n")
        self._file.flush()
