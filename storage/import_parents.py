"""Whether git agrees with the rule that a row's parent is the last keep. What differs is said, never
resolved in silence."""

from __future__ import annotations

from collections import Counter

from .foreign_git import Commit, ForeignGit
from .import_events import Attempt
from .results_table import Findings

CODE = (".py", ".toml", ".yaml", ".yml", ".c", ".cpp", ".cu", ".cuh", ".h", ".rs", ".go", ".js", ".ts", ".jl")
_FAR = 1000  # commits that are looked through for the one before that a row names


def compare_with_git(attempts: list[Attempt], git: ForeignGit, root: Commit, findings: Findings) -> None:
    """Say where the rule and git's parents differ, and what no row speaks of."""
    row_of = {a.commit.sha: i for i, a in enumerate(attempts) if a.commit} | {root.sha: 0}
    sha_of = {i: sha for sha, i in row_of.items()}
    detours: list[str] = []
    code = _edited(git, [a.commit.sha for a in attempts if a.commit])
    for i, attempt in enumerate(attempts):
        if not i or attempt.commit is None or attempt.parent not in sha_of or not attempt.commit.parents:
            continue
        actual = git.commits.get(attempt.commit.parents[0])
        if actual is None or _same_code(git, actual.sha, sha_of[attempt.parent], code):
            continue
        row, between = _nearest_row(git, actual, row_of)
        if row == attempt.parent:
            detours.append(f"{between} before {i:04d}")
            continue
        is_at = f"{row:04d}" if row is not None else f"{actual.sha[:7]}, and no row names it or what is before it"
        is_at += f", {between} commit{'s' * (between > 1)} before" if row is not None and between else ""
        findings.disagree.append(
            f"{i:04d} ({attempt.commit.sha[:7]}): its parent is {attempt.parent:04d} by rule (the last keep), but "
            f"in git it is {is_at}"
        )
    findings.count(findings.left_out, detours, "whose diff holds commits that no row names")
    silent = [commit.sha[:7] for commit in git.line(git.head, root.sha) if commit.sha not in row_of]
    if silent:
        findings.left_out.append(
            f"{len(silent)} commit{'s' * (len(silent) > 1)} that no row names: {', '.join(silent[:6])}"
        )


def _nearest_row(git: ForeignGit, commit: Commit, row_of: dict[str, int]) -> tuple[int | None, int]:
    """The row of the commit or of the nearest before it that has one (None if none has), and how many were passed."""
    at: Commit | None = commit
    for between in range(_FAR):
        if at is None or at.sha in row_of:
            return (row_of[at.sha] if at else None), between
        at = git.commits.get(at.parents[0]) if at.parents else None
    return None, _FAR


def _edited(git: ForeignGit, commits: list[str]) -> set[str]:
    """The code that the run's experiments are about: what at least a tenth of their commits change."""
    counts = Counter(path for paths in git.touched(commits) for path in paths if path.endswith(CODE))
    return {path for path, times in counts.items() if 10 * times >= len(commits)}


def _same_code(git: ForeignGit, one: str, other: str, code: set[str]) -> bool:
    """Whether two commits hold the same `code`: tables, notes and plots are often committed in between."""
    same = one == other or git.commits[one].tree == git.commits[other].tree
    return same or code.isdisjoint(git.changed(one, other))
