"""Downloading the shards of a corpus, with resume, checksums and a progress bar. A person asks for it; no trial does.

A shard is complete when it bears its own name; until then it is `NAME.part`, and the next download goes on from there.
What it must hash to is what the server says (the SHA-256 that it gives as the file's ETag, or a SHA256SUMS file beside
the shards), else what it was when it first came. Standard library only. Patches may not touch this file.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ATTEMPTS = 5
PIECE = 1 << 20  # bytes
SUMS = "SHA256SUMS"


class DownloadError(Exception):
    """A shard did not come; the message is one line for a person. What did come stays."""


def download(source: str, names: list[str], folder: Path, *, at_once: int = 4, pause: float = 1.0) -> int:
    """Bring the named files of `source` (a URL) into the folder; how many had to be brought. Raises DownloadError.

    pause: seconds before the second attempt, doubled for each further one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sums = _read_sums(folder / SUMS)
    missing = [name for name in names if not (folder / name).exists()]
    if not missing:
        return 0
    theirs = _their_sums(f"{source}/{SUMS}")
    bar = Bar(len(missing))
    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(lambda n: _fetch(source, n, folder, sums | theirs, bar, pause=pause), missing))
    bar.end()
    sums |= dict(zip(missing, found, strict=True))
    (folder / SUMS).write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
    return len(missing)


def check(folder: Path, names: list[str]) -> list[str]:
    """Which of the files are missing or not what they were when they came."""
    sums = _read_sums(folder / SUMS)
    return [n for n in names if not (folder / n).is_file() or (n in sums and _sha256(folder / n) != sums[n])]


def _fetch(source: str, name: str, folder: Path, sums: dict[str, str], bar: Bar, *, pause: float) -> str:
    part = folder / f"{name}.part"
    for attempt in range(ATTEMPTS):
        try:
            told = _receive(f"{source}/{name}", part, bar)
            break
        except (OSError, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404):
                raise DownloadError(f"{source}/{name}: {error.code} {error.reason}") from error
            if attempt == ATTEMPTS - 1:
                raise DownloadError(f"{source}/{name}: {error}; what came is kept, so begin again later") from error
            time.sleep(pause * 2**attempt)
    digest, wanted = _sha256(part), told or sums.get(name)
    if wanted is not None and digest != wanted:
        part.unlink()
        raise DownloadError(f"{name} came with the SHA-256 {digest}, not {wanted}: it was thrown away; try again")
    part.replace(folder / name)
    bar.finished()
    return digest


def _receive(url: str, part: Path, bar: Bar) -> str | None:
    """Append what is missing to the part; the SHA-256 of the whole if the server tells it. Raises OSError."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: Any = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing
            return _told(error.headers)
        raise
    with answer:
        if have and answer.status != 206:  # the server begins from the start
            have = 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length else None
        bar.expect(part.name, whole, have)
        with part.open("ab" if have else "wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
                bar.add(part.name, len(piece))
        if whole is not None and part.stat().st_size != whole:
            raise OSError(f"the connection ended after {part.stat().st_size:,} of {whole:,} bytes")
        return _told(answer.headers)


def _told(headers: Any) -> str | None:
    """Large files of a git host carry their SHA-256 as the ETag."""
    for name in ("X-Linked-ETag", "ETag"):
        tag = (headers.get(name) or "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", tag):
            return str(tag)
    return None


def _their_sums(url: str) -> dict[str, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return _parsed(answer.read(1 << 20).decode(errors="replace"))
    except (OSError, urllib.error.URLError):
        return {}


def _read_sums(file: Path) -> dict[str, str]:
    return _parsed(file.read_text()) if file.exists() else {}


def _parsed(text: str) -> dict[str, str]:
    return {name: digest for digest, name in re.findall(r"(?m)^([0-9a-f]{64}) [ *](\S+)$", text)}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Bar:
    """Progress on standard error: a line that is redrawn on a terminal, a line for every finished file elsewhere."""

    def __init__(self, files: int) -> None:
        self._files, self._done = files, 0
        self._sizes: dict[str, int | None] = {}
        self._have: dict[str, int] = {}
        self._lock, self._drawn, self._began = threading.Lock(), 0.0, time.monotonic()
        self._before = 0  # bytes that an earlier download brought

    def expect(self, name: str, size: int | None, have: int) -> None:
        """A file begins, or begins again."""
        with self._lock:
            self._before += have - self._have.get(name, 0) if name in self._have else have
            self._sizes[name], self._have[name] = size, have

    def add(self, name: str, size: int) -> None:
        """So many bytes came."""
        with self._lock:
            self._have[name] += size
            if sys.stderr.isatty() and time.monotonic() - self._drawn > 0.2:
                self._drawn = time.monotonic()
                print(f"\r{self.line()}", end="", file=sys.stderr, flush=True)

    def finished(self) -> None:
        """A file is complete."""
        with self._lock:
            self._done += 1
            if not sys.stderr.isatty():
                print(self.line(), file=sys.stderr)

    def line(self) -> str:
        """[=====     ] 3 of 10 files, 0.31 of about 1.02 GB, 85 MB/s."""
        have = sum(self._have.values())
        known = [size for size in self._sizes.values() if size]
        whole = sum(known) / len(known) * self._files if known else 0.0
        share = min(1.0, have / whole) if whole else 0.0
        speed = (have - self._before) / max(1e-3, time.monotonic() - self._began)
        drawn = "=" * int(24 * share)
        amount = f"{have / 1e9:.2f} of about {whole / 1e9:.2f} GB, {speed / 1e6:.0f} MB/s"
        return f"[{drawn:<24}] {self._done} of {self._files} files, {amount}"

    def end(self) -> None:
        """The last line stays."""
        if sys.stderr.isatty():
            print(f"\r{self.line()}", file=sys.stderr)


def shard_names(train: int, held_out: tuple[int, ...]) -> list[str]:
    """shard_00000.parquet and so on; the held-out ones last."""
    return [f"shard_{number:05d}.parquet" for number in (*range(train), *held_out)]
