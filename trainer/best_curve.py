"""The loss curve of a campaign's best trial so far, kept on disk: what `hopeless.py` measures others against."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..search.model import Metric
from .hopeless import read_curve


class BestCurve:
    """A `curve.tsv` whose first line begins with the score of its trial."""

    def __init__(self, file: Path, metric: Metric) -> None:
        self._file = file
        self._metric = metric

    def read(self) -> tuple[tuple[float, float], ...]:
        """Its points (seconds, loss); empty if there is none yet."""
        with contextlib.suppress(OSError, ValueError):
            return tuple(read_curve(self._file.read_text()))
        return ()

    def offer(self, value: float, curve: Path) -> None:
        """Keep a trial's curve if its score is better than all before it."""
        with contextlib.suppress(OSError):
            known = self._score()
            if known is None or self._metric.loss(value) < self._metric.loss(known):
                self._file.write_text(f"{value!r}\tstep\tloss\n{curve.read_text().partition(chr(10))[2]}")

    def _score(self) -> float | None:
        with contextlib.suppress(OSError, ValueError):
            return float(self._file.read_text().partition("\t")[0])
        return None
