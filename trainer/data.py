"""What `prepare.py` made ready: where the token files are and how to read them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from ..search.errors import RatchetreeError, WrongUse

_NEEDED = ("PATH", "HOME", "XDG_CACHE_HOME", "LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The last line that `prepare.py` prints, as far as the trainer needs it."""

    train: str  # flat little-endian uint16 token ids; the only file that a trial gets
    validation: str  # likewise; for the scorer only
    test: str  # likewise; sealed: for the final claim only
    token_bytes: str  # .npy, int32 [vocab_size]: bytes of each token, 0 for special ones
    vocab_size: int
    seq_len: int  # tokens of context that the scorer asks for
    content: str  # a hash of all tokens: scores compare only where it is equal
    hidden: tuple[str, ...]  # files of the machine that hold the held-out text, which a trial must not read


async def prepare(tree: Path, corpus: str) -> Manifest:
    """Run the workspace's own `prepare.py` (the root commit's, never a patched one) and read what it says.

    Fast when everything is cached. Raises WrongUse with its last line if it refuses.
    """
    command = [sys.executable, "prepare.py", *(["--corpus", corpus] if corpus else [])]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=tree,
        env={name: os.environ[name] for name in _NEEDED if name in os.environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        lines = errors.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise WrongUse(f"prepare.py failed (code {process.returncode}): {lines[-1]}")
    return read_manifest(out.decode(errors="replace"))


def read_manifest(printed: str) -> Manifest:
    """The manifest from what `prepare.py` printed; RatchetreeError if its last line is none."""
    lines = printed.strip().splitlines() or [""]
    try:
        values = json.loads(lines[-1])
        known = {field.name: values[field.name] for field in fields(Manifest)}
        return Manifest(**known | {"hidden": tuple(values["hidden"])})
    except (ValueError, KeyError, TypeError) as error:
        raise RatchetreeError(f"prepare.py's last line is no data manifest: {lines[-1][:120]!r}") from error
