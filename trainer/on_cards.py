"""What the trainer of a machine does about its cards: who has one when, what was compiled for it, what it did.

A card trains one trial at a time. Where `trainer.overlap` allows it, the next trial starts up while the last one is
scored on the same card: it has its slot from its start on, but the card's time (its turn) only with its clock.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from ..search.model import Failure, TrialReport
from ..search.plain_text import without_controls
from ..search.settings import Settings
from .cards import Keeper
from .cards.compiled import Compiled
from .cards.peaks import mfu, told_flops
from .cards.sampling import Sampler, Strain
from .machine import this_machine
from .processes import RUN, Spec
from .runs import trials_folder
from .sandbox import Sandbox
from .sharing import why_not_shared
from .slots import TRAIN, Slot, Slots, share_out


class OnCards:
    """The cards of one trainer; of none where there are none, or none are wanted."""

    def __init__(self, settings: Settings, keeper: Keeper, *, workspace: Path, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._keeper = keeper
        self._workspace = workspace
        self._say = say
        self._compiled: Compiled | None = None
        self.turns: Slots | None = None  # whose work a card does; None: that of who holds the slot

    def lease(self, root: str) -> list[Slot]:
        """A slot with a card for each slot, where training is timed by the clock and there are cards; else none.
        Raises WrongUse."""
        trainer = self._settings.trainer
        wanted = self._settings.budget.kind == "wall" and trainer.cards == "auto"
        cards = self._keeper.open(trainer.slots, os.environ) if wanted else []
        if not cards:
            return []
        shares = zip(share_out(trainer.slots), cards, strict=True)
        slots = [replace(share, card=card.uuid, device=card.device) for share, card in shares]
        if trainer.overlap and self._settings.task.scorer != "printed":
            self.turns = Slots(slots)
        state = self._workspace / ".ratchetree"
        self._compiled = Compiled(state, root=root, card=cards[0].name, torch=this_machine().torch)
        self._compiled.open()
        return slots

    @property
    def readable(self) -> tuple[str, ...]:
        """What trials may read for their cards."""
        return (str(self._compiled.folder),) if self._compiled is not None else ()

    async def can_share(self, sandbox: Sandbox) -> bool:
        """Whether a confined model may leave its answers on the card."""
        if not self._keeper.leased:
            return False
        card = self._keeper.leased[0]
        folder = trials_folder(self._workspace) / f"sharing-{card.uuid}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        readable = self._settings.trainer.readable
        why_not = await why_not_shared(card, sandbox, folder, workspace=self._workspace, readable=readable)
        if why_not is not None:
            self._say(f"logits leave the card when a trial is scored, which takes longer: {why_not}")
        shutil.rmtree(folder, ignore_errors=True)
        return why_not is None

    def close(self) -> None:
        """Give the cards back."""
        self._keeper.close()

    # -- whose card it is -------------------------------------------------------------------------------------------

    def turn(self, slot: Slot, priority: int) -> AbstractAsyncContextManager[object]:
        """The time of a slot's card. Who holds the slot has it, where nobody else may use it meanwhile."""
        return nullcontext() if self.turns is None else self.turns.use(priority, only=slot)

    def starts_beside(self, slot: Slot, *, run: int) -> bool:
        """Whether a trial may start up before it has its turn, and count it as begun if so. Not one that was void
        before, not one that its card is measured for, not while a stranger is there."""
        if self.turns is None or run > 0:
            return False
        if self._keeper.due(slot.card, calibrate_every=self._settings.trainer.calibrate_every):
            return False
        if self.turns.is_free(slot) and self._keeper.busy(slot.card) is not None:
            return False
        self._keeper.begun(slot.card)
        return True

    @asynccontextmanager
    async def held(self, slot: Slot, name: str) -> AsyncIterator[None]:
        """The card's time for the trial of that name, after which it must be empty."""
        async with self.turn(slot, TRAIN):
            yield
            if self.turns is not None:
                self.turns.keep_for_scoring(slot)
            if slot.card and (left := await self._keeper.empty(slot.card)) is not None:
                self._say(f"after trial {name} its card is not empty: {left}")

    async def ready(self, slot: Slot) -> Failure | None:
        """Wait until nobody computes on the card; a Failure if somebody goes on."""
        every = self._settings.trainer.calibrate_every
        void = await self._keeper.ready(slot.card, calibrate_every=every) if slot.card else None
        if void is not None:
            self._say(void.message)
        return void

    def watched(self, slot: Slot, name: str) -> AbstractAsyncContextManager[Sampler | None]:
        """Sample the card while the trial of that name trains."""
        return self._keeper.watched(slot.card, (RUN, name))

    # -- what was compiled for it -----------------------------------------------------------------------------------

    def with_compiled(self, spec: Spec, *, is_root: bool) -> Spec:
        """The run with the root's compiled code. Only what the root compiles is shown to others, so it leaves that
        where we look."""
        if self._compiled is None:
            return spec
        place = spec.reply["out"] if is_root and not self._compiled.is_there else spec.env["TMPDIR"]
        return replace(spec, env=spec.env | self._compiled.environment(f"{place}/compiled"))

    def take_compiled(self, folder: Path) -> None:
        """Keep what a trial of the root compiled, unless another one's was kept."""
        if self._compiled is not None and not self._compiled.is_there:
            self._compiled.take(folder / "out" / "compiled")

    def snapshot(self) -> bytes | None:
        """What the root compiled for cards like these, packed; None if it did not."""
        return self._compiled.pack() if self._compiled is not None and self._compiled.is_there else None

    def adopt(self, snapshot: bytes) -> None:
        """Use what the root compiled on another machine with cards like these."""
        if self._compiled is not None and not self._compiled.is_there:
            self._compiled.unpack(snapshot)

    # -- what it did ------------------------------------------------------------------------------------------------

    def report(self, report: TrialReport, log: str, slot: Slot, strain: Strain) -> TrialReport:
        """The report with what is known of the card, if there was one."""
        card = self._keeper.card(slot.card)
        if card is None:
            return report
        used = mfu(
            name=card.name,
            tokens=report.tokens,
            seconds=report.train_seconds,
            flops_per_token=told_flops(without_controls(log)),
        )
        return replace(
            report,
            card=f"{card.name} {card.uuid}",
            card_memory_mb=round(strain.memory_mb),
            card_clock=round(strain.clock_share, 3) if strain.samples else None,
            card_speed=speed if (speed := self._keeper.speed(card.uuid)) is None else round(speed, 4),
            mfu=None if used is None else round(used, 4),
        )
