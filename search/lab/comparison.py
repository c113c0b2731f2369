"""Policies x landscapes x budgets x seeds: what is run, and the rows that come of it. Pure; who runs it is
elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..landscapes import LANDSCAPES
from ..landscapes.agent import Habits
from ..policies import make_policy
from ..ratchet import PRESETS
from .screening import Screen
from .simulate import Run, Simulation
from .statistics import (
    Floats,
    Interval,
    bootstrap,
    ecdf,
    holm,
    iqm,
    mean_ranks,
    paired,
    probability_better,
    seeds_needed,
    stratified,
    wilcoxon,
)

REFERENCE = "ratchet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What is compared."""

    policies: tuple[str, ...]
    landscapes: tuple[str, ...]
    evaluations: tuple[int, ...]  # budgets in trials; a campaign runs to the largest and is read at each
    seeds: int
    first_seed: int = 10_000  # below that is for tuning
    in_flight: int = 1
    ratchet: str = "naive"
    habits: Habits = field(default_factory=Habits)
    screen: Screen | None = None  # of catastrophes, early in a trial

    def tasks(self) -> Iterator[tuple[str, int]]:
        """(landscape, seed), seed by seed: whatever is done when somebody stops is paired."""
        return ((landscape, self.first_seed + i) for i in range(self.seeds) for landscape in self.landscapes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is kept of one simulated campaign."""

    curve: Floats  # main's true value after 1, 2, ... trials
    gains: int
    false_advances: int
    opened: int
    paid_off: int
    closed: int
    spent: int
    gain: float  # of contracts, mbpb
    optimism: float  # reported minus true value of main, mbpb; negative = looks better than it is


Results = Mapping[tuple[str, str], Mapping[int, Facts]]
"""By (landscape, policy), then by seed."""


def play(design: Design, landscape: str, seed: int) -> dict[str, Facts]:
    """All policies on one landscape of one seed, with common random numbers."""
    ground = LANDSCAPES[landscape][1](seed)
    return {policy: _facts(_campaign(design, policy, ground, seed)) for policy in design.policies}


def _campaign(design: Design, policy: str, ground: Any, seed: int) -> Run:
    simulation = Simulation(
        make_policy(policy, {}),
        ground,
        preset=PRESETS[design.ratchet],
        evaluations=max(design.evaluations),
        in_flight=design.in_flight,
        seed=seed,
        habits=design.habits,
        screen=design.screen,
    )
    return simulation.run()


def _facts(run: Run) -> Facts:
    sums = run.account.sums()
    return Facts(
        curve=run.curve.astype(np.float64),
        gains=run.gains,
        false_advances=run.false_advances,
        opened=sums.opened,
        paid_off=sums.paid_off,
        closed=sums.closed,
        spent=sums.spent,
        gain=sums.gain,
        optimism=run.reported - float(run.curve[-1]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy on one landscape at one budget. Values in mbpb relative to the root, lower is better."""

    landscape: str  # a name, or `all`
    policy: str
    evaluations: int
    seeds: int
    median: float
    iqm: float
    iqm_low: float
    iqm_high: float
    difference_to_ratchet: Interval | None  # paired; positive = worse; None for the reference itself
    probability_better: float | None
    p_holm: float | None  # Wilcoxon's signed-rank test, corrected over the policies of the landscape and budget
    resolved: bool
    seeds_needed: int | None  # in all, where it is not resolved
    mean_rank: float
    gains_per_100: float
    false_advances: float
    contracts: dict[str, float]  # per campaign: opened, paid_off, closed, spent, gain

    def shape(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


def rows(design: Design, results: Results) -> list[Row]:
    """Every row whose policy and reference have at least two seeds in common."""
    found: list[Row] = []
    reference = REFERENCE if REFERENCE in design.policies else design.policies[0]
    for evaluations in design.evaluations:
        for landscape in (*design.landscapes, *(("all",) if len(design.landscapes) > 1 else ())):
            found += _landscape_rows(design, results, landscape, evaluations, reference)
    return found


def finals(design: Design, results: Results, landscape: str, policy: str, evaluations: int) -> Floats:
    """Main's true value at a budget, by seed, over the seeds that every policy has."""
    facts = results.get((landscape, policy), {})
    return np.array([facts[seed].curve[evaluations - 1] for seed in common_seeds(design, results, landscape)])


def common_seeds(design: Design, results: Results, landscape: str) -> list[int]:
    """The seeds that every policy has on the landscape."""
    sets = [set(results.get((landscape, policy), {})) for policy in design.policies]
    return sorted(set.intersection(*sets)) if sets else []


def _landscape_rows(design: Design, results: Results, landscape: str, evaluations: int, reference: str) -> list[Row]:
    grounds = design.landscapes if landscape == "all" else (landscape,)
    values = {
        policy: [finals(design, results, ground, policy, evaluations) for ground in grounds]
        for policy in design.policies
    }
    if any(len(stratum) < 2 for strata in values.values() for stratum in strata):
        return []
    joined = {policy: np.concatenate(strata) for policy, strata in values.items()}
    ranks = mean_ranks(np.stack(list(joined.values())))
    others = [policy for policy in design.policies if policy != reference]
    corrected = dict(zip(others, holm([wilcoxon(joined[p], joined[reference]) for p in others]), strict=True))
    return [
        _row(design, results, grounds, landscape, policy, evaluations, values, joined, reference, corrected, rank)
        for policy, rank in zip(design.policies, ranks.tolist(), strict=True)
    ]


def _row(
    design: Design,
    results: Results,
    grounds: tuple[str, ...],
    landscape: str,
    policy: str,
    evaluations: int,
    values: dict[str, list[Floats]],
    joined: dict[str, Floats],
    reference: str,
    corrected: dict[str, float],
    rank: float,
) -> Row:
    own, ours = joined[policy], values[policy]
    middle = bootstrap(own, iqm) if len(grounds) == 1 else stratified(ours, iqm)
    difference = None
    if policy != reference:
        gaps = [a - b for a, b in zip(ours, values[reference], strict=True)]
        difference = paired(own, joined[reference]) if len(grounds) == 1 else stratified(gaps, np.mean)
    resolved = difference is not None and difference.resolved
    facts = [results[(ground, policy)][seed] for ground in grounds for seed in common_seeds(design, results, ground)]
    longest = max(design.evaluations)
    return Row(
        landscape=landscape,
        policy=policy,
        evaluations=evaluations,
        seeds=len(own) // len(grounds),
        median=float(np.median(own)),
        iqm=middle.mean,
        iqm_low=middle.low,
        iqm_high=middle.high,
        difference_to_ratchet=difference,
        probability_better=None if difference is None else probability_better(own, joined[reference]),
        p_holm=corrected.get(policy),
        resolved=resolved,
        seeds_needed=None if resolved or difference is None else seeds_needed(own, joined[reference]),
        mean_rank=rank,
        gains_per_100=100 * float(np.mean([f.gains for f in facts])) / longest,
        false_advances=float(np.mean([f.false_advances for f in facts])),
        contracts={
            name: float(np.mean([getattr(f, name) for f in facts]))
            for name in ("opened", "paid_off", "closed", "spent", "gain")
        },
    )


def curves(design: Design, results: Results, landscape: str, policy: str) -> Floats:
    """Anytime curves [seeds, trials] over the common seeds."""
    facts = results[(landscape, policy)]
    return np.stack([facts[seed].curve for seed in common_seeds(design, results, landscape)])


def runtime_ecdf(design: Design, results: Results, landscape: str, policy: str, reference: str) -> Floats:
    """The share of targets reached after 1, 2, ... trials. Targets are set by the reference, seed by seed: 20 steps
    from the root to a tenth beyond what it reached in the end."""
    goal = curves(design, results, landscape, reference)[:, -1:]
    return ecdf(curves(design, results, landscape, policy), goal * np.linspace(0.055, 1.1, 20)[None, :])
