"""The lab's pictures: anytime curves with bands, the run-time ECDF, and the policies' differences to the reference.
Needs matplotlib (the extra `plot`)."""

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


def differences(shape: dict[str, Any]) -> Any:
    """What `comparison.json` says: every policy's paired difference to the reference with its 95 % interval, a panel
    for each landscape; filled = resolved. KeyError, TypeError or ValueError if it is no comparison."""
    from matplotlib.figure import Figure

    rows = [row for row in shape["rows"] if row["difference_to_ratchet"] is not None]
    grounds, policies = (list(dict.fromkeys(row[key] for row in rows)) for key in ("landscape", "policy"))
    budgets = sorted({int(row["evaluations"]) for row in rows})
    columns = max(1, min(4, len(grounds)))
    lines = -(-len(grounds) // columns) or 1
    size = (1.8 + 2.3 * columns, 0.9 + lines * (0.7 + 0.38 * len(policies)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True, sharex=True).ravel()
    for axes, ground in zip(panels, grounds, strict=False):
        _differences(axes, [row for row in rows if row["landscape"] == ground], policies, budgets)
        axes.set_title(f"over {ground}" if ground == "all" else ground, fontsize=10)
    for axes in panels[len(grounds) :]:
        axes.set_visible(False)
    panels[0].set_yticks(range(len(policies)), policies)
    panels[0].invert_yaxis()
    if len(budgets) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    seeds = max((int(row["seeds"]) for row in shape["rows"]), default=0)
    reference = next((row["policy"] for row in shape["rows"] if row["difference_to_ratchet"] is None), "reference")
    figure.supxlabel(
        f"main, mbpb against {reference}: left is better; filled = resolved (95 %); {seeds} paired seeds", fontsize=9
    )
    return figure


def _differences(axes: Any, rows: list[dict[str, Any]], policies: list[str], budgets: list[int]) -> None:
    axes.axvline(0, color="#888888", lw=0.8)
    for row in rows:
        i, gap = budgets.index(row["evaluations"]), row["difference_to_ratchet"]
        y = policies.index(row["policy"]) + 0.24 * (i - (len(budgets) - 1) / 2)
        colour = _INK[(i + 5) % len(_INK)]
        name = f"{row['evaluations']} trials" if row["policy"] == policies[0] else None
        axes.plot([gap["low"], gap["high"]], [y, y], color=colour, lw=1.4, label=name)
        face = colour if row["resolved"] else "white"
        axes.plot([gap["mean"]], [y], "o", ms=5, mec=colour, mfc=face)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, labelbottom=True)


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
