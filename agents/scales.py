"""How numbers of different meaning move: each scale knows its bounds and a number's neighbours. Pure arithmetic.

Neighbours lie on fixed grids, so that the same value is reached from different sides and memory can recognise it:
what was tried as `LR = 0.025` on one node is the same idea on another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

Number = int | float

PREFERRED = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0)
"""Ten steps to the decade (ISO 3, R10): neighbours differ by about 25 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """The other numbers of the same model that a number must fit; None where the file has none."""

    width: int | None = None
    heads: int | None = None
    key_heads: int | None = None
    head_dim: int | None = None
    shares: float = 0.0  # taken up by the other parts of the schedule


class Scale(Protocol):
    """Where a number may go."""

    def around(self, value: Number, company: Company) -> list[Number]:
        """Neighbours, ascending, without the value itself; all of them allowed."""

    def allows(self, value: Number, company: Company) -> bool:
        """Whether the value is sane."""


@dataclass(frozen=True, slots=True)
class Log:
    """Positive numbers that count by ratio: learning rates, decay, scales."""

    low: float
    high: float
    factors: tuple[float, ...] = (0.5, 0.63, 0.8, 1.25, 1.6, 2.0)

    def around(self, value: Number, company: Company) -> list[Number]:
        """Preferred numbers near value x factor; whole numbers stay whole."""
        if value <= 0:
            return []
        found: set[Number] = set()
        for factor in self.factors:
            near: Number = preferred(value * factor)
            if isinstance(value, int):
                near = round(near)
            if near > 0 and abs(math.log(near / value)) > 0.09 and self.allows(near, company):
                found.add(near)
        return sorted(found)

    def allows(self, value: Number, company: Company) -> bool:
        """Inside the bounds."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class NearOne:
    """Shares that count by their distance from 1: betas and momenta, where 0.95 → 0.975 halves it."""

    low: float
    high: float

    def around(self, value: Number, company: Company) -> list[Number]:
        """1 - value moves like a ratio."""
        if not 0 < value < 1:
            return []
        steps = Log(1e-6, 1.0).around(1 - value, company)
        found = {round(1 - step, 6) for step in steps}
        return sorted(v for v in found if self.allows(v, company) and v != value)

    def allows(self, value: Number, company: Company) -> bool:
        """Inside the bounds."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers from a short list of sensible values, ascending."""

    values: tuple[Number, ...]
    reach: int = 2  # how many to each side

    def around(self, value: Number, company: Company) -> list[Number]:
        """The next few to both sides; whole numbers stay whole."""
        grid = [v for v in self.values if self.allows(v, company) and (not isinstance(value, int) or v == int(v))]
        below = [v for v in grid if v < value and not math.isclose(v, value)]
        above = [v for v in grid if v > value and not math.isclose(v, value)]
        found = below[-self.reach :] + above[: self.reach]
        return [int(v) for v in found] if isinstance(value, int) else [float(v) for v in found]

    def allows(self, value: Number, company: Company) -> bool:
        """Between the list's ends."""
        return self.values[0] <= value <= self.values[-1]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the schedule in [0, 1] that shares the whole with others (warm-up and warm-down)."""

    grid: Grid

    def around(self, value: Number, company: Company) -> list[Number]:
        """The next few to both sides that leave room for the others."""
        return [v for v in self.grid.around(float(value), company) if self.allows(v, company)]

    def allows(self, value: Number, company: Company) -> bool:
        """Inside [0, 1] together with the others."""
        return 0 <= value <= 1 and value + company.shares <= 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Whole:
    """Small whole numbers: layers, steps of an iteration."""

    low: int
    high: int
    steps: tuple[int, ...] = (-2, -1, 1, 2)

    def around(self, value: Number, company: Company) -> list[Number]:
        """One or two more or less."""
        return [int(value) + s for s in self.steps if self.allows(int(value) + s, company)]

    def allows(self, value: Number, company: Company) -> bool:
        """A whole number inside the bounds."""
        return value == int(value) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Doubling:
    """Powers of two: batch sizes, sequence lengths."""

    low: int
    high: int
    reach: int = 1  # doublings to each side

    def around(self, value: Number, company: Company) -> list[Number]:
        """The next powers of two."""
        if value < 1:
            return []
        exponent = math.log2(value)
        down, up = math.ceil(exponent) - 1, math.floor(exponent) + 1
        powers = [2**e for e in [*range(down, down - self.reach, -1), *range(up, up + self.reach)] if e >= 0]
        return sorted(p for p in powers if self.allows(p, company))

    def allows(self, value: Number, company: Company) -> bool:
        """A power of two inside the bounds."""
        return value == int(value) and self.low <= value <= self.high and int(value).bit_count() == 1


@dataclass(frozen=True, slots=True)
class Width:
    """Widths: a whole number of heads, each a multiple of 8 channels, as fast kernels and rotary pairs want it."""

    low: int = 16
    high: int = 16384
    by_heads: bool = True
    factors: tuple[float, ...] = (0.67, 0.8, 1.25, 1.5)

    def around(self, value: Number, company: Company) -> list[Number]:
        """Multiples of the unit near value x factor."""
        unit = self._unit(company)
        found = {round(value * factor / unit) * unit for factor in self.factors}
        return sorted(v for v in found if v != value and self.allows(v, company))

    def allows(self, value: Number, company: Company) -> bool:
        """Inside the bounds, divisible, and no head larger than 256 channels."""
        heads = company.heads if self.by_heads and company.heads else math.inf
        return self.low <= value <= self.high and value % self._unit(company) == 0 and value <= 256 * heads

    def _unit(self, company: Company) -> int:
        return math.lcm(8 * (company.heads or 1), company.head_dim or 1) if self.by_heads else 8


@dataclass(frozen=True, slots=True)
class Heads:
    """Numbers of heads: divisors of the width whose heads have a multiple of 8 channels, 256 at most."""

    of_heads: bool = False  # key/value heads: divisors of the number of heads instead

    def around(self, value: Number, company: Company) -> list[Number]:
        """The next divisors to both sides; without a known width, only divisors of the present number are safe."""
        top = (company.heads if self.of_heads else company.width) or int(value)
        divisors = [d for d in range(1, min(top, 512) + 1) if d != value and self.allows(d, company)]
        if top == value:
            divisors = [d for d in divisors if value % d == 0]
        below, above = [d for d in divisors if d < value], [d for d in divisors if d > value]
        return [*below[-2:], *above[:2]]

    def allows(self, value: Number, company: Company) -> bool:
        """Everything divides."""
        if value != int(value) or value < 1:
            return False
        if self.of_heads:
            return company.heads is None or company.heads % value == 0
        if company.key_heads and value % company.key_heads:
            return False
        if company.width is None:
            return True
        size = company.width / value
        return size % 8 == 0 and 8 <= size <= 256


def preferred(value: float) -> float:
    """The preferred number nearest to a positive value by ratio, written with few digits."""
    tenths = round(10 * math.log10(value))
    decade, index = divmod(tenths, 10)
    return float(f"{PREFERRED[index]}e{decade}")


def number_text(value: Number) -> str:
    """A number as one writes it in code: `0.025`, `1e-8`, `3`."""
    if isinstance(value, int):
        return str(value)
    text = repr(value)
    if "e" not in text:
        return text
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}"
