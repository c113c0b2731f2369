"""Confinement of model-written code: a ladder of backends behind one Protocol, strongest first."""

from __future__ import annotations

from collections.abc import Mapping

from ...search.errors import WrongUse
from .bubblewrap import TREE, Bubblewrap
from .landlock import Landlock
from .ports import Cell, Confinement, Sandbox
from .probe import first_failure
from .weak import Weak

__all__ = ["BACKENDS", "TREE", "Cell", "Confinement", "Sandbox", "choose"]

BACKENDS: dict[str, Sandbox] = {"bubblewrap": Bubblewrap(), "landlock": Landlock(), "weak": Weak()}
"""Strongest first. `weak` is never chosen by itself."""


def choose(name: str, backends: Mapping[str, Sandbox] = BACKENDS) -> Sandbox:
    """The backend of that name, or with `auto` the strongest that passes its probes. Raises WrongUse."""
    if name == "weak":
        return backends[name]
    reasons = []
    for backend in backends.values() if name == "auto" else [backends[name]]:
        if backend.level == "weak":
            continue
        reason = backend.missing() or first_failure(backend)
        if reason is None:
            return backend
        reasons.append(f"{backend.level}: {reason}")
    raise WrongUse(
        f"no sandbox works here ({'; '.join(reasons)}): install bubblewrap, or accept that patches run with your "
        'rights and say so with trainer.sandbox = "weak"'
    )
