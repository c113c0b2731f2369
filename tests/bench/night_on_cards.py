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
    idle: float = 0.0  # card seconds in which nothing happened there
    own: float = 0.0  # CPU seconds of ratchetree itself


@dataclass(order=True, slots=True)
class Event:
    """Something that happens at a time."""

    at: float
    turn: int
    what: str = field(compare=False)  # patch: an experiment has one; ready; trained: on a card; scored
    left: int = field(compare=False, default=0)  # trials that the experiment still wants
    card: int = field(compare=False, default=0)


class Card:
    """When a card is whose. What begins may lie ahead."""

    def __init__(self) -> None:
        self.left_at = 0.0  # when its last trial ended
        self.scored_at = 0.0  # when that one's scoring has ended

    def begin(self, now: float, startup: float, *, calibrated: bool, overlap: bool) -> tuple[float, float]:
        """(seconds that the card did nothing before, when training ends) for a trial that begins now."""
        alone = max(now, self.scored_at) + CALIBRATION_SECONDS * calibrated
        begun = now if overlap and not calibrated else alone
        idle = max(0.0, now - max(self.left_at, self.scored_at))
        self.left_at = max(begun + BETWEEN_SECONDS + startup, self.scored_at) + TRAIN_SECONDS
        self.scored_at = self.left_at + SCORING_SECONDS
        return idle, self.left_at


def lost_seconds(*, smoke_on_card: bool, overlap: bool) -> dict[str, float]:
    """Card time around one trial that is not training, by what it goes to."""
    per_trial = 1 + CONFIRMED_SHARE * CONFIRMING_TRIALS
    beside = min(SCORING_SECONDS, STARTUP_SECONDS + BETWEEN_SECONDS) * (1 - 1 / CALIBRATE_EVERY) if overlap else 0.0
    return {
        "start-up": STARTUP_SECONDS,
        "scoring beyond the next start-up" if overlap else "scoring": SCORING_SECONDS - beside,
        "between": BETWEEN_SECONDS,
        "calibration": CALIBRATION_SECONDS / CALIBRATE_EVERY,
        "smoke run": SMOKE_SECONDS / per_trial if smoke_on_card else 0.0,
    }


def simulate(cards: int, hours: float, seed: int, *, overlap: bool) -> Night:
    """The night, event by event."""
    rng, end, night = random.Random(seed), hours * 3600, Night(cards=cards)
    table = {"agents": {"planner": {"backend": "claude"}, "coder": {"backend": "claude"}}, "trainer": {"slots": cards}}
    turn, free, all_cards = itertools.count(), list(range(cards)), [Card() for _ in range(cards)]
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
        elif event.what == "trained":
            night.trials += 1
            free.append(event.card)
            heapq.heappush(events, Event(now + SCORING_SECONDS, next(turn), "scored", event.left))
        else:
            if event.left:
                heapq.heappush(waiting, (0, next(turn), event.left))
            else:
                night.experiments += 1
                ask(now)
        while free and waiting:
            _, _, left = heapq.heappop(waiting)
            card, begun = free.pop(), night.trials + cards - len(free)
            startup = COLD_STARTUP_SECONDS if begun == 1 else STARTUP_SECONDS
            calibrated = begun % CALIBRATE_EVERY == 0
            idle, trained_at = all_cards[card].begin(now, startup, calibrated=calibrated, overlap=overlap)
            night.idle += idle
            night.trained += min(TRAIN_SECONDS, max(0.0, end - (trained_at - TRAIN_SECONDS)))
            heapq.heappush(events, Event(trained_at, next(turn), "trained", left - 1, card))
    return night


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--cards", default="1,8,64")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for smoke_on_card, overlap in ((True, False), (False, False), (False, True)):
        lost = lost_seconds(smoke_on_card=smoke_on_card, overlap=overlap)
        total = sum(lost.values())
        where = "on the card" if smoke_on_card else "on the CPU"
        how = ", a trial starts while the last one is scored" if overlap else ""
        parts = ", ".join(f"{name} {s:.1f}" for name, s in lost.items())
        print(f"smoke runs {where}{how}: card seconds lost for each trial: {parts}")
        print(f"together {total:.0f} beside {TRAIN_SECONDS:.0f}: at most {300 / (300 + total):.1%} training")
    print(
        f"\n{options.hours:g} simulated hours, smoke runs on the CPU, 20 nights each; list prices {PRICES_OF}: {PRICES}"
    )
    print("overlap   cards   trials/h   experiments/h   training    idle   own CPU   dollars a trial, in prices' order")
    for overlap, cards in itertools.product((False, True), map(int, options.cards.split(","))):
        nights = [simulate(cards, options.hours, options.seed + i, overlap=overlap) for i in range(20)]
        trials = statistics.fmean(night.trials for night in nights) / options.hours
        experiments = statistics.fmean(night.experiments for night in nights) / options.hours
        seconds = options.hours * 3600
        training = statistics.fmean(night.trained for night in nights) / (cards * seconds)
        idle = statistics.fmean(night.idle for night in nights) / (cards * seconds)
        own = statistics.fmean(night.own for night in nights) / seconds
        models = DOLLARS_PER_EXPERIMENT * experiments / trials
        prices = ", ".join(f"{price * cards / trials + models:.2f}" for price in PRICES.values())
        how = "yes" if overlap else "no"
        rates = f"{trials:8.1f}   {experiments:13.1f}   {training:8.1%}   {idle:5.1%}   {own:7.1%}"
        print(f"{how:7s}   {cards:5d}   {rates}   {prices}")


if __name__ == "__main__":
    main()
