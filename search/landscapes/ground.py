"""What every landscape is: programs that can be changed by ideas, with a true value that only the lab knows.

A policy never sees anything of this file. Values are in mbpb (1e-3 bits per byte), relative to the root, lower is
better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spot:
    """One program. Positional and without checks: a lab makes millions of them."""

    bits: Floats  # 1.0 where an idea is in the program
    places: tuple[int, ...]  # how far each module (a multi-step restructuring) has got; 0 = untouched
    value: float  # true, mbpb
    key: int  # equal for equal programs
    broken: bool = False  # does not run


@dataclass(frozen=True, slots=True)
class Module:
    """A restructuring of several steps: it gets worse for `down` steps and better for the rest, or (a decoy) never
    pays."""

    heights: tuple[float, ...]  # true value of the module at place 0, 1, ...; the first is 0
    down: int  # how many of the first steps lose
    pays: bool  # False: a decoy


class Landscape(Protocol):
    """An objective with a known answer."""

    noise: float  # standard deviation between trials of one program
    root: Spot
    modules: tuple[Module, ...]
    worth: Floats  # how good each idea really looks from the root (higher = better): what a belief correlates with

    def available(self, spot: Spot) -> Floats:
        """1.0 for every idea that can be tried on the program, else 0.0."""

    def flip(self, spot: Spot, idea: int) -> Spot:
        """The program with one idea put in (or taken out again)."""

    def step(self, spot: Spot, module: int, by: int) -> Spot:
        """The program with one module moved on (`by` = 1) or taken out (`by` = -place)."""
