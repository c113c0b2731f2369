"""What the screens of a running campaign keep in mind: its course, what trains right now, and the last verdicts.

Fed by events and progress, O(1) each, so that drawing never has to look into the tree.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ..search.events import CampaignResumed, CampaignStarted, Checked, Event, Judged, Planned, Scored, Trained
from ..search.model import Failure, Idea, Metric, NodeId, Progress, Score, Verdict
from ..search.ratchet import PRESETS
from ..search.tree import IN_FLIGHT, ROOT, Tree
from .chronicle import Chronicle
from .numbers import SCORER_WORDS, Digits, sparkline
from .plain import plain

VERDICTS = 8
"""How many verdicts are remembered."""
_POINTS = 60  # of main's course


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLine:
    """One verdict as it is shown."""

    node: NodeId
    verdict: Verdict
    title: str
    sentence: str  # with a word for a score that is no trusted measurement


class Watch:
    """A running campaign as far as a screen shows it; `limit` in experiments, `ends` in seconds since the epoch."""

    def __init__(self, *, limit: int | None, ends: float | None) -> None:
        self.limit, self.ends = limit, ends
        self.chronicle = Chronicle()
        self.digits = Digits(metric=Metric())
        self.counts = [0] * 5  # by state, as in `Tree.counts`
        self.root: Score | None = None
        self.main: Score | None = None
        self.main_node: NodeId = ROOT
        self.main_title = ""
        self.is_screened_only = False  # main's score is the single trial it was picked by
        self.course = ""  # main's value over time as a sparkline
        self.titles: dict[NodeId, str] = {}  # of experiments in flight
        self.verdicts: deque[VerdictLine] = deque(maxlen=VERDICTS)
        self.running: dict[tuple[NodeId, int], Progress] = {}  # by experiment and trial

    @property
    def judged(self) -> int:
        """Experiments that are over, the root not counted."""
        return sum(self.counts) - self.counts[IN_FLIGHT]

    @property
    def root_trials(self) -> int:
        """Trials of the root before the search begins."""
        preset = PRESETS.get(self.chronicle.preset)
        return preset.root_trials if preset else 1

    @property
    def label(self) -> str:
        """ " (self-reported)" behind scores that are no trusted measurement."""
        words = SCORER_WORDS.get(self.chronicle.scorer)
        return f" ({words})" if words else ""

    def seconds_left(self, now: float) -> float | None:
        """An estimate from the pace so far, or the time that is left if that is shorter; None if neither is known."""
        left = [] if self.ends is None else [max(0.0, self.ends - now)]
        if self.limit is not None and self.chronicle.per_hour:
            left.append(max(0, self.limit - self.judged) * 3600 / self.chronicle.per_hour)
        return min(left, default=None)

    def progress(self, progress: Progress) -> None:
        """A trial got further."""
        self.running[progress.experiment, progress.trial] = progress

    def event(self, tree: Tree, event: Event) -> VerdictLine | None:
        """Take in one event; returns the verdict if it brought one."""
        self.chronicle.observe(tree, event)
        self.counts = list(tree.counts)
        match event:
            case CampaignStarted() | CampaignResumed():
                self._begin(tree)
            case Planned(outcome=Idea() as idea):
                self.titles[event.experiment] = plain(idea.title, 200)
            case Checked() | Scored() | Trained(outcome=Failure()):
                trial = 0 if isinstance(event, Checked) else event.trial
                self.running.pop((event.experiment, trial), None)
            case Judged():
                return self._judge(tree, event)
            case _:
                pass
        return None

    def _begin(self, tree: Tree) -> None:
        self.titles = {ROOT: "the root"}
        for node in self.chronicle.stages:
            if node != ROOT:
                self.titles[node] = plain(tree.node(node).title, 200)
        self._look_at_main(tree)

    def _judge(self, tree: Tree, event: Judged) -> VerdictLine:
        node = event.experiment
        for key in [key for key in self.running if key[0] == node]:
            del self.running[key]
        title = self.titles.pop(node, "(no idea)")
        self._look_at_main(tree)
        sentence = plain(event.reason, 400) + (self.label if event.verdict is not Verdict.FAILED else "")
        line = VerdictLine(node=node, verdict=event.verdict, title=title, sentence=sentence)
        self.verdicts.append(line)
        return line

    def _look_at_main(self, tree: Tree) -> None:
        root, main = tree.node(ROOT), tree.node(tree.incumbent)
        self.digits, self.root, self.main = Digits.of(tree), root.score, main.score
        self.main_node, self.main_title = main.id, plain(main.title, 200)
        self.is_screened_only = main.is_screened_only
        self.course = sparkline(self.chronicle.main_over_time(tree, _POINTS), _POINTS)
