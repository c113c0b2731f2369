"""Objectives with a known answer, and one literal registry of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from ..errors import WrongUse
from . import gpt_cpu
from .families import FAMILIES
from .ground import Landscape
from .nk import NK
from .recorded import recorded
from .traps import Traps

LANDSCAPES: dict[str, tuple[str, Callable[[int], Landscape]]] = {
    **{name: (family.says, family.draw) for name, family in FAMILIES.items()},
    "nk": ("Kauffman's NK with n = 120, k = 4", lambda seed: NK(seed=seed)),
    "gpt-cpu": (
        "real training on the gpt-cpu task: single edits and pairs, recorded once",
        lambda seed: recorded(gpt_cpu.ROOT, gpt_cpu.SINGLES, gpt_cpu.PAIRS, seed=seed),
    ),
    "traps": ("twelve deceptive blocks of four switches beside additive ideas", lambda seed: Traps(seed=seed)),
}
"""By name: what it is, and the landscape of a seed."""


def landscape_names(given: str) -> tuple[str, ...]:
    """Names from a comma-separated list; `all` = the six fitted families; WrongUse names what is allowed."""
    names = (
        tuple(FAMILIES) if given == "all" else tuple(dict.fromkeys(n.strip() for n in given.split(",") if n.strip()))
    )
    for name in names or ("",):
        if name not in LANDSCAPES:
            near = difflib.get_close_matches(name, LANDSCAPES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise WrongUse(f"--landscape {name!r} is not known; {hint}allowed: all, {', '.join(LANDSCAPES)}")
    return names
