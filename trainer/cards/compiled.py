"""Compiled code, handed from one trial to the next without trusting any of them.

Compiling the seed takes a minute, and every trial's code is nearly the seed's. What the compiler leaves behind is code,
so what a patched script left must never be run by another: the only snapshot is that of the root, which the user wrote.
Each trial gets a copy of its own of that, and what it adds goes with it.

The snapshot lies in a folder that is named after everything that decides whether compiled code still fits.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path

LARGEST_MB = 2048
"""A snapshot beyond that is not kept."""

SNAPSHOT = "RATCHETREE_COMPILED"
"""Environment variable that tells a trial where the snapshot lies; `trial.py` copies it before anything compiles."""


class Compiled:
    """The snapshot of one root on one kind of card."""

    def __init__(self, state: Path, *, root: str, card: str, torch: str, driver: str = "") -> None:
        key = hashlib.sha256("\0".join((root, card, torch, driver)).encode()).hexdigest()[:16]
        self.folder = state / "compiled" / key

    @property
    def is_there(self) -> bool:
        """Whether the root has compiled here."""
        return self.folder.is_dir() and any(self.folder.iterdir())

    def open(self) -> None:
        """Make the folder that trials are shown, and forget those of other roots and cards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for other in self.folder.parent.iterdir():
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def environment(self, place: str) -> dict[str, str]:
        """For a run that compiles in `place`, as it sees it."""
        caches = {"TORCHINDUCTOR_CACHE_DIR": place, "TRITON_CACHE_DIR": f"{place}/triton"}
        return caches | ({SNAPSHOT: str(self.folder)} if self.is_there else {})

    def pack(self) -> bytes:
        """The snapshot, for another machine."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(self.folder, arcname=".")
        return packed.getvalue()

    def unpack(self, packed: bytes) -> None:
        """Another machine's snapshot becomes this one's."""
        unfinished = self.folder.with_suffix(".half")
        shutil.rmtree(unfinished, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(unfinished, filter="data")
        shutil.rmtree(self.folder, ignore_errors=True)
        unfinished.replace(self.folder)

    def take(self, left: Path) -> bool:
        """Make a snapshot of what the root's run left in a folder; whether it was one."""
        files = _plain_files(left)
        if not files or sum(file.stat().st_size for file in files) > LARGEST_MB << 20:
            return False
        unfinished = self.folder.with_suffix(".half")
        shutil.rmtree(unfinished, ignore_errors=True)
        for file in files:
            target = unfinished / file.relative_to(left)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
        shutil.rmtree(self.folder, ignore_errors=True)
        unfinished.replace(self.folder)
        return True


def _plain_files(folder: Path) -> list[Path]:
    """No links, no pipes: the folder was filled by a run."""
    found = []
    for place, _, names in os.walk(folder):  # does not follow links to folders
        for name in names:
            file = Path(place, name)
            with contextlib.suppress(OSError):
                if file.is_file() and not file.is_symlink():
                    found.append(file)
    return sorted(found)
