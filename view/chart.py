"""`ratchetree plot`: the ratchet view, the tree, and campaigns against each other as matplotlib figures.

matplotlib is an extra (`pip install 'ratchetree[plot]'`): it draws SVG, PDF and PNG with the fonts people expect in a
paper, which no few hundred lines of our own would, and nobody who does not plot has to have it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..search.errors import WrongUse
from ..search.model import Verdict
from ..search.tree import Node, Tree
from .layout import lay_out
from .numbers import SCORER_WORDS, Digits, gain_sd
from .page_data import Json
from .plain import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KEPT, _PARKED, _FAILED, _FLYING, _SETBACK, _INK = "#14804a", "#c4c6c9", "#c23a31", "#2563c9", "#a8690a", "#1c2127"
_LABELS = 12
"""Steps of main that carry their title: the largest."""
_NAMED = 40
"""Nodes up to which the tree names what was tried."""
FORMATS = (".png", ".svg", ".pdf")


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format that the name asks for. Raises WrongUse for others."""
    if path.suffix.lower() not in FORMATS:
        raise WrongUse(f"--out {path}: the picture's format is not known; allowed: {', '.join(FORMATS)}")
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def ratchet_figure(tree: Tree, name: str) -> Figure:
    """The picture everybody knows, with the noise band, error bars, and steps that chance could make left hollow."""
    figure, axes = _figure(10.5, 5.6)
    nodes = [node for node in tree.nodes() if node.score is not None]
    if nodes:
        _ratchet(axes, tree, nodes)
    axes.set_xlabel("experiment")
    better = "lower" if tree.metric.direction == "min" else "higher"
    by = SCORER_WORDS.get(nodes[0].by, "") if nodes else ""
    axes.set_ylabel(f"{tree.metric.name} ({better} is better{f'; {by}' if by else ''})")
    kept = len(tree.advances) - 1
    axes.set_title(
        f"{plain(name, 60)}: {tree.experiments} experiments, {kept} kept{_won(tree)}", loc="left", fontsize=12
    )
    return figure


def tree_figure(tree: Tree, name: str) -> Figure:
    """The tree in the layout of the page."""
    layout = lay_out(tree, fold=True)
    wide = max((x for x, _ in layout.place.values()), default=1)
    rows = [y for _, y in layout.place.values()] + [fold.y for fold in layout.folds] or [0]
    high = max(rows) - min(rows) + 1
    column, row = (1.9, 0.32) if len(layout.place) <= _NAMED else (0.34, 0.2)
    figure, axes = _figure(max(6.0, min(24.0, column * wide + 2)), max(2.5, min(18.0, row * high + 1.4)))
    main = set(tree.path(tree.incumbent)) if tree.root_commit else set()
    for node_id, (x, y) in layout.place.items():
        node = tree.node(node_id)
        if node.parent in layout.place:
            px, py = layout.place[node.parent]
            promised = node.idea is not None and node.idea.contract is not None
            colour, width = (_KEPT, 2.5) if node_id in main else (_SETBACK, 1.2) if promised else ("#d0cdc4", 0.8)
            axes.plot(
                [px, px + 0.5, x],
                [py, y, y],
                color=colour,
                lw=width,
                ls="--" if promised and node_id not in main else "-",
                zorder=1,
            )
        _sign(axes, node, x, y)
    for fold in layout.folds:
        px, py = layout.place[fold.at]
        axes.plot([px, px + 0.5, fold.x], [py, fold.y, fold.y], color="#d0cdc4", lw=0.8, zorder=1)
        axes.text(fold.x, fold.y, f"+{len(fold.nodes)}", ha="center", va="center", fontsize=7, bbox=_PILL)
    if len(layout.place) <= _NAMED:
        _names(axes, tree, layout.place)
    if tree.incumbent in layout.place and tree.root_commit:
        axes.plot(*layout.place[tree.incumbent], "o", ms=13, mfc="none", mec=_KEPT, mew=1.4, label="main is here")
    signs = (
        ("o", _KEPT, "kept"),
        ("o", "#9a9fa6", "parked"),
        ("x", _FAILED, "failed"),
        ("D", _SETBACK, "setback contract"),
    )
    for sign, colour, words in signs:
        axes.plot([], [], sign, color=colour, mfc="white" if sign == "D" else colour, ms=5, label=words)
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="upper left", bbox_to_anchor=(0, 0))
    axes.invert_yaxis()
    axes.set_axis_off()
    axes.set_title(f"{plain(name, 60)}: {len(tree)} nodes{_won(tree)}", loc="left", fontsize=12)
    return figure


