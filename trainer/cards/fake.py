"""A driver library without cards behind it: what they show is what one puts there. For tests and rehearsals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .driver import Card, DriverError, Reading, Resident

CALM = Reading(
    clock_mhz=1980, top_clock_mhz=1980, power_watts=600, temperature_c=60, busy=1.0, memory_mb=0.0, slowed=frozenset()
)


def fake_card(number: int, name: str = "NVIDIA H100 80GB HBM3") -> Card:
    """A card with a name of its own."""
    return Card(uuid=f"GPU-{number:08d}", name=name, device=f"/dev/nvidia{number}", memory_mb=81559.0)


@dataclass(slots=True, kw_only=True)
class FakeDriver:
    """Implements Driver. readings and on: by UUID; what is called each time may change them."""

    present: tuple[Card, ...] = (fake_card(0),)
    readings: dict[str, Reading] = field(default_factory=dict)
    on: dict[str, tuple[Resident, ...]] = field(default_factory=dict)
    each_time: Callable[[FakeDriver], None] = lambda driver: None
    broken: str = ""  # why it does not answer
    asked: int = 0

    def cards(self) -> tuple[Card, ...]:
        """Those present."""
        self._asking()
        return self.present

    def reading(self, uuid: str) -> Reading:
        """What was put there, else a card at its best."""
        self._asking()
        return self.readings.get(uuid, CALM)

    def residents(self, uuid: str) -> tuple[Resident, ...]:
        """Who was put there."""
        self._asking()
        return self.on.get(uuid, ())

    def _asking(self) -> None:
        self.asked += 1
        self.each_time(self)
        if self.broken:
            raise DriverError(self.broken)
