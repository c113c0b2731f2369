"""A comparison of policies as people read it: a table, sentences, CSV, and one HTML page. Writes no file."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from ..search.lab.comparison import REFERENCE, Design, Row

_COLUMNS = ("landscape", "policy", "IQM", "±", "against ratchet", "P", "rank", "false", "paid")

_CSV = (
    "landscape policy evaluations seeds median iqm iqm_low iqm_high difference difference_low difference_high "
    "probability_better p_holm resolved seeds_needed mean_rank gains_per_100 false_advances "
    "opened paid_off closed spent contract_gain"
)

_LEGEND = (
    "main's true value in mbpb relative to the root, lower is better; ± half of the IQM's 95 % interval; paired "
    "difference with its 95 % interval, * resolved; P: share of seeds on which it beats the ratchet; contracts "
    "paid off / opened"
)


def table(rows: Sequence[Row], evaluations: int) -> Table:
    """One row a policy and landscape, for one budget."""
    title = f"{evaluations} trials: {_LEGEND}"
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    for column in _narrow(_COLUMNS):
        shown.add_column(column, justify="left" if column in _COLUMNS[:2] else "right", no_wrap=True)
    before = ""
    for row in rows:
        if row.evaluations == evaluations:
            shown.add_row(*_narrow(("" if row.landscape == before else row.landscape, *cells(row))))
            before = row.landscape
    return shown


def _narrow(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Without the rank and false advances, so that a row fits into 80 columns."""
    return (*texts[:6], texts[8])


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts from the policy on."""
    difference = row.difference_to_ratchet
    gap = "" if difference is None else f"{difference.mean:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]"
    mark = "" if difference is None else (" *" if row.resolved else "  ")
    opened = row.contracts["opened"]
    return (
        row.policy,
        f"{row.iqm:.1f}",
        f"{(row.iqm_high - row.iqm_low) / 2:.1f}",
        gap + mark,
        "" if row.probability_better is None else f"{row.probability_better:.2f}",
        f"{row.mean_rank:.1f}",
        f"{row.false_advances:.1f}",
        f"{row.contracts['paid_off']:.1f}/{opened:.1f}" if opened else "",
    )


def sentences(design: Design, rows: Sequence[Row]) -> list[str]:
    """What is resolved and what is not, a sentence for each pair."""
    reference = REFERENCE if REFERENCE in design.policies else design.policies[0]
    return [_sentence(row, reference) for row in rows if row.difference_to_ratchet is not None]


def _sentence(row: Row, reference: str) -> str:
    gap = row.difference_to_ratchet
    assert gap is not None and row.probability_better is not None
    where = f"on {row.landscape}" if row.landscape != "all" else "over all landscapes"
    numbers = f"{abs(gap.mean):.2f} mbpb [{gap.low:+.2f}, {gap.high:+.2f}]"
    about = f"{row.policy}, {where}, {row.evaluations} trials:"
    if row.resolved:
        how = "better" if gap.mean < 0 else "worse"
        return f"{about} {how} than {reference} by {numbers}; it wins {row.probability_better:.0%} of the seeds."
    if row.seeds_needed is None:
        return f"{about} the same as {reference} on every seed."
    more = max(row.seeds_needed - row.seeds, 1)
    return f"{about} not resolved against {reference} ({numbers}); about {more:,} more seeds would resolve it."


def csv_text(rows: Sequence[Row]) -> str:
    """The rows for a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV.split())
    for r in rows:
        gap = r.difference_to_ratchet
        bounds = ("", "", "") if gap is None else (gap.mean, gap.low, gap.high)
        about = (r.landscape, r.policy, r.evaluations, r.seeds, r.median, r.iqm, r.iqm_low, r.iqm_high, *bounds)
        tests = (r.probability_better, r.p_holm, r.resolved, r.seeds_needed, r.mean_rank)
        writer.writerow((*about, *tests, r.gains_per_100, r.false_advances, *r.contracts.values()))
    return out.getvalue()


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .6rem; text-align: right }
td:first-child, td:nth-child(2), th:first-child, th:nth-child(2) { text-align: left }
tr.new td { border-top: 1px solid #bbb }
.yes { font-weight: 600 } .no { color: #777 }
svg { max-width: 100%; height: auto } code { background: #f3f3f3; padding: .1rem .3rem }
"""


def page(design: Design, rows: Sequence[Row], pictures: Sequence[str], command: str) -> str:
    """One self-contained HTML page. pictures: SVG texts of our own making."""
    about = (
        f"{design.seeds} paired seeds from {design.first_seed}, {design.in_flight} in flight, ratchet preset "
        f"{html.escape(design.ratchet)}. Values are the true value of main in mbpb (1e-3 bits per byte) relative to "
        "the root; lower is better. Synthetic landscapes: they rank policies, they promise nothing about your task."
    )
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Policies compared</title><style>{_STYLE}</style>",
        f"<h1>Policies compared</h1><p><code>{html.escape(command)}</code></p><p>{about}</p>",
    ]
    for evaluations in design.evaluations:
        parts += _html_table(rows, evaluations)
    parts += pictures
    parts.append("<h2>What is resolved</h2><ul>")
    parts += [f"<li>{html.escape(sentence)}" for sentence in sentences(design, rows)]
    return "".join([*parts, "</ul></html>\n"])


def _html_table(rows: Sequence[Row], evaluations: int) -> Iterator[str]:
    yield f"<h2>{evaluations} trials</h2><table><tr>" + "".join(f"<th>{name}" for name in _COLUMNS)
    before = ""
    for row in (r for r in rows if r.evaluations == evaluations):
        new = row.landscape != before
        kind = "new " * new + ("yes" if row.resolved else "no")
        texts = (row.landscape if new else "", *cells(row))
        yield f"<tr class='{kind}'>" + "".join(f"<td>{html.escape(text)}" for text in texts)
        before = row.landscape
    yield "</table>"
