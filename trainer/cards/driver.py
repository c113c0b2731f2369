"""The words for cards, and the seam: what is asked of a vendor's driver library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class DriverError(Exception):
    """The driver library does not answer; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card of this machine."""

    uuid: str  # what stays the same when cards are added or a container sees only some
    name: str  # NVIDIA H100 80GB HBM3
    device: str  # its device file; empty = not known
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a card does right now."""

    clock_mhz: float  # of its multiprocessors,
    top_clock_mhz: float  # and what they reach at best
    power_watts: float
    temperature_c: float
    busy: float  # share of the last moment in which something ran on it
    memory_mb: float  # in use, without what the driver keeps for itself
    slowed: frozenset[str] = frozenset()  # why it does not clock higher: power, heat, brake, hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A process that holds memory on a card."""

    pid: int  # as the driver sees it, which in a container may be nobody's here
    memory_mb: float


class Driver(Protocol):
    """A vendor's driver library. Every method raises DriverError."""

    def cards(self) -> tuple[Card, ...]:
        """All cards of the machine, in the driver's order."""

    def reading(self, uuid: str) -> Reading:
        """What a card does now."""

    def residents(self, uuid: str) -> tuple[Resident, ...]:
        """Who computes on a card now."""
