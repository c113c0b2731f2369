"""How many simulated campaigns the lab plays in a minute, for each policy.

    python tests/bench/lab.py [--policies all] [--evaluations 200] [--seconds 8] [--jobs 2]

Campaigns are played on the six fitted landscapes in turn, as `ratchetree compare` does, for at least so many seconds
after the first one is done. The bars: 2,000 a minute for the ratchet, 500 for the slowest, on two cores.
"""

from __future__ import annotations

import argparse
import time

from ratchetree.comparing import all_cores
from ratchetree.search.lab.comparison import Design
from ratchetree.search.landscapes import landscape_names
from ratchetree.search.policies import policy_names
from ratchetree.search.pool import play_all


def campaigns_a_minute(policy: str, *, evaluations: int, seconds: float, jobs: int) -> float:
    """Whole campaigns, from the first one that is done to the last."""
    design = Design(
        policies=(policy,),
        landscapes=landscape_names("all"),
        evaluations=(evaluations,),
        seeds=10**6,
        ratchet="default",
    )
    begun, played = 0.0, -1
    for _ in play_all(design, jobs):
        played += 1
        begun = begun or time.perf_counter()
        if time.perf_counter() - begun > seconds and played:
            break
    return 60 * played / (time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", default="all")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--jobs", type=int, default=all_cores())
    options = parser.parse_args()
    print(f"{'policy':<18}campaigns of {options.evaluations} trials a minute, {options.jobs} processes")
    for name in policy_names(options.policies):
        rate = campaigns_a_minute(name, evaluations=options.evaluations, seconds=options.seconds, jobs=options.jobs)
        print(f"{name:<18}{rate:10,.0f}", flush=True)


if __name__ == "__main__":
    main()
