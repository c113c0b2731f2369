"""Patches that would spend a trial on what is known already, refused before they do. Pure.

The ladder: the same files as some node; the same program as the parent, a sibling or an ancestor once comments and
layout are gone; the very change that is being tried or that lost on another node (as `git patch-id`, wherever it is
applied); a constant within 5 % of a value that a sibling tried; nothing but lines that were taken out on the way to the
parent (30 % of the lines that agents add were deleted before: arXiv 2605.20086).
"""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Iterator

from ..search.model import FailureKind, NodeId, Patch, Sources, Verdict, digest
from ..search.patch import settings_in
from ..search.ports import WriteRequest
from ..search.tree import Tree
from .merging import diff, patch_between

NEAR = math.log(1.05)  # two values of a constant closer than this are one
LOOK_BACK = 60  # nodes of the path whose deletions are remembered
SIBLINGS = 60  # newest children of the parent that are compared
_MAY_RETURN = (
    "ablate",
    "retry",
    "repair",
    "combine",
)  # operators whose point is to bring something back or take it out


def objection(request: WriteRequest, after: Sources) -> str | None:
    """Why the changed files are not worth a trial, in one sentence; None if they are."""
    tree = request.tree
    known = tree.digests.get(digest(after))
    if known is not None and known != request.experiment:
        return f"these are exactly the files of {known:04d} ({tree.node(known).title})"
    program = meaning(after)
    if program is not None and program == meaning(request.sources):
        return "only comments or layout differ from the parent"
    for node in _relatives(request):
        if program is not None and program == meaning(request.sources_at(node)):
            return f"but for comments and layout this is {node:04d} ({tree.node(node).title})"
    patch = patch_between(request.sources, after)
    again = _again(request, patch) or _near_value(request, patch)
    if again is not None:
        return again
    if request.idea.operator not in _MAY_RETURN and _only_returns(request, after):
        return "all it adds are lines that were taken out on the way here"
    return None


def meaning(sources: Sources) -> str | None:
    """A name for what the files compute: their syntax without comments, docstrings and layout; None if one does not
    parse. Other files than Python count as they are."""
    h = hashlib.sha256()
    for file in sources:
        h.update(file.path.encode() + b"\0")
        if not file.path.endswith(".py"):
            h.update(file.text.encode("utf-8", "surrogateescape"))
            continue
        try:
            tree = ast.parse(file.text)
        except (SyntaxError, ValueError):
            return None
        h.update(ast.dump(_without_docstrings(tree)).encode("utf-8", "surrogateescape"))
    return h.hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _relatives(request: WriteRequest) -> Iterator[NodeId]:
    """Siblings, newest first, then ancestors, nearest first; those that are committed."""
    tree = request.tree
    if request.parent not in tree:
        return
    siblings = [node for node in _children(request) if node != request.experiment][-SIBLINGS:]
    for node in [*reversed(siblings), *reversed(tree.path(request.parent)[-LOOK_BACK:-1])]:
        if tree.node(node).commit is not None:
            yield node


def _children(request: WriteRequest) -> list[NodeId]:
    tree = request.tree
    return [int(node) for node in (tree.parent[: tree.next_id] == request.parent).nonzero()[0]]


def _again(request: WriteRequest, patch: Patch) -> str | None:
    """The very same change is under way on another node, or lost there. One that helped there may be brought here."""
    if request.idea.operator in _MAY_RETURN:
        return None
    tree = request.tree
    for node in reversed(request.memory.made(patch)):
        if node != request.experiment and (what := _standing(tree, node)) is not None:
            on = int(tree.parent[node])
            return f"the very same change {what} as {node:04d} (on {on:04d}): only a retry may take it to another node"
    return None


def _standing(tree: Tree, node: NodeId) -> str | None:
    """What speaks against making the change of a node once more."""
    known = tree.node(node)
    if known.verdict is None:
        return "is being tried right now"
    if known.failure is not None:
        starved = known.failure.kind is FailureKind.STARVED
        return None if starved else f"failed ({known.failure.kind})"
    lost = known.parent is not None and tree.loss[node] >= tree.loss[known.parent]
    return "lost" if known.verdict is Verdict.PARKED and lost else None


def _near_value(request: WriteRequest, patch: Patch) -> str | None:
    """A single constant set to almost the value that a sibling tried."""
    mine = settings_in(patch)
    if len(mine) != 1 or not mine[0].alone:
        return None
    name, value = mine[0].name, _number(mine[0].after)
    for node, theirs in request.memory.settings.get(name, {}).items():
        other = _number(theirs.after)
        sibling = request.tree.parent[node] == request.parent and node != request.experiment
        if not sibling or not theirs.alone or value * other <= 0:
            continue
        if abs(math.log(value / other)) < NEAR:
            return f"{name} = {value:g} is within 5 % of {other:g}, which {node:04d} tried"
    return None


def _number(text: str) -> float:
    """0 for what is no number: it is near nothing."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _only_returns(request: WriteRequest, after: Sources) -> bool:
    added = {line[1:].strip() for line in _changes(request.sources, after, "+")} - {""}
    if not added or request.parent not in request.tree:
        return False
    path = request.tree.path(request.parent)[-LOOK_BACK:]
    for older, newer in zip(path[-2::-1], path[:0:-1], strict=True):  # nearest step first
        added -= {line[1:].strip() for line in _changes(request.sources_at(older), request.sources_at(newer), "-")}
        if not added:
            return True
    return False


def _changes(before: Sources, after: Sources, sign: str) -> Iterator[str]:
    return (
        line for line in diff(before, after).splitlines() if line.startswith(sign) and line[:3] not in ("+++", "---")
    )
