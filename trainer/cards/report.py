"""What `ratchetree doctor` says of the cards: each one's name, peak, holder and what runs on it now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .driver import Card, Driver, DriverError
from .keeper import EMPTY_MB
from .lease import default_folder, held_by
from .peaks import peak_tflops
from .sampling import VOIDING


def report_cards(driver: Driver | None, *, seen: str, leases: Path | None = None) -> Iterator[tuple[bool, str]]:
    """(usable now, one line) for each card. seen: cards that the vendor's own tool names."""
    if driver is None:
        if seen:
            yield False, "not watched or leased: nvidia-ml-py is not installed (pip install 'ratchetree[gpu]')"
        return
    try:
        for card in driver.cards():
            yield _line(driver, card, leases or default_folder())
    except DriverError as error:
        yield False, str(error)


def _line(driver: Driver, card: Card, leases: Path) -> tuple[bool, str]:
    reading, residents = driver.reading(card.uuid), driver.residents(card.uuid)
    peak = peak_tflops(card.name)
    words = [
        f"{card.name}, {card.memory_mb / 1024:.0f} GB, {card.uuid}",
        f"peak {peak:.0f} TFLOP/s" if peak else "no peak in the table, so no MFU",
        f"{reading.temperature_c:.0f} °C",
    ]
    troubles = [f"slowed by {reason}" for reason in sorted(reading.slowed) if reason in VOIDING]
    if (holder := held_by(card, leases)) is not None:
        troubles.append(f"held by {holder}")
    elif residents:
        troubles.append("in use by pid " + ", ".join(str(r.pid) for r in residents))
    elif reading.memory_mb > EMPTY_MB:
        troubles.append(f"{reading.memory_mb:,.0f} MB are in use")
    return not troubles, "; ".join([", ".join(words), *troubles])
