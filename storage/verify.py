"""Journal against git: do both tell the same story?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..search.model import Verdict, digest
from ..search.tree import ROOT, Node, Tree
from .repository import MAIN, PINS, GitRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One difference, and the ref that would mend it."""

    message: str
    ref: str | None = None  # to be pointed at `commit`; None: no mending by itself
    commit: str | None = None


def verify(tree: Tree, digests: dict[int, str], repository: GitRepository) -> list[Problem]:
    """Every difference between the tree that the journal tells and git. digests: of each node's files, by id."""
    refs = repository.refs()
    problems: list[Problem] = []
    for node in tree.nodes():
        problems += _check_node(node, tree, digests.get(node.id), refs, repository)
    problems += _check_main(tree, refs.get(MAIN), repository)
    known = {f"{PINS}{node:04d}" for node in tree.ids()}
    for name in sorted(refs):
        if name.startswith(PINS) and name.split("-attempt")[0] not in known:
            problems.append(Problem(message=f"{name} is pinned, but the journal does not know it: ratchetree rebuild"))
    return problems


def mend(problems: Iterable[Problem], repository: GitRepository) -> Iterator[str]:
    """Put back the refs whose commits are still there; their names."""
    for problem in problems:
        if problem.ref and problem.commit:
            repository.set_ref(problem.ref, problem.commit)
            yield problem.ref


def _check_node(
    node: Node, tree: Tree, expected: str | None, refs: dict[str, str], repository: GitRepository
) -> list[Problem]:
    if node.commit is None:  # in flight, before its commit
        return []
    if not repository.has_commit(node.commit):
        return [Problem(message=f"{node.id:04d}: commit {node.commit[:10]} is gone from git")]
    problems = []
    wanted = {f"{PINS}{node.id:04d}": node.commit}
    if node.ended is not None and node.branch is not None:
        wanted[f"refs/heads/{node.branch}"] = node.commit
    if node.id == ROOT and node.ended is None:
        wanted = {}
    for ref, commit in wanted.items():
        if refs.get(ref) != commit:
            is_at = f"at {refs[ref][:10]}" if ref in refs else "gone"
            message = f"{node.id:04d}: {ref} is {is_at}, the journal says {commit[:10]}"
            problems.append(Problem(message=message, ref=ref, commit=commit))
    if node.parent is not None:
        parent = tree.node(node.parent).commit
        if repository.parents(node.commit) != [parent]:
            problems.append(Problem(message=f"{node.id:04d}: {node.commit[:10]} is no child of {node.parent:04d}"))
    if expected is not None and digest(repository.sources(node.commit)) != expected:
        problems.append(Problem(message=f"{node.id:04d}: {node.commit[:10]} does not hold the files that were tried"))
    return problems


def _check_main(tree: Tree, tip: str | None, repository: GitRepository) -> list[Problem]:
    if tree.root_commit is None:
        return []
    if tip is None:
        return [Problem(message="the branch main is gone")]
    kept = [tree.node(i) for i in tree.advances[1:]]
    settled = [node for node in kept if node.main is not None]
    expected = [node.main for node in reversed(settled)]
    problems = []
    last = settled[-1].main if settled else tree.root_commit
    assert last is not None
    if not repository.has_commit(last):
        return [Problem(message=f"main's last commit {last[:10]} is gone from git")]
    if tip != last and all(node.main is not None for node in kept):
        problems.append(
            Problem(message=f"main is at {tip[:10]}, the ratchet left it at {last[:10]}", ref=MAIN, commit=last)
        )
    if repository.first_parents(last, tree.root_commit) != expected:
        problems.append(Problem(message="main's first-parent history is not the sequence of kept nodes"))
    for node in settled:
        assert node.main is not None and node.commit is not None
        if not repository.same_tree(node.main, node.commit):
            problems.append(Problem(message=f"{node.id:04d}: main's commit {node.main[:10]} has another tree"))
        if node.verdict is not Verdict.KEPT:
            problems.append(Problem(message=f"{node.id:04d} is on main but was {node.verdict}"))
    return problems
