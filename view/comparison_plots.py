"""The lab's pictures: anytime curves with bands, and the run-time ECDF. Needs matplotlib (the extra `plot`)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ..search.lab.comparison import REFERENCE, Design, Results, common_seeds, curves, runtime_ecdf
from ..search.lab.statistics import bootstrap, iqm

_INK = ("#444444", "#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7", "#9a8700")  # Okabe and Ito
_STYLES = ("-", "--", "-.", ":")


def anytime(design: Design, results: Results) -> Any:
    """Main's true value over trials, one panel a landscape; bands: 95 % bootstrap of the IQM."""

    def draw(axes: Any, landscape: str) -> None:
        for policy, style in _styles(design):
            values = curves(design, results, landscape, policy)
            x = _grid(values.shape[1])
            bands = [bootstrap(values[:, i - 1], iqm) for i in x]
            axes.plot(x, [band.mean for band in bands], label=policy, **style)
            axes.fill_between(
                x, [b.low for b in bands], [b.high for b in bands], color=style["color"], alpha=0.15, lw=0
            )
        axes.set_ylabel("main, mbpb to root")

    return _panels(design, results, draw)


def ecdf_picture(design: Design, results: Results) -> Any:
    """The share of targets reached over trials, one panel a landscape."""
    reference = REFERENCE if REFERENCE in design.policies else design.policies[0]

    def draw(axes: Any, landscape: str) -> None:
        for policy, style in _styles(design):
            share = runtime_ecdf(design, results, landscape, policy, reference)
            axes.plot(np.arange(1, len(share) + 1), share, label=policy, **style)
        axes.set_ylabel("share of targets reached")

    return _panels(design, results, draw)


def as_bytes(figure: Any, kind: str) -> bytes:
    """The picture as `png` or `svg`; the same picture gives the same bytes."""
    import matplotlib as mpl

    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "ratchetree"}):
        figure.savefig(out, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def _panels(design: Design, results: Results, draw: Any) -> Any:
    from matplotlib.figure import Figure

    grounds = [name for name in design.landscapes if len(common_seeds(design, results, name)) > 1]
    columns = min(3, max(1, len(grounds)))
    lines = -(-len(grounds) // columns) or 1
    figure = Figure(figsize=(4.2 * columns, 3.1 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, landscape in zip(axes, grounds, strict=False):
        draw(ax, landscape)
        ax.set_title(landscape)
        ax.set_xlabel("trials")
        ax.set_xscale("log")
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[len(grounds) :]:
        ax.set_visible(False)
    if grounds:
        axes[0].legend(frameon=False, fontsize=8)
    return figure


def _styles(design: Design) -> list[tuple[str, dict[str, Any]]]:
    return [
        (policy, {"color": _INK[i % len(_INK)], "linestyle": _STYLES[i // len(_INK) % len(_STYLES)], "lw": 1.4})
        for i, policy in enumerate(design.policies)
    ]


def _grid(trials: int) -> list[int]:
    return sorted({round(x) for x in np.geomspace(1, trials, 40).tolist()})
