"""A night on cards, on paper and in simulation: trials per hour, share of card time spent training, cost of a trial.

    python tests/bench/night_on_cards.py [--hours 10] [--cards 1,8,64] [--seed 1]

On paper: what one card loses around each trial. In simulation: one process of ratchetree for all cards, with the
campaign's own rule for how much is in flight (`Settings.in_flight`), replies of models that take their time, a queue in
which scoring and confirming go first, and the CPU time that the process itself needs. Events only: no time passes.

Every number says where it comes from. Those marked "assumed" were not measured on a card: put in what `gpu.md` beside
this file has once it was.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import statistics
from dataclasses import dataclass, field

from ratchetree.search.settings import settings_from

TRAIN_SECONDS = 300.0
STARTUP_SECONDS = 15.0  # compiled_start.py: torch 2, tracing and loading 6; assumed: CUDA 3, Muon 1, warm-up 1, data 2
COLD_STARTUP_SECONDS = 90.0  # assumed: the root's, which compiles everything
SCORING_SECONDS = 10.0  # on paper, gpu.md beside this file: 2.1 M tokens through shared memory
BETWEEN_SECONDS = 0.3  # measured: laying out a tree, a sandbox, a supervisor, two looks at the card
SMOKE_SECONDS = 22.0  # assumed: a start-up, two batches, a save and its check, where it is done on the card
CALIBRATION_SECONDS = 8.0  # two of measuring, six of starting torch (assumed)
CALIBRATE_EVERY = 10
CONFIRMED_SHARE = 0.2  # of the experiments that pass the screen and get further trials: 23 of 125 in exp/H100/mar8
CONFIRMING_TRIALS = 2  # on average: hopeless ones stop early
REPLY_SECONDS = (30.0, 120.0)  # planner and coder together, as in agents.py beside this file
OWN_CPU_SECONDS = 0.06  # measured by orchestration.py beside this file: for an experiment, on one core
DOLLARS_PER_EXPERIMENT = 0.0162  # measured by agents.py: for models, with caching

# One card for an hour, on demand, in dollars. Assumed from the order of magnitude of public lists: look yours up.
PRICES_OF = "2026-11"
PRICES = {"H100, specialised cloud": 2.5, "H200, specialised cloud": 3.5, "H100, large cloud": 6.9}


@dataclass(slots=True, kw_only=True)
class Night:
    """What came of the simulated hours."""

    cards: int
    trials: int = 0
    experiments: int = 0
    trained: float = 0.0  # card seconds
    used: float = 0.0  # card seconds, with all that goes around training
    own: float = 0.0  # CPU seconds of ratchetree itself


@dataclass(order=True, slots=True)
class Event:
    """Something that happens at a time."""

    at: float
    turn: int
    what: str = field(compare=False)  # patch: an experiment has one; done: a card is free again
    left: int = field(compare=False, default=0)  # trials that the experiment still wants


def lost_seconds(*, smoke_on_card: bool) -> dict[str, float]:
    """Card time around one trial that is not training, by what it goes to."""
    per_trial = 1 + CONFIRMED_SHARE * CONFIRMING_TRIALS
    return {
        "start-up": STARTUP_SECONDS,
        "scoring": SCORING_SECONDS,
        "between": BETWEEN_SECONDS,
        "calibration": CALIBRATION_SECONDS / CALIBRATE_EVERY,
        "smoke run": SMOKE_SECONDS / per_trial if smoke_on_card else 0.0,
    }


def simulate(cards: int, hours: float, seed: int, *, smoke_on_card: bool) -> Night:
    """The night, event by event."""
    rng, end, night = random.Random(seed), hours * 3600, Night(cards=cards)
    table = {"agents": {"planner": {"backend": "claude"}, "coder": {"backend": "claude"}}, "trainer": {"slots": cards}}
    turn, free = itertools.count(), cards
    events: list[Event] = []
    waiting: list[tuple[int, int, int]] = []  # (priority, turn, trials that are still wanted): a queue for cards

    def ask(now: float) -> None:
        heapq.heappush(events, Event(now + rng.uniform(*REPLY_SECONDS), next(turn), "patch"))

    for _ in range(settings_from(table).in_flight):
        ask(0.0)
    own_free = 0.0  # when ratchetree's one process has time again
    while events and events[0].at < end:
        event = heapq.heappop(events)
        now = event.at
        if event.what == "patch":
            own_free = max(own_free, now) + OWN_CPU_SECONDS
            night.own += OWN_CPU_SECONDS
            confirming = CONFIRMING_TRIALS if rng.random() < CONFIRMED_SHARE else 0
            heapq.heappush(events, Event(own_free, next(turn), "ready", 1 + confirming))
        elif event.what == "ready":
            heapq.heappush(waiting, (1, next(turn), event.left))
        else:
            free += 1
            night.trials += 1
            if event.left:
                heapq.heappush(waiting, (0, next(turn), event.left))
            else:
                night.experiments += 1
                ask(now)
        while free and waiting:
            priority, _, left = heapq.heappop(waiting)
            free -= 1
            begun = night.trials + cards - free
            around = COLD_STARTUP_SECONDS if begun == 1 else STARTUP_SECONDS
            around += SCORING_SECONDS + BETWEEN_SECONDS + CALIBRATION_SECONDS * (begun % CALIBRATE_EVERY == 0)
            around += SMOKE_SECONDS if smoke_on_card and priority == 1 else 0.0
            inside = min(1.0, (end - now) / (around + TRAIN_SECONDS))
            night.used += inside * (around + TRAIN_SECONDS)
            night.trained += inside * TRAIN_SECONDS
            heapq.heappush(events, Event(now + around + TRAIN_SECONDS, next(turn), "done", left - 1))
    return night


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--cards", default="1,8,64")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for smoke_on_card in (True, False):
        lost = lost_seconds(smoke_on_card=smoke_on_card)
        total = sum(lost.values())
        where = "on the card" if smoke_on_card else "on the CPU"
        parts = ", ".join(f"{name} {s:.1f}" for name, s in lost.items())
        print(f"smoke runs {where}: card seconds lost for each trial: {parts}")
        print(f"together {total:.0f} beside {TRAIN_SECONDS:.0f}: at most {300 / (300 + total):.1%} training")
    print(
        f"\n{options.hours:g} simulated hours, smoke runs on the CPU, 20 nights each; list prices {PRICES_OF}: {PRICES}"
    )
    print("cards   trials/h   experiments/h   training    idle   own CPU   dollars a trial, in the prices' order")
    for cards in map(int, options.cards.split(",")):
        nights = [simulate(cards, options.hours, options.seed + i, smoke_on_card=False) for i in range(20)]
        trials = statistics.fmean(night.trials for night in nights) / options.hours
        experiments = statistics.fmean(night.experiments for night in nights) / options.hours
        seconds = options.hours * 3600
        training = statistics.fmean(night.trained for night in nights) / (cards * seconds)
        idle = 1 - statistics.fmean(night.used for night in nights) / (cards * seconds)
        own = statistics.fmean(night.own for night in nights) / seconds
        models = DOLLARS_PER_EXPERIMENT * experiments / trials
        prices = ", ".join(f"{price * cards / trials + models:.2f}" for price in PRICES.values())
        row = f"{cards:5d}   {trials:8.1f}   {experiments:13.1f}   {training:8.1%}   {idle:5.1%}   {own:7.1%}"
        print(f"{row}   {prices}")


if __name__ == "__main__":
    main()
