"""When a trial's machine was taken from it, so that its score says more about the neighbours than about the patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..search.model import Failure, FailureKind
from .processes import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What a trial may lose before it is void, by the kind of its budget. Measured: see tests/bench/README.md."""

    wait: float  # share of its working time that it waited for a CPU
    steal: float  # share of the clock that the host gave to other machines
    speed: float  # of its CPU, as a share of what this machine can do undisturbed


TOLERANCES = {
    "wall": Tolerance(wait=0.05, steal=0.05, speed=0.5),  # virtual machines were seen to change between two speeds,
    "cpu": Tolerance(wait=0.20, steal=0.20, speed=0.5),  # 1 to 1.7, for minutes: that alone must void nothing
}
"""A budget of tokens is not here: it gives the same result however slow the machine is."""

LEAST_SECONDS = 2.0
"""What a shorter run waited says nothing."""


def starved(run: Run, *, kind: str, reference: float, card: Sequence[str] = ()) -> Failure | None:
    """A Failure of kind starved, or None. reference: loops per CPU second of the undisturbed machine; 0 = not known;
    card: what is wrong with what its card did meanwhile, in words."""
    tolerance = TOLERANCES.get(kind)
    if tolerance is None or run.train_seconds < LEAST_SECONDS:
        return None
    speed = run.loops_per_second / reference if reference else 1.0
    found = []
    if run.wait_share > tolerance.wait:
        found.append(f"it waited {run.wait_share:.0%} of its time for a CPU (at most {tolerance.wait:.0%})")
    if run.steal_share > tolerance.steal:
        found.append(f"the host took {run.steal_share:.0%} of the time (at most {tolerance.steal:.0%})")
    if speed < tolerance.speed:
        found.append(f"the CPU ran at {speed:.0%} of its speed (at least {tolerance.speed:.0%})")
    if kind == "wall":
        found += card
    return Failure(kind=FailureKind.STARVED, message="; ".join(found)) if found else None
