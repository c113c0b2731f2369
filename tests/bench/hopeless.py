"""How often would the rule that ends hopeless trials early have ended a good one?

    python tests/bench/hopeless.py WORKSPACE [WORKSPACE ...]

Replays the recorded loss curves of finished campaigns (`.ratchetree/trials/NNNN-0/curve.tsv`, first trials, in the
order in which they were scored) through `trainer/hopeless.py`, with the curve of the best trial so far as the
reference, as the trainer does. Time is taken as a share of each trial's own length, so that campaigns with a budget of
CPU seconds or tokens count, too. A stop is false if the trial was better than the best before it; it is near if it was
within two sd of the root's trials. The bound is the exact one-sided 95 % limit of the false-stop rate among trials that
were better.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import beta

from ratchetree.search.events import Scored
from ratchetree.search.model import Metric, ScoreReport
from ratchetree.search.tree import replay
from ratchetree.storage.workspace import Workspace
from ratchetree.trainer.hopeless import Watch, read_curve

MARGINS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
Curve = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One trial beside the best one before it."""

    curve: Curve  # seconds as a share of the trial's length
    reference: Curve
    worse_by: float  # than the best before it, metric's unit, positive = worse
    noise: float  # sd of the root's trials; 0 = not known


def recorded(folder: Path) -> Iterator[Recorded]:
    """Every first trial after the root's that has a score and a curve."""
    events = Workspace(folder).read_events()
    tree = replay(events)
    metric: Metric = tree.metric
    best: tuple[float, Curve] | None = None
    for event in events:
        if not (isinstance(event, Scored) and event.trial == 0 and isinstance(event.outcome, ScoreReport)):
            continue
        file = folder / ".ratchetree" / "trials" / f"{event.experiment:04d}-0" / "curve.tsv"
        curve = read_curve(file.read_text()) if file.exists() else []
        if len(curve) < 2:
            continue
        shares = [(seconds / curve[-1][0], loss) for seconds, loss in curve]
        loss = metric.loss(event.outcome.value)
        if best is not None:
            yield Recorded(curve=shares, reference=best[1], worse_by=loss - best[0], noise=tree.noise or 0.0)
        if best is None or loss < best[0]:
            best = (loss, shares)


def stopped_at(trial: Recorded, margin: float) -> float | None:
    """The share of the budget at which the rule ends it; None if it does not."""
    watch = Watch(trial.reference, 1.0, margin=margin)
    return next((share for share, loss in trial.curve if watch.add(share, loss) is not None), None)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspaces", type=Path, nargs="+")
    trials = [trial for folder in parser.parse_args().workspaces for trial in recorded(folder)]
    good = [trial for trial in trials if trial.worse_by < 0]
    near = [trial for trial in trials if 0 <= trial.worse_by < 2 * trial.noise]
    print(f"{len(trials)} trials, {len(good)} better than all before them, {len(near)} within two sd of the best")
    print("margin, nats   stopped   false   near   false-stop rate at most   share of all training time saved")
    for margin in MARGINS:
        at = {id(trial): stopped_at(trial, margin) for trial in trials}
        stops = [share for share in at.values() if share is not None]
        false = sum(at[id(trial)] is not None for trial in good)
        nearly = sum(at[id(trial)] is not None for trial in near)
        bound = float(beta.ppf(0.95, false + 1, len(good) - false)) if false < len(good) else 1.0
        saved = sum(1 - share for share in stops) / max(1, len(trials))
        print(f"{margin:12.2f}   {len(stops):7d}   {false:5d}   {nearly:4d}   {bound:23.1%}   {saved:.1%}")


if __name__ == "__main__":
    main()
