"""The command line as a user runs it: real processes, real git, real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ratchetree.trainer.processes import MARK, marked


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`ratchetree` in a folder, with a home and caches of its own."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str | Path, timeout: float = 600) -> Said:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Run in the background, output in one pipe."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @staticmethod
    def command(*arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "ratchetree", *map(str, arguments)]


@pytest.fixture
def ratchetree(tmp_path: Path) -> CommandLine:
    home = tmp_path / "home"
    home.mkdir()
    return CommandLine(tmp_path, {"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "120", "LANG": "C.UTF-8"})


@pytest.fixture
def survivors() -> Callable[[Path], list[int]]:
    """Living processes that carry a workspace's mark."""
    return lambda workspace: marked(**{MARK: str(workspace)})