def _names(axes: Axes, tree: Tree, places: dict[int, tuple[int, int]]) -> None:
    """What was tried beside the tips, and scores over those that something goes on from."""
    digits, children = Digits.of(tree), tree.children()
    axes.set_xlim(-0.3, max((x for x, _ in places.values()), default=1) + 1)
    for node_id, (x, y) in places.items():
        node = tree.node(node_id)
        if not children.get(node_id):
            axes.text(x + 0.08, y, plain(node.title, 28), fontsize=7, va="center", bbox=_HALO, zorder=2)
        elif node.score is not None:
            axes.text(x, y - 0.28, digits.value(node.score.mean), fontsize=7, ha="center", va="bottom", color="#636b74")


def courses_figure(courses: list[Json], tree: Tree, axis: str) -> Figure:
    """Best so far of several campaigns against experiments, hours or dollars."""
    figure, axes = _figure(8.5, 5.0)
    column = ("experiments", "hours", "dollars").index(axis)
    for i, course in enumerate(courses):
        best, values = math.inf, []
        for point in course["points"]:
            best = min(best, tree.metric.loss(point[3]))
            values.append(tree.metric.value(best))
        style = ("-", "--", ":", "-.")[i % 4]
        axes.step(
            [p[column] for p in course["points"]], values, where="post", lw=2, ls=style, label=plain(course["name"], 40)
        )
    axes.set_xlabel(axis)
    axes.set_ylabel(tree.metric.name)
    axes.legend(frameon=False)
    return figure


_HALO: dict[str, Any] = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"}
_PILL: dict[str, Any] = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": _PARKED, "lw": 0.7}


def _ratchet(axes: Axes, tree: Tree, nodes: list[Node]) -> None:
    steps = [node for node in map(tree.node, tree.advances) if node.score is not None]
    last = max(node.id for node in tree.nodes())
    xs, ys = [*(n.id for n in steps), last + 1], [*(n.score.mean for n in steps if n.score), 0.0]
    ys[-1] = ys[-2]
    if tree.noise is not None:
        low, high = [y - tree.noise for y in ys], [y + tree.noise for y in ys]
        axes.fill_between(xs, low, high, step="post", color=_KEPT, alpha=0.18, lw=0, label="main ± noise of one trial")
    means = {node.id: node.score.mean for node in nodes if node.score}
    for node in nodes:
        if node.parent in means:
            axes.plot([node.parent, node.id], [means[node.parent], means[node.id]], color="#e3e1da", lw=0.6, zorder=0)
    parked = [node for node in nodes if node.verdict is Verdict.PARKED]
    axes.scatter([n.id for n in parked], [means[n.id] for n in parked], s=13, color=_PARKED, zorder=2, label="parked")
    axes.step(xs, ys, where="post", color=_KEPT, lw=2, zorder=3)
    for node in steps:
        assert node.score is not None
        spread = node.score.sd if node.score.sd is not None else tree.noise
        if spread is not None and node.score.n > 1:
            axes.errorbar(node.id, node.score.mean, yerr=spread / math.sqrt(node.score.n), color=_INK, lw=1, capsize=2)
    for clear, words in ((True, "kept"), (False, "kept, not resolved")):
        some = [n for n in steps if (_resolved(tree, n) is False) is not clear]
        face = _KEPT if clear else "white"
        axes.scatter(
            [n.id for n in some],
            [means[n.id] for n in some],
            s=42,
            color=face,
            edgecolor=_INK,
            lw=0.9,
            zorder=4,
            label=words,
        )
    _limits(axes, tree, means, steps)
    failed = [node.id for node in tree.nodes() if node.verdict is Verdict.FAILED]
    axes.plot(
        failed,
        [0.012] * len(failed),
        "|",
        color=_FAILED,
        ms=9,
        mew=1.6,
        transform=axes.get_xaxis_transform(),
        label="failed",
    )
    _titles(axes, tree, steps)
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def _limits(axes: Axes, tree: Tree, means: dict[int, float], steps: list[Node]) -> None:
    shown = [means[n.id] for n in steps]
    low, high = min(shown), max(shown)
    room = max(0.15 * (high - low), 1.6 * (tree.noise or 0.0), 1e-9 + 1e-6 * abs(high))
    axes.set_ylim(low - room, high + room)


