"""The fitted families look like the real trace: exp/H100/mar8 of karpathy/autoresearch, 126 rows, greedy.

The rows are in `data/h100_mar8_results.tsv`. A simulated campaign is 125 trials of the naive ratchet, as the real one.
Bands are the 5 and 95 % quantiles over 60 seeds.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ratchetree.search.lab.simulate import UNIT, Simulation
from ratchetree.search.landscapes import LANDSCAPES
from ratchetree.search.policies import make_policy
from ratchetree.search.ratchet import PRESETS

TRACE = Path(__file__).parent / "data" / "h100_mar8_results.tsv"


def statistics(scores: list[float | None]) -> dict[str, float]:
    """What a greedy run looks like; scores in mbpb in the order of the run, the baseline first, None = crash."""
    best, gains, losses, streak, longest = scores[0], [], [], 0, 0
    assert best is not None
    for score in scores[1:]:
        if score is not None and score < best:
            gains.append(best - score)
            best, streak = score, 0
        else:
            streak += 1
            longest = max(longest, streak)
            if score is not None:
                losses.append(score - best)
    ordered = np.sort(gains)[::-1]
    return {
        "keep rate": len(gains) / (len(scores) - 1),
        "longest streak without a keep": longest,
        "total gain": sum(gains),
        "median gain": float(np.median(gains)),
        "share of the five largest gains": float(ordered[:5].sum() / ordered.sum()),
        "loss q25": float(np.quantile(losses, 0.25)),
        "median loss": float(np.median(losses)),
        "loss q75": float(np.quantile(losses, 0.75)),
    }


@cache
def real() -> dict[str, float]:
    with TRACE.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return statistics([None if row["status"] == "crash" else float(row["val_bpb"]) / UNIT for row in rows])


@cache
def simulated(landscape: str) -> dict[str, np.ndarray]:
    found = []
    for seed in range(60):
        lab = Simulation(
            make_policy("ratchet", {}),
            LANDSCAPES[landscape][1](seed),
            preset=PRESETS["naive"],
            evaluations=125,
            seed=seed,
        )
        lab.run()
        nodes = [node for node in lab.tree.nodes() if node.failure is None or node.failure.kind == "crash"]
        found.append(statistics([node.score.mean / UNIT if node.score else None for node in nodes]))
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def test_the_trace_is_what_the_study_says_of_it() -> None:
    assert TRACE.read_text().count("\tkeep\t") == 1 + 22
    assert real()["total gain"] == pytest.approx(28.2, abs=0.05)
    assert real()["longest streak without a keep"] == 25


@pytest.mark.parametrize("landscape", ["additive", "full"])
@pytest.mark.parametrize("name", list(real()))
def test_the_real_trace_lies_within_the_band_of_simulated_ones(landscape: str, name: str) -> None:
    low, high = np.quantile(simulated(landscape)[name], [0.05, 0.95])
    assert low <= real()[name] <= high, f"{name}: real {real()[name]:.3f}, simulated {low:.3f} to {high:.3f}"
