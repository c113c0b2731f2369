"""The cards of one campaign: leased at its start, empty before and after each trial, watched while one trains."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from ...search.errors import WrongUse
from ...search.model import Failure, FailureKind
from .calibration import SLOW, Calibration, calibrate
from .driver import Card, Driver, DriverError, Resident
from .lease import Lease, default_folder, take
from .sampling import Sampler, owner_check

EMPTY_MB = 1500.0
"""Memory in use on a card that nobody computes on: the driver's own, and a desktop's windows."""

PATIENCE_SECONDS = 120.0
"""How long a trial waits for its card to be empty."""

Calibrate = Callable[[str], Awaitable[Calibration | str]]


def visible(cards: tuple[Card, ...], environment: Mapping[str, str]) -> tuple[Card, ...]:
    """The cards that CUDA_VISIBLE_DEVICES names, by number or UUID, in its order; all without it. Raises WrongUse."""
    said = environment.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return cards
    chosen = []
    for name in filter(None, (part.strip() for part in said.split(","))):
        if name.startswith("-"):  # CUDA stops there
            break
        found = [
            card for i, card in enumerate(cards) if name == str(i) or (len(name) > 4 and card.uuid.startswith(name))
        ]
        if len(found) != 1:
            known = ", ".join(f"{i} ({card.uuid})" for i, card in enumerate(cards))
            raise WrongUse(f"CUDA_VISIBLE_DEVICES = {said}: {name!r} is none of this machine's cards: {known}")
        chosen += found
    return tuple(chosen)


class Keeper:
    """Cards for the slots of a campaign. driver: None on machines without cards: then there is nothing to keep."""

    def __init__(
        self,
        driver: Driver | None,
        *,
        workspace: Path,
        say: Callable[[str], None],
        leases: Path | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        measure: Calibrate | None = None,
    ) -> None:
        self._driver = driver
        self._workspace = workspace
        self._say = say
        self._folder = leases or default_folder()
        self._pause = pause
        self._measure = measure or self._calibrated
        self._leases: list[Lease] = []
        self._trials: dict[str, int] = {}  # begun since the start, by card
        self._best: dict[str, Calibration] = {}
        self._speed: dict[str, float] = {}  # at the last measurement, as a share of the best

    def open(self, slots: int, environment: Mapping[str, str]) -> list[Card]:
        """One card for each slot; none where there are none. Raises WrongUse."""
        if self._driver is None:
            return []
        try:
            cards = visible(self._driver.cards(), environment)
        except DriverError as error:
            self._say(f"cards are not watched: {error}")
            return []
        if not cards:
            return []
        self._leases = take(cards, slots, holder=str(self._workspace), folder=self._folder)
        return self.leased

    def close(self) -> None:
        """Give the cards back."""
        while self._leases:
            self._leases.pop().end()

    @property
    def leased(self) -> list[Card]:
        """The cards that are ours."""
        return [lease.card for lease in self._leases]

    def card(self, uuid: str) -> Card | None:
        """The leased card of that UUID."""
        return next((card for card in self.leased if card.uuid == uuid), None)

    def speed(self, uuid: str) -> float | None:
        """At the last calibration, as a share of the card's best; None if there was none."""
        return self._speed.get(uuid)

    def due(self, uuid: str, *, calibrate_every: int) -> bool:
        """Whether the card is measured before its next trial, which takes it to itself."""
        return calibrate_every > 0 and self._trials.get(uuid, 0) % calibrate_every == 0

    def begun(self, uuid: str) -> None:
        """Count a trial."""
        self._trials[uuid] = self._trials.get(uuid, 0) + 1

    async def ready(self, uuid: str, *, calibrate_every: int) -> Failure | None:
        """Wait until nobody computes on the card, and measure it when its turn has come. A Failure of kind starved if
        it does not get empty."""
        busy = await self.empty(uuid)
        if busy is not None:
            return Failure(kind=FailureKind.STARVED, message=f"its card was not free: {busy}")
        if self.due(uuid, calibrate_every=calibrate_every):
            await self._check_speed(uuid)
        self.begun(uuid)
        return None

    def busy(self, uuid: str) -> str | None:
        """Who or what is on the card now, in words; None if nobody."""
        assert self._driver is not None
        try:
            residents, used = self._driver.residents(uuid), self._driver.reading(uuid).memory_mb
        except DriverError:
            return None  # then nobody can say, and the trial's own error will
        if residents:
            return ", ".join(f"pid {r.pid} has {r.memory_mb:,.0f} MB of it" for r in residents[:4])
        return f"{used:,.0f} MB of it are in use" if used > EMPTY_MB else None

    async def empty(self, uuid: str) -> str | None:
        """Wait for the card to be empty; who or what is still on it after all patience, None if nobody."""
        waited, told = 0.0, False
        while (busy := self.busy(uuid)) is not None and waited < PATIENCE_SECONDS:
            if waited >= 5.0 and not told:
                told = True
                self._say(f"waiting for card {uuid}: {busy}")
            step = 0.2 if waited < 2.0 else 1.0  # what has just ended lets go within a second
            await self._pause(step)
            waited += step
        return busy

    @contextlib.asynccontextmanager
    async def watched(self, uuid: str, mark: tuple[str, str]) -> AsyncIterator[Sampler | None]:
        """Sample the card meanwhile. mark: a variable in the environment of the run's processes, and its value."""
        if self._driver is None or not uuid:
            yield None
            return
        before = self._residents(uuid)
        sampler = Sampler(self._driver, uuid, is_ours=owner_check("=".join(mark).encode(), before))
        following = asyncio.create_task(sampler.follow(self._pause))
        try:
            yield sampler
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    # -- how ------------------------------------------------------------------------------------------------------

    def _residents(self, uuid: str) -> tuple[Resident, ...]:
        assert self._driver is not None
        try:
            return self._driver.residents(uuid)
        except DriverError:
            return ()

    async def _check_speed(self, uuid: str) -> None:
        measured = await self._measure(uuid)
        if isinstance(measured, str):
            self._say(f"card {uuid} could not be calibrated: {measured}")
            return
        best = self._best.get(uuid, measured)
        share = measured.share_of(best)
        if share < SLOW:  # it may only be hot
            await self._pause(30.0)
            again = await self._measure(uuid)
            measured = again.better(measured) if isinstance(again, Calibration) else measured
            share = measured.share_of(best)
        self._best[uuid] = best.better(measured)
        self._speed[uuid] = share
        if share < SLOW:
            self._say(
                f"card {uuid} runs at {share:.1%} of its best ({measured.tflops:.0f} TFLOP/s, "
                f"{measured.copy_gb_per_second:,.0f} GB/s): scores from now on are worse for that"
            )

    async def _calibrated(self, uuid: str) -> Calibration | str:
        folder = self._workspace / ".ratchetree" / "trials" / f"calibration-{uuid}"
        await asyncio.to_thread(lambda: folder.mkdir(parents=True, exist_ok=True))
        return await calibrate(uuid, folder, workspace=self._workspace)