def _titles(axes: Axes, tree: Tree, steps: list[Node]) -> None:
    gains: list[tuple[float, Node]] = []
    for before, after in pairwise(steps):
        assert before.score is not None and after.score is not None
        gains.append((tree.metric.gain(before.score.mean, after.score.mean), after))
    for _, node in sorted(gains, key=lambda pair: -pair[0])[:_LABELS]:
        assert node.score is not None
        colour = "#636b74" if _resolved(tree, node) is False else _KEPT
        axes.annotate(
            plain(node.title, 45),
            (node.id, node.score.mean),
            (4, 6),
            textcoords="offset points",
            rotation=30,
            rotation_mode="anchor",
            fontsize=7,
            color=colour,
            annotation_clip=True,
        )


def _resolved(tree: Tree, node: Node) -> bool | None:
    """Whether main's step to the node is larger than chance makes it (95 %); None if the noise is not known."""
    place = tree.advances.index(node.id)
    before = tree.node(tree.advances[place - 1]).score if place else None
    if before is None or node.score is None:
        return None
    sd = gain_sd(tree.noise, before, node.score)
    return None if sd is None else tree.metric.gain(before.mean, node.score.mean) > 1.96 * sd


def _sign(axes: Axes, node: Node, x: int, y: int) -> None:
    promised = node.idea is not None and node.idea.contract is not None
    if node.verdict is Verdict.FAILED:
        axes.plot(x, y, "x", color=_FAILED, ms=5, mew=1.4, zorder=3)
    elif node.verdict is Verdict.KEPT:
        axes.plot(x, y, "o", color=_KEPT, mec=_INK, mew=0.8, ms=7, zorder=3)
    elif node.verdict is Verdict.PARKED:
        axes.plot(
            x,
            y,
            "D" if promised else "o",
            color="white" if promised else "#9a9fa6",
            mec=_SETBACK if promised else "none",
            ms=5,
            zorder=3,
        )
    else:
        axes.plot(x, y, "o", color="white", mec=_FLYING, mew=1.5, ms=6, zorder=3)


def _won(tree: Tree) -> str:
    root, main = (tree.node(0).score, tree.node(tree.incumbent).score) if tree.root_commit else (None, None)
    if root is None or main is None or not tree.incumbent:
        return ""
    digits, sd = Digits.of(tree), gain_sd(tree.noise, root, main)
    interval = f" ± {digits.value(1.96 * sd)}" if sd is not None else ""
    return f", {digits.value(root.mean)} → {digits.value(main.mean)} ({digits.change(root.mean, main.mean)}{interval})"


def _figure(wide: float, high: float) -> tuple[Figure, Axes]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise WrongUse("pictures need matplotlib: pip install 'ratchetree[plot]'") from None
    mpl.rcParams["svg.hashsalt"] = "ratchetree"  # the same campaign gives the same file
    figure = Figure(figsize=(wide, high), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
