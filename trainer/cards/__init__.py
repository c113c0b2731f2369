"""Graphics cards: who has one, what it does while a trial runs on it, and what its numbers may be compared with.

A trial on a card is worth nothing if the card was shared, hot or slow. `driver.py` is the seam to the vendor's library,
`nvidia.py` and `fake.py` are behind it; `keeper.py` puts the rest together for the trainer. Nothing here imports torch.
"""

from __future__ import annotations

from .driver import Card, Driver, DriverError, Reading, Resident
from .keeper import Keeper

__all__ = ["Card", "Driver", "DriverError", "Keeper", "Reading", "Resident"]
