"""The shelf of policies: a file each, and one literal registry that the command line, the tests and the docs read."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from ..errors import WrongUse
from ..ports import Policy
from .beam import Beam
from .best_first import BestFirst
from .random import Random
from .ratchet import Ratchet

POLICIES: dict[str, type[Policy]] = {
    "ratchet": Ratchet,
    "beam": Beam,
    "best-first": BestFirst,
    "random": Random,
}


_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def make_policy(name: str, parameters: dict[str, Any]) -> Policy:
    """A policy by its registered name, with parameters from the user's file; WrongUse names what is allowed."""
    if name not in POLICIES:
        raise WrongUse(f"policy {name!r} is not known; allowed: {', '.join(POLICIES)}")
    cls = POLICIES[name]
    allowed = {field.name: str(field.type) for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key, value in parameters.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            has = f"allowed: {', '.join(allowed)}" if allowed else "it has no parameters"
            raise WrongUse(f"search.{name}.{key} = {value!r} is not known; {hint}{has}")
        kind = allowed[key]
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise WrongUse(f"search.{name}.{key} = {value!r}: must be of type {kind}")
    try:
        return cls(**parameters)
    except ValueError as error:
        raise WrongUse(f"search.{name}: {error}") from error
