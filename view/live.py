"""The live screen of `run`: what trains in every slot, where main stands, the last verdicts.

It redraws at most four times a second (0.4 ms each), and only when something happened or a second went by; what it
draws was added up event by event.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.live import Live

from ..search.events import Event
from ..search.model import Progress
from ..search.tree import FAILED, IN_FLIGHT, KEPT, PARKED, ROOT, Tree
from .numbers import duration
from .plain import Line, Lines, plain
from .plain_screen import PlainScreen
from .tree_text import SIGNS, STYLES
from .watch import Watch

KEYS = "Ctrl-C: finish what trains, then stop; twice: stop at once, nothing is lost"
STOPPING = "Stopping: what trains is finished and judged, nothing new begins. Ctrl-C again: stop at once"
_STAGES = {
    "smoke": "smoke",
    "waiting": "waits for a slot",
    "starting": "starting",
    "training": "training",
    "scoring": "scoring",
}
_BAR = 8  # cells


def open_screen(
    console: Console, *, limit: int | None, slots: int, clock: Callable[[], float], ends: float | None = None
) -> LiveScreen | PlainScreen:
    """A live screen on a terminal, lines of text anywhere else. `limit` is in experiments; `clock` and `ends` (when the
    time is up) are in seconds since the epoch."""
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveScreen(console, limit=limit, slots=slots, clock=clock, ends=ends)
    return PlainScreen(console, limit=limit, slots=slots, clock=clock, ends=ends)


class LiveScreen:
    """An Observer that owns the terminal between `__enter__` and `__exit__`; its last picture stays."""

    def __init__(
        self,
        console: Console,
        *,
        limit: int | None,
        slots: int,
        clock: Callable[[], float],
        ends: float | None = None,
        refresh_seconds: float = 0.25,
    ) -> None:
        self._console = console
        self._watch = Watch(limit=limit, ends=ends)
        self._slots, self._clock = slots, clock
        self._message: tuple[str, str] = ("", "")
        self._is_stopping = False
        self._lock = threading.RLock()  # the drawing thread reads what the campaign's thread writes
        self._live = Live(self, console=console, auto_refresh=False, vertical_overflow="crop")
        self._refresh_seconds = refresh_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_drawing, name="ratchetree screen", daemon=True)
        self._is_stale = True
        self._drawn_at = -math.inf
        self._drawn_size: ConsoleDimensions | None = None

    def __enter__(self) -> LiveScreen:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._live.stop()

    def event(self, tree: Tree, event: Event) -> None:
        """An event was journalled and applied."""
        with self._lock:
            self._watch.event(tree, event)
            self._is_stale = True

    def progress(self, progress: Progress) -> None:
        """A trial got further."""
        with self._lock:
            self._watch.progress(progress)
            self._is_stale = True

    def note(self, text: str) -> None:
        """Say something to whoever watches; it stays until the next note."""
        with self._lock:
            self._message = (plain(text, 500), "yellow")
            self._is_stale = True

    def stopping(self, reason: str = "") -> None:
        """The user asked to stop: say what happens now."""
        with self._lock:
            self._is_stopping = True
            self._message = (plain(reason, 500), "yellow") if reason else self._message
            self._is_stale = True

    # -- drawing ------------------------------------------------------------------------------------------------

    def _keep_drawing(self) -> None:
        while not self._over.wait(self._refresh_seconds):
            if self._is_stale or self._clock() - self._drawn_at >= 1:
                self.draw()

    def draw(self) -> None:
        """Redraw now; the screen does so by itself."""
        self._is_stale, self._drawn_at = False, self._clock()
        size = self._console.size
        if self._drawn_size not in (None, size):  # the old picture was wrapped by the terminal: begin on a clean one
            self._console.clear()
        self._drawn_size = size
        self._live.refresh()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            lines = self._picture(options.max_width, console.height - 1)
        yield Lines(lines)

    def _picture(self, width: int, height: int) -> list[Line]:
        """The rows, at most `height` of them: verdicts give way first, then blank rows, then slots."""
        top, slots, bottom = (
            [self._title(), *self._main(width), *self._done()],
            self._slots_now(width),
            self._foot(width),
        )
        room = height - len(top) - len(slots) - len(bottom)
        if room < 0:
            slots = slots[: max(0, len(slots) + room)]
        gap: list[Line] = [()] if room > 3 else []
        verdicts = self._verdicts(width)
        verdicts = verdicts[max(0, len(verdicts) - max(0, room - 3 * len(gap))) :]
        after = gap if verdicts else []
        return [*top, *gap, *slots, *gap, *verdicts, *after, *bottom][: max(1, height)]

    def _title(self) -> Line:
        chronicle = self._watch.chronicle
        if chronicle.begun is None:
            return ("ratchetree", "bold"), ("  starting", "dim")
        words = f"{chronicle.policy} · ratchet {chronicle.preset} · {self._watch.digits.which_way}"
        return ("ratchetree", "bold"), (f"  {plain(words)}{self._watch.label}", "dim")

    def _main(self, width: int) -> list[Line]:
        watch, digits = self._watch, self._watch.digits
        if watch.main is None or watch.root is None:
            return [(("main  ", "dim"), (f"scoring the root, {watch.root_trials} trials", ""))]
        score = f"{watch.main_node:04d}  {digits.score(watch.main)}{watch.label}"
        if watch.main_node == ROOT:
            return [(("main  ", "dim"), (score, "bold"), (", the root: nothing has beaten it yet", "dim"))]
        gain = digits.value(abs(digits.metric.gain(watch.root.mean, watch.main.mean)))
        better = digits.better(watch.root.mean, watch.main.mean)
        words = f", {gain} {better} than the root's {digits.value(watch.root.mean)}"
        if watch.is_screened_only:
            words = " in the one trial it was picked by"
        course = watch.course[-max(8, width // 2) :]
        return [
            (("main  ", "dim"), (score, "bold green"), (words, "green")),
            (("      ", ""), (course, "green"), (f"  {watch.main_title}" if course else watch.main_title, "")),
        ]

    def _done(self) -> list[Line]:
        watch, counts = self._watch, self._watch.counts
        now, begun, pace = self._clock(), watch.chronicle.begun, watch.chronicle.per_hour
        left = watch.seconds_left(now)
        words = [f"{watch.judged:,} of {watch.limit:,}" if watch.limit is not None else f"{watch.judged:,}"]
        words[0] += f" in {_clock_words(now - begun)}" if begun is not None else ""
        words += [f"{pace:.1f} an hour"] if pace else []
        words += [f"about {duration(left)} left"] if left is not None and not self._is_stopping else []
        states = (KEPT, PARKED, FAILED, IN_FLIGHT)
        signs = [
            (f"{sign} {counts[state]:,} {verdict or 'in flight'}  ", STYLES[verdict])
            for state, (verdict, sign) in zip(states, SIGNS.items(), strict=True)
        ]
        return [(("done  ", "dim"), (", ".join(words), "")), (("      ", ""), *signs)]

    def _slots_now(self, width: int) -> list[Line]:
        """A row for every slot, and one for what is in flight elsewhere."""
        busy: dict[int, Progress] = {}
        training = [progress for progress in self._watch.running.values() if progress.stage != "waiting"]
        for progress in sorted(training, key=lambda p: (p.slot is None, p.slot or 0, p.experiment, p.trial)):
            free = next(i for i in range(len(busy) + 1) if i not in busy)
            busy[free if progress.slot is None or progress.slot in busy else progress.slot] = progress
        stage_width = max((len(self._stage(progress)) for progress in training), default=0)
        slots = range(max([self._slots, *(slot + 1 for slot in busy)]))
        rows = [self._slot_row(slot, busy.get(slot), stage_width) for slot in slots]
        waiting = {progress.experiment for progress in self._watch.running.values()} - {p.experiment for p in training}
        others = [
            f"{node:04d} {_STAGES['waiting'] if node in waiting else stage}"
            for node, stage in self._watch.chronicle.stages.items()
            if node != ROOT and node not in {progress.experiment for progress in training}
        ]
        also = plain(", ".join(others[:20]), max(0, width - 8)) if others else "nothing else in flight"
        return [*rows, (("also    ", "dim"), (also, STYLES[None] if others else "dim"))]

    def _slot_row(self, slot: int, progress: Progress | None, stage_width: int) -> Line:
        name = (f"slot {slot + 1}".ljust(8), "dim")
        if progress is None:
            return name, ("idle", "dim")
        share = min(1.0, max(0.0, progress.share)) if math.isfinite(progress.share) else 0.0
        full = round(share * _BAR)
        facts = f" {share:4.0%}" + (f"  step {progress.step:,}".ljust(11) if progress.step else "")
        facts += f"  loss {progress.loss:.3f}" if progress.loss is not None else ""
        stage = self._stage(progress).ljust(stage_width)
        return (
            name,
            (f"{SIGNS[None]} {progress.experiment:04d} {stage} ", STYLES[None]),
            ("█" * full + "░" * (_BAR - full), STYLES[None]),
            (f"{facts}  {self._watch.titles.get(progress.experiment, '')}", ""),
        )

    def _stage(self, progress: Progress) -> str:
        stage = _STAGES[progress.stage]
        if progress.experiment == ROOT:
            return f"root {progress.trial + 1}/{self._watch.root_trials} {stage}"
        return f"{stage} #{progress.trial + 1}" if progress.trial else stage

    def _verdicts(self, width: int) -> list[Line]:
        rows: list[Line] = []
        for line in self._watch.verdicts:
            name = f"{SIGNS[line.verdict]} {line.node:04d} "
            room = width - len(name)
            if width >= 60:
                wide = min(max(20, room // 3), max((cell_len(v.title) for v in self._watch.verdicts), default=20))
                title = plain(line.title, wide)
                title += " " * (wide - cell_len(title))
                words = plain(line.sentence, room - wide - 2)
                rows.append(((name, STYLES[line.verdict]), (f"{title}  ", ""), (words, "dim")))
            else:
                rows.append(((name, STYLES[line.verdict]), (plain(line.title, room), "")))
        return rows

    def _foot(self, width: int) -> list[Line]:
        words, style = self._message
        last = (STOPPING, "bold yellow") if self._is_stopping else (KEYS, "dim")
        if self._watch.chronicle.stopped is not None:
            last = (f"stopped: {plain(self._watch.chronicle.stopped, 300)}", "bold")
        return [((text, style),) for text, style in ((words, style), last) if text]


def _clock_words(seconds: float) -> str:
    """ "0:07:42"."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
