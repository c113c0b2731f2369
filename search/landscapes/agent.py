"""A model of the agent that proposes and writes patches in the lab, as far as a policy's fate depends on it.

It believes in good ideas more than in bad ones, remembers what failed, repeats itself all the same, follows up what it
has begun, flags some of its investments, writes patches that crash, and does not always manage to merge. All chance is
drawn beforehand by the number of the experiment, so that two policies on one seed meet the same luck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..model import ExpansionKind
from .ground import Landscape, Spot

_DRAWS = 16  # uniforms per experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the agent works; shares are probabilities. Defaults as fitted in our study, see `families`."""

    insight: float = 0.5  # correlation of its belief in an idea with the idea's true rank
    conviction: float = 2.7  # how much more often it tries what it believes in
    failed: float = 0.15  # weight of an idea that was seen to fail, against a fresh one
    succeeded: float = 3.0  # weight of an idea that helped on another background
    in_flight: float = 0.1  # weight of an idea that is being tried right now
    entry: float = 0.06  # share of patches that begin a restructuring
    entry_invest: float = 0.5  # the same where an investment was asked for
    follow: float = 0.3  # share that goes on with a restructuring that the parent has begun
    revert: float = 0.02  # share that takes something out again
    double: float = 0.1  # share that makes two changes at once
    crash: float = 0.03
    crash_structural: float = 0.15
    mend: float = 0.5  # share of repairs that succeed
    conflict: float = 0.15  # share of merges that fail
    flag_valley: float = 0.7  # how often a restructuring that pays is announced
    flag_decoy: float = 0.5
    flag_bad: float = 0.05  # how often a plainly bad idea is announced as an investment


@dataclass(frozen=True, slots=True)
class Proposal:
    """One patch."""

    spot: Spot  # what the program becomes
    ideas: tuple[int, ...]  # single ideas it puts in
    modules: tuple[int, ...]  # restructurings it moves on
    flagged: int  # 0, or within how many experiments the announced setback should have paid off
    dip: float  # the setback it announces, mbpb


