"""Simulated campaigns on all cores. The one part of the lab that has effects: it starts processes.

Ctrl-C, or a break in the loop, ends it cleanly: what was handed out is what is kept.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice

from .lab.comparison import Design, Facts, play

Played = tuple[str, int, dict[str, Facts]]
"""Landscape, seed, and what came of each policy."""


def play_all(design: Design, workers: int) -> Iterator[Played]:
    """All of the design's tasks, in any order, each as soon as it is done."""
    if workers == 1:
        yield from (_play(design, *task) for task in design.tasks())
        return
    # forkserver: a fork of a process with threads (a progress bar has one) may hang.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c_to_the_parent) as pool:
        tasks = design.tasks()
        waiting: set[Future[Played]] = {pool.submit(_play, design, *task) for task in islice(tasks, 4 * workers)}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= {pool.submit(_play, design, *task) for task in islice(tasks, len(done))}
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _play(design: Design, landscape: str, seed: int) -> Played:
    return landscape, seed, play(design, landscape, seed)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
