"""Another autoresearch run's git repository, read only: its commits (those that were reset away included), and what a
run whose table was lost tells by its history alone."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..search.errors import RatchetreeError, WrongUse
from .repository import check_git, safe_environment
from .results_table import Findings, Row

_FORMAT = "%H%x00%P%x00%at%x00%T%x00%B%x1e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit of theirs."""

    sha: str
    parents: tuple[str, ...]
    time: float  # seconds since the epoch, when it was written
    tree: str
    message: str

    @property
    def subject(self) -> str:
        """The first line."""
        return self.message.strip().splitlines()[0] if self.message.strip() else "(no message)"


class ForeignGit:
    """All that a repository still holds. Runs nothing of its own: no hooks, no filters."""

    def __init__(self, path: Path) -> None:
        check_git()
        self.path = path
        self.commits: dict[str, Commit] = {}
        for entry in self._git("log", "--all", "--reflog", f"--format={_FORMAT}").split("\x1e"):
            if entry.strip():
                sha, parents, time, tree, message = entry.strip("\n").split("\x00", 4)
                commit = Commit(sha=sha, parents=tuple(parents.split()), time=float(time), tree=tree, message=message)
                self.commits[sha] = commit
        self.head = self._git("rev-parse", "HEAD").strip()

    def find(self, word: str) -> Commit | None:
        """The commit that a table's cell names by its hash; None for words, HEAD~2, and what is gone."""
        if not re.fullmatch(r"[0-9a-fA-F]{4,40}", word):
            return None
        found = [commit for sha, commit in self.commits.items() if sha.startswith(word.lower())]
        if found:
            return found[0] if len(found) == 1 else None
        try:  # unreachable, but not yet swept away
            sha, parents, time, tree, message = self._git("show", "-s", f"--format={_FORMAT}", word, "--").split(
                "\x00", 4
            )
        except RatchetreeError:
            return None
        commit = Commit(
            sha=sha.strip(),
            parents=tuple(parents.split()),
            time=float(time),
            tree=tree,
            message=message.rstrip("\x1e\n"),
        )
        self.commits[commit.sha] = commit
        return commit

    def line(self, tip: str, root: str) -> list[Commit]:
        """First parents from `root` (not included) to `tip`, oldest first."""
        line, at = [], tip
        while at in self.commits and at != root:
            line.append(self.commits[at])
            at = self.commits[at].parents[0] if self.commits[at].parents else ""
        return line[::-1]

    def beginning(self, findings: Findings) -> Commit:
        """Where the run's branch left the main branch; else the oldest commit of its line."""
        for name in ("main", "master", "origin/main", "origin/master"):
            try:
                base = self._git("merge-base", name, "HEAD").strip()
            except RatchetreeError:
                continue
            if base != self.head:
                findings.guessed.append(f"the run begins where its branch left {name}: {base[:7]} (--root COMMIT)")
                return self.commits[base]
        oldest = self.line(self.head, "")[0]
        findings.guessed.append(f"the run begins at the oldest commit: {oldest.sha[:7]} (--root COMMIT)")
        return oldest

    def files(self, commit: str) -> set[str]:
        """Paths of all its files."""
        return set(self._git("ls-tree", "-r", "-z", "--name-only", commit).split("\0")) - {""}

    def changed(self, before: str, after: str) -> list[str]:
        """Paths that differ."""
        return [name for name in self._git("diff", "--name-only", "-z", before, after).split("\0") if name]

    def touched(self, commits: list[str]) -> list[list[str]]:
        """What each commit changed against its first parent, as paths."""
        told = self._run(
            "diff-tree",
            "--stdin",
            "-r",
            "-m",
            "--first-parent",
            "--name-only",
            "--root",
            input="\n".join([*commits, ""]).encode(),
        )
        found: dict[str, list[str]] = {sha: [] for sha in commits}
        own: list[str] = []
        for line in told.decode("utf-8", "replace").splitlines():
            if line.split(" ")[0] in found:
                own = found[line.split(" ")[0]]
            else:
                own.append(line)
        return list(found.values())

    def text(self, commit: str, path: str) -> str | None:
        """A file's text; None if there is none."""
        try:
            return self._git("show", f"{commit}:{path}")
        except RatchetreeError:
            return None

    @cached_property
    def _lacking(self) -> set[str]:
        """Objects that a partial clone has not got."""
        told = self._git("rev-list", "--objects", "--missing=print", "--all", "--reflog")
        return {line[1:] for line in told.splitlines() if line.startswith("?")}

    def is_whole(self, commit: str, suffixes: tuple[str, ...]) -> bool:
        """Whether all files with these endings are there."""
        if not self._lacking:
            return True
        entries = (line.partition("\t") for line in self._git("ls-tree", "-r", commit).splitlines())
        return not any(
            facts.split()[2] in self._lacking for facts, _, path in entries if path.rstrip('"').endswith(suffixes)
        )

    def fullest(self, path: str) -> tuple[str, str]:
        """The commit and text of a file's longest version, the newest of equals; empty if there never was one."""
        versions = self._git("log", "--all", "--reflog", "--max-count=300", "--format=%H", "--", path).split()
        texts = ((sha, self.text(sha, path) or "") for sha in versions)
        return max(texts, key=lambda version: version[1].count("\n"), default=("", ""))

    def copy_to(self, folder: Path, commits: list[str]) -> None:
        """Bring these commits, with their histories, into the repository at `folder`; what a partial clone lacks of old
        files is left behind."""
        wanted = "\n".join([*commits, ""]).encode()
        pack = self._run("pack-objects", "--revs", "--stdout", "--missing=allow-any", "-q", input=wanted)
        _run(folder, "index-pack", "--stdin", "--fix-thin", input=pack)

    def _git(self, *arguments: str) -> str:
        return self._run(*arguments).decode("utf-8", "replace")

    def _run(self, *arguments: str, input: bytes | None = None) -> bytes:
        return _run(self.path, *arguments, input=input)