class Agent:
    """The lab's planner and coder on one landscape."""

    def __init__(self, ground: Landscape, *, seed: int, habits: Habits, experiments: int) -> None:
        self._ground = ground
        self._habits = habits
        rng = np.random.default_rng([seed, 7])
        n = len(ground.worth)
        order = np.empty(n)
        order[np.argsort(ground.worth, kind="stable")] = (np.arange(n) + 0.5) / n
        skill = habits.insight
        belief = skill * _normal(order) + (1 - skill**2) ** 0.5 * rng.standard_normal(n)
        self._base = np.exp(habits.conviction * belief)
        self._weight = self._base.copy()
        self._flying: dict[int, int] = {}
        self._memory: dict[int, float] = {}
        self._draws: list[list[float]] = np.random.default_rng([seed, 8]).random((experiments, _DRAWS)).tolist()

    def propose(self, experiment: int, spot: Spot, kind: ExpansionKind) -> Proposal:
        """What the agent does on a program when it is asked for something."""
        h, u = self._habits, self._draws[experiment % len(self._draws)]
        if spot.broken:
            mended = u[0] < h.mend
            return Proposal(Spot(spot.bits, spot.places, spot.value, spot.key ^ 1, not mended), (), (), 0, 0.0)
        ideas: tuple[int, ...] = ()
        modules: tuple[int, ...] = ()
        begun = [v for v, place in enumerate(spot.places) if 0 < place < len(self._ground.modules[v].heights) - 1]
        entry = h.entry_invest if kind is ExpansionKind.INVEST else h.entry
        after = spot
        if begun and u[0] < h.follow:
            modules = (begun[int(u[1] * len(begun))],)
        elif (
            self._ground.modules and u[2] < entry and (fresh := [v for v, place in enumerate(spot.places) if not place])
        ):
            modules = (fresh[int(u[3] * len(fresh))],)
        elif u[4] < h.revert and (reverted := self._reverted(spot, u[5])) is not None:
            return self._finish(spot, reverted, (), (), u)
        else:
            ideas = (self._draw(spot, u[6]),)
        after = self._made(after, ideas, modules)
        if u[7] < h.double:
            again = modules and u[8] < 2 * h.follow and after.places[modules[0]] < self._last(modules[0])
            more_ideas = () if again else (self._draw(after, u[9]),)
            after = self._made(after, more_ideas, modules if again else ())
            ideas += more_ideas
        return self._finish(spot, after, ideas, modules, u)

    def merge(self, experiment: int, spot: Spot, patches: list[tuple[Spot, Spot]]) -> Proposal:
        """What several patches (before, after) become on another program; what does not fit breaks it."""
        u, after, ideas, modules = self._draws[experiment % len(self._draws)], spot, [], []
        for number, (before, patched) in enumerate(patches):
            for idea in np.flatnonzero(before.bits != patched.bits).tolist():
                if after.bits[idea] != patched.bits[idea]:
                    after = self._ground.flip(after, idea)
                    ideas.append(idea)
            for v, (was, place) in enumerate(zip(before.places, patched.places, strict=True)):
                if was != place and after.places[v] != place:
                    after = self._ground.step(after, v, place - after.places[v])
                    modules.append(v)
            if u[number % _DRAWS] < self._habits.conflict / 4:  # a cascade of four ways to merge, the coder the last
                after = Spot(after.bits, after.places, after.value, after.key, True)
        return Proposal(after, tuple(ideas), tuple(modules), 0, 0.0)

    def begin(self, proposal: Proposal) -> None:
        """The proposal is being tried."""
        for idea in proposal.ideas:
            self._flying[idea] = self._flying.get(idea, 0) + 1
            self._weigh(idea)

    def learn(self, proposal: Proposal, *, improved: bool) -> None:
        """What came of it, seen against its parent."""
        for idea in proposal.ideas:
            self._flying[idea] -= 1
            self._memory[idea] = self._habits.succeeded if improved else self._habits.failed
            self._weigh(idea)

    def _weigh(self, idea: int) -> None:
        flying = self._habits.in_flight if self._flying.get(idea) else 1.0
        self._weight[idea] = self._base[idea] * self._memory.get(idea, 1.0) * flying

    def _draw(self, spot: Spot, u: float) -> int:
        total = np.cumsum(self._weight * self._ground.available(spot))
        return min(int(np.searchsorted(total, u * total[-1], side="right")), len(total) - 1)

    def _last(self, module: int) -> int:
        return len(self._ground.modules[module].heights) - 1

    def _made(self, spot: Spot, ideas: tuple[int, ...], modules: tuple[int, ...]) -> Spot:
        for idea in ideas:
            spot = self._ground.flip(spot, idea)
        for module in modules:
            spot = self._ground.step(spot, module, 1)
        return spot

    def _reverted(self, spot: Spot, u: float) -> Spot | None:
        inside = np.flatnonzero(spot.bits).tolist() + [-v - 1 for v, place in enumerate(spot.places) if place]
        if not inside:
            return None
        pick = inside[int(u * len(inside))]
        return (
            self._ground.step(spot, -pick - 1, -spot.places[-pick - 1]) if pick < 0 else self._ground.flip(spot, pick)
        )

    def _finish(
        self, before: Spot, after: Spot, ideas: tuple[int, ...], modules: tuple[int, ...], u: list[float]
    ) -> Proposal:
        h = self._habits
        if u[10] < (h.crash_structural if modules else h.crash):
            after = Spot(after.bits, after.places, after.value, after.key, True)
        flagged, dip = 0, 0.0
        if modules:
            module = self._ground.modules[modules[0]]
            place = after.places[modules[0]]
            if place <= module.down and u[11] < (h.flag_valley if module.pays else h.flag_decoy):
                flagged, dip = 2 * (self._last(modules[0]) - place) + 2, max(module.heights[place], 0.1)
        elif after.value > before.value and u[11] < h.flag_bad:
            flagged, dip = 6, 2.0
        return Proposal(after, ideas, modules, flagged, dip)


def _normal(p: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri  # type: ignore[import-untyped]

    return np.asarray(ndtri(p))
