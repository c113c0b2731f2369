"""Other people's changes to the editable files: unified diffs, and git's three-way merge of one file.

Both work in a folder of their own, outside any repository: nothing of the workspace is read or touched.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from ..search.errors import WrongUse
from ..search.model import SourceFile, Sources
from .repository import safe_environment


def merge_text(base: str, ours: str, theirs: str) -> str | None:
    """Git's three-way merge of one file; None if there are conflicts."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        command = ["git", "merge-file", "--stdout", "--quiet", *map(str, paths)]
        done = subprocess.run(
            command, capture_output=True, check=False, cwd=folder, env={**os.environ, **safe_environment()}
        )
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None


def apply_diff(sources: Sources, diff: str) -> Sources:
    """The files with a unified diff applied; WrongUse if it does not fit, or touches anything else."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in sources:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).write_bytes(file.text.encode("utf-8", "surrogateescape"))
        text = diff if diff.endswith("\n") or not diff else diff + "\n"
        environment = {**os.environ, **safe_environment(), "GIT_CEILING_DIRECTORIES": str(folder.parent)}
        for more in ((), ("--recount",)):  # the second time for those who cannot count a hunk's lines
            command = ["git", "apply", "--whitespace=nowarn", *more, "-"]
            data = text.encode("utf-8", "surrogateescape")
            done = subprocess.run(command, cwd=folder, env=environment, input=data, capture_output=True, check=False)
            if done.returncode == 0:
                break
        else:
            said = " ".join(done.stderr.decode(errors="replace").replace("error: ", "").split())[:200]
            raise WrongUse(f"the patch does not apply to the node's files: {said or 'git apply failed'}")
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        links = [path for path in folder.rglob("*") if path.is_symlink()]
        editable = {file.path for file in sources}
        if files != editable or links:
            other = ", ".join(sorted(files ^ editable)[:3]) or "a link"
            raise WrongUse(f"the patch touches {other}; it may change only: {', '.join(sorted(editable))}")
        texts = ((folder / file.path).read_bytes() for file in sources)
        try:
            return tuple(
                SourceFile(path=file.path, text=text.decode("utf-8")) for file, text in zip(sources, texts, strict=True)
            )
        except UnicodeDecodeError as error:
            raise WrongUse(f"the patched file is not UTF-8 text ({error.reason})") from error
