"""The tree in other tools' forms: a networkx graph, and the rows of the field's `results.tsv`. Pure; writes no file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .model import NodeId, Verdict
from .tree import ROOT, Node, Tree

if TYPE_CHECKING:
    import networkx as nx  # type: ignore[import-untyped]

Attribute = str | int | float | bool
"""What GraphML can carry."""

_STATUS = {Verdict.KEPT: "keep", Verdict.PARKED: "discard", Verdict.FAILED: "crash"}
_OURS = (
    "id",
    "parent",
    "verdict",
    "sd",
    "n",
    "seconds",
    "lines_added",
    "lines_removed",
    "failure",
    "title",
    "category",
    "asked",
    "scored_by",
    "full_commit",
    "branch",
)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_networkx(tree: Tree) -> nx.DiGraph[NodeId]:
    """The tree as a directed graph: ids as nodes, edges from parent to child.

    Every value of an attribute has one type and can be written as GraphML; what is unknown is left out. Graph
    attributes: metric, direction, incumbent. Mind that networkx' own recursive helpers (`tree_data`) do not survive
    chains of thousands.
    """
    import networkx as nx

    graph: nx.DiGraph[NodeId] = nx.DiGraph(
        metric=tree.metric.name, direction=tree.metric.direction, incumbent=tree.incumbent
    )
    for node in tree.nodes():
        graph.add_node(node.id, **dict(_attributes(node, tree)))
        if node.parent is not None:
            graph.add_edge(node.parent, node.id)
    return graph


def graphml(tree: Tree) -> str:
    """The same graph as GraphML text, which Gephi, yEd and networkx read."""
    import networkx as nx

    return "\n".join(nx.generate_graphml(to_networkx(tree))) + "\n"


def export_rows(tree: Tree) -> list[list[str]]:
    """The header and one row per judged node, ascending; the root comes first, as the baseline.

    The first five columns are the field's, formatted as its tools expect: commit (7 characters), the metric by its name
    (6 decimals, 0.000000 for crashes), memory_gb (1 decimal), status (keep, discard, crash), description. Ours follow.
    No cell holds a tab, a line break or a double quote.
    """
    header = ["commit", _cell(tree.metric.name), "memory_gb", "status", "description", *_OURS]
    return [header, *(_row(node) for node in tree.nodes() if node.verdict is not None)]


def _attributes(node: Node, tree: Tree) -> Iterator[tuple[str, Attribute]]:
    known: dict[str, Attribute | None] = {
        "verdict": str(node.verdict) if node.verdict else "in flight",
        "incumbent": node.id == tree.incumbent,
        "depth": node.depth,
        "title": node.title,
        "category": node.idea.category if node.idea else None,
        "hypothesis": node.idea.hypothesis if node.idea else None,
        "asked": str(node.asked),
        "mean": node.score.mean if node.score else None,
        "sd": node.score.sd if node.score else None,
        "n": node.score.n if node.score else None,
        "scored_by": node.by or None,
        "failure": str(node.failure.kind) if node.failure else None,
        "message": node.failure.message if node.failure else None,
        "commit": node.commit,
        "branch": node.branch,
        "main": node.main,
        "lines_added": node.lines_added,
        "lines_removed": node.lines_removed,
        "seconds": float(node.seconds),
        "reason": node.reason or None,
    }
    for name, value in known.items():
        if isinstance(value, str):
            yield name, _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)
        elif value is not None and (not isinstance(value, float) or math.isfinite(value)):
            yield name, float(value) if name in ("mean", "sd") else value


def _row(node: Node) -> list[str]:
    assert node.verdict is not None
    score = node.score if node.verdict is not Verdict.FAILED else None
    memory_gb = node.report.peak_memory_mb / 1024 if node.report and score else 0.0
    commit = node.commit or "0" * 40  # nothing was committed
    field = [
        commit[:7],
        f"{score.mean:.6f}" if score else "0.000000",
        f"{memory_gb:.1f}",
        _STATUS[node.verdict],
        "baseline" if node.id == ROOT else node.title,
    ]
    ours = {
        "id": str(node.id),
        "parent": "" if node.parent is None else str(node.parent),
        "verdict": str(node.verdict),
        "sd": f"{score.sd:.6f}" if score and score.sd is not None else "",
        "n": str(score.n) if score else "0",
        "seconds": f"{node.seconds:.1f}",
        "lines_added": str(node.lines_added),
        "lines_removed": str(node.lines_removed),
        "failure": str(node.failure.kind) if node.failure else "",
        "title": node.title,
        "category": node.idea.category if node.idea else "",
        "asked": str(node.asked),
        "scored_by": node.by,
        "full_commit": node.commit or "",
        "branch": node.branch or "",
    }
    return [_cell(text) for text in [*field, *(ours[name] for name in _OURS)]]


def _cell(text: str) -> str:
    """One line without what splits or swallows cells; control characters and lone surrogates included."""
    safe = "".join(c if c.isprintable() else " " for c in text.replace('"', "'"))
    return " ".join(safe.split())