def _run(folder: Path, *arguments: str, input: bytes | None = None) -> bytes:
    import os

    environment = {**os.environ, **safe_environment()}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)
    # `safe.directory`: a run that was copied from another machine belongs to somebody else; we only read it.
    command = ["git", "-c", "safe.directory=*", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, input=input)
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["?"]
        raise RatchetreeError(f"git {arguments[0]} failed in {folder}: {lines[-1]}")
    return done.stdout


def rows_of(git: ForeignGit, root: Commit, findings: Findings, *, metric: str | None) -> tuple[str, list[Row]]:
    """The metric's name, and the root and every commit after it as rows: what stayed on the branch was kept, what was
    taken back (a revert, or the same files as before) was not. Scores come from the messages."""
    names = [re.escape(metric)] if metric else ["val_bpb", "val_loss", "bpb", "loss", "accuracy", "score"]
    number = re.compile(rf"\b({'|'.join(names)})\b[\s:=~]*(?:[-+]?\d*\.\d+\s*(?:->|→|to)\s*)?([-+]?\d*\.\d+)", re.I)
    line = [root, *git.line(git.head, root.sha)]
    where: dict[str, int] = {}  # tree -> index of the last commit that has it
    undone: set[int] = set()
    repeats: set[int] = set()
    for i, commit in enumerate(line):
        named = re.search(r"This reverts commit ([0-9a-f]{7,40})", commit.message)
        back = where.get(commit.tree)
        if back is not None or named:
            repeats.add(i)
            first = back if back is not None else next((j for j in range(i) if line[j].sha.startswith(named[1])), i) - 1  # type: ignore[index]
            undone.update(range(max(0, first) + 1, i) if back is not None else [first + 1])
            findings.read.append(
                f"{commit.sha[:7]} takes back {', '.join(line[j].sha[:7] for j in sorted(undone) if j < i)[:80]}"
            )
        where.setdefault(commit.tree, i)
    rows, name = [], metric or "val_bpb"
    unscored = []
    for i, commit in enumerate(line):
        if i in repeats:
            continue
        found = number.findall(commit.message)
        if found:
            name = metric or found[-1][0].lower()
        elif i:
            unscored.append(commit.sha[:7])
        rows.append(
            Row(
                line=i + 1,
                commit=commit.sha,
                value=float(found[-1][1]) if found else None,
                status="discard" if i in undone else "keep",
                failure=None,
                description=commit.subject,
                memory_mb=0.0,
                seconds=0.0,
                time="",
            )
        )
    findings.count(findings.left_out, unscored, "(commits) whose message names no score: shown without one")
    if not any(row.value is not None for row in rows):
        raise WrongUse(
            f"{git.path} has no results.tsv, and no commit message names a score like 'val_bpb 0.98': "
            "name the table with --results FILE, or the metric with --metric NAME"
        )
    return name, rows
