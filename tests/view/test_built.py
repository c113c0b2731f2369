"""The committed script and style are what the readable sources build to, and small."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "view" / "page"


@pytest.mark.slow
def test_the_committed_build_is_what_the_sources_build_to(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so the page cannot be built again")
    copy = shutil.copytree(PAGE, tmp_path / "page", symlinks=True, ignore=shutil.ignore_patterns("built"))
    if not (copy / "node_modules" / "esbuild").exists():
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
        done = subprocess.run(install, cwd=copy, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install esbuild here: {(done.stderr or done.stdout).strip()[:200]}")
    for command in ("check", "build"):
        done = subprocess.run([npm, "run", "--silent", command], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("page.js", "page.css"):
        assert (copy / "built" / name).read_text() == (PAGE / "built" / name).read_text(), f"run: make page ({name})"


def test_the_script_is_small_loads_nothing_and_makes_no_markup() -> None:
    script = (PAGE / "built" / "page.js").read_text()
    assert len(script.encode()) <= 150_000
    sources = "".join(path.read_text() for path in (PAGE / "source").glob("*.ts"))
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", sources + script
    )
    assert set(re.findall(r"https?://[^\s\"'`)]+", script)) <= {"http://www.w3.org/2000/svg"}
    style = (PAGE / "built" / "page.css").read_text()
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"\bon\w+=|style=", (PAGE / "body.html").read_text())
