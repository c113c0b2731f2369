"""A CUDA driver without a card, for processes that share its memory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "fake_cuda" / "libcuda.c"


@pytest.fixture
def fake_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Builds the driver, without the call that it refuses, and shows it to the processes that the test starts; its
    folder."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to build the driver's stand-in with")

    def build(refuse: str = "") -> Path:
        folder = tmp_path / f"driver{refuse}"
        folder.mkdir()
        command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libcuda.so.1"), str(SOURCE)]
        subprocess.run([*command, *([f"-DREFUSE={refuse}"] if refuse else [])], check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
        return folder

    return build
