"""What models cost: a dated table that users can override in `[agents.prices]`. An unknown model has no price."""

from __future__ import annotations

from dataclasses import dataclass

from ..search.settings import PriceSettings

DATE = "2026-11"
"""When the table was last compared with the public list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars per million tokens."""

    input: float
    output: float
    cache_write_5m: float  # kept for five minutes
    cache_write_1h: float
    cache_read: float
    long_above: int | None = None  # prompts of more tokens than this cost `long_factor` times as much
    long_factor: float = 1.0

    def dollars(self, *, input: int, output: int, write_5m: int = 0, write_1h: int = 0, read: int = 0) -> float:
        """Of one call, by tokens of each kind; to a billionth of a dollar."""
        factor = self.long_factor if self.long_above and input + write_5m + write_1h + read > self.long_above else 1.0
        total = input * self.input + output * self.output + read * self.cache_read
        total += write_5m * self.cache_write_5m + write_1h * self.cache_write_1h
        return round(factor * total / 1e6, 9)


def _list_price(input: float, output: float, *, long_above: int | None = None, long_factor: float = 1.0) -> Price:
    """Caching by the list: writing 1.25 times the input price (5 minutes) or twice (1 hour), reading a tenth."""
    return Price(
        input=input,
        output=output,
        cache_write_5m=1.25 * input,
        cache_write_1h=2 * input,
        cache_read=0.1 * input,
        long_above=long_above,
        long_factor=long_factor,
    )


PRICES = {
    "claude-opus-5-5": _list_price(4.0, 20.0),
    "claude-sonnet-5-5": _list_price(2.0, 10.0),
    "claude-haiku-5-5": _list_price(0.10, 0.50, long_above=100_000, long_factor=5.0),
}


def price_of(model: str, overrides: dict[str, PriceSettings]) -> Price | None:
    """The user's price, else the table's; None if neither knows the model."""
    own = overrides.get(model)
    if own is None:
        return PRICES.get(model)
    write = 2 * own.input if own.cache_write is None else own.cache_write
    read = 0.1 * own.input if own.cache_read is None else own.cache_read
    return Price(input=own.input, output=own.output, cache_write_5m=write, cache_write_1h=write, cache_read=read)
