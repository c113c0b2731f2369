"""A card belongs to one campaign at a time: a lock on a file that bears its UUID.

The kernel drops the lock when its holder ends, however it ends, so a lease is never left over. The folder is the same
for all users of a machine; who is on a card from inside a container with files of its own is seen by the driver only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ...search.errors import WrongUse
from .driver import Card


def default_folder() -> Path:
    """Where the leases of this machine lie."""
    return Path(tempfile.gettempdir(), "ratchetree-cards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A card that is ours until `end`."""

    card: Card
    file: int  # descriptor that holds the lock

    def end(self) -> None:
        """Give it back; harmless when it was given back."""
        with contextlib.suppress(OSError):
            os.close(self.file)


def take(cards: tuple[Card, ...], count: int, *, holder: str, folder: Path) -> list[Lease]:
    """Leases of the first `count` cards that are free. holder: the campaign's folder.

    Raises WrongUse, with nothing leased, if there are too few: it names who holds the others.
    """
    if len(cards) < count:
        names = ", ".join(card.name for card in cards)
        raise WrongUse(
            f"trainer.slots = {count}, but {len(cards)} card(s) can be seen ({names}): a card trains one trial at a "
            'time, so ask for fewer slots; for training that needs no card, trainer.cards = "none"'
        )
    leases: list[Lease] = []
    held: list[str] = []
    for card in cards:
        if len(leases) == count:
            break
        found = _lock(card, holder=holder, folder=folder)
        if isinstance(found, Lease):
            leases.append(found)
        else:
            held.append(f"{card.uuid} ({card.name}) is held by {found}")
    if len(leases) == count:
        return leases
    for lease in leases:
        lease.end()
    raise WrongUse(
        f"{count} card(s) are needed and {len(leases)} of {len(cards)} are free: {'; '.join(held)}. Wait for that "
        "campaign, ask for fewer slots, or show this one other cards with CUDA_VISIBLE_DEVICES"
    )


def held_by(card: Card, folder: Path) -> str | None:
    """Who holds a card, in words; None if nobody does."""
    try:
        file = os.open(_path(card, folder), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _told(file)
    finally:
        os.close(file)
    return None


def _lock(card: Card, *, holder: str, folder: Path) -> Lease | str:
    file = _open(_path(card, folder))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        told = _told(file)
        os.close(file)
        return told
    words = {"campaign": holder, "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M")}
    with contextlib.suppress(OSError):  # somebody else's file, which we may lock but not write
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(words).encode(), 0)
    return Lease(card=card, file=file)


def _path(card: Card, folder: Path) -> Path:
    return folder / f"{card.uuid.replace('/', '-')}.lease"


def _open(path: Path) -> int:
    """The lease's file, which all users may lock; flock needs no right to write. Raises WrongUse."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o1777)
        for how in (os.O_RDWR, os.O_RDONLY):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                return os.open(path, how | flags)
        file = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
        os.fchmod(file, 0o666)
        return file
    except OSError as error:
        raise WrongUse(f"the lease {path} cannot be opened ({error.strerror}); delete it if it is nobody's") from error


def _told(file: int) -> str:
    try:
        said = json.loads(os.pread(file, 4096, 0))
        return f"the campaign in {said['campaign']} (pid {said['pid']}, since {said['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another campaign"
