"""One campaign per workspace: a lock that a crash cannot leave behind."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import TextIO

from ..search.errors import WrongUse


class WorkspaceLock:
    """Held while a campaign runs. The kernel lets go of it when the process dies, however it dies; the file's text
    (pid and start time) is for people."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> bool:
        """Take the lock; True if a crashed campaign had left its mark. Raises WrongUse if another one is running."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = holder_of(self._path)
            file.close()
            who = f"process {holder['pid']}, since {holder['started']}" if holder else "another process"
            raise WrongUse(f"a campaign is already running here ({who}): wait for it or stop it with Ctrl-C") from error
        crashed = self._path.stat().st_size > 0
        file.truncate(0)
        json.dump({"pid": os.getpid(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}, file)
        file.flush()
        self._file = file
        return crashed

    def __exit__(self, *_: object) -> None:
        """Let go; an empty file says that the holder ended by itself."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def holder_of(path: Path) -> dict[str, str] | None:
    """Who wrote the lock's text; None if it is empty or unreadable."""
    try:
        return {key: str(value) for key, value in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return None


def is_held(path: Path) -> bool:
    """Whether a campaign is running right now."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
