"""The tree in other tools' forms."""

from __future__ import annotations

import csv
import io
import math

import networkx as nx
import pytest

from ratchetree.search.analysis import export_rows, to_networkx
from ratchetree.search.events import (
    CampaignStarted,
    Committed,
    Event,
    Judged,
    Planned,
    Scored,
    Selected,
    Trained,
    Written,
)
from ratchetree.search.model import (
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    Patch,
    ScoreReport,
    TrialReport,
    Verdict,
)
from ratchetree.search.tree import Tree, replay

CALL = ModelCall(backend="offline")
CRASH = Failure(kind=FailureKind.CRASH, message="ValueError: no")
NASTY = 'tab\there "quoted"\nline \x1b[31m\x00 \ud800 größe'


def start() -> list[Event]:
    return [
        CampaignStarted(
            time=1.0,
            version="0.1.0",
            seed=0,
            metric=Metric(),
            root_commit="abcdef0123456789",
            root_digest="root",
            policy="beam",
            preset="default",
            settings="{}",
            machine=Machine(host="box", cpu="cpu", cpus=2, memory_gb=4.0),
        )
    ]


def trial(node: int, number: int, value: float, memory_mb: float = 1536.0) -> list[Event]:
    report = TrialReport(startup_seconds=1.0, train_seconds=10.0, cpu_seconds=9.0, peak_memory_mb=memory_mb)
    return [
        Trained(time=2.0, experiment=node, trial=number, seed=number, seconds=11.0, outcome=report),
        Scored(time=2.0, experiment=node, trial=number, seconds=1.5, outcome=ScoreReport(value=value)),
    ]


def judged(node: int, verdict: Verdict, failure: Failure | None = None) -> list[Event]:
    return [Judged(time=3.0, experiment=node, verdict=verdict, reason="because", against=0, failure=failure)]


def begun(node: int, parent: int, title: str) -> list[Event]:
    idea = Idea(title=title, hypothesis="h", mechanism="m", category="optimizer", brief=title)
    return [
        Selected(time=1.0, experiment=node, options=(Expansion(node=parent),)),
        Planned(time=1.0, experiment=node, parent=parent, asked=ExpansionKind.IMPROVE, outcome=idea, call=CALL),
        Written(
            time=1.0,
            experiment=node,
            attempt=0,
            patch=Patch(edits=()),
            failure=None,
            digest=str(node),
            lines_added=3,
            lines_removed=1,
            call=CALL,
        ),
        Committed(time=1.0, experiment=node, attempt=0, commit=f"{node:07d}fff"),
    ]


def tree() -> Tree:
    """0 -> 1 kept, 2 parked (nasty title), 3 crashed, 4 without an idea, 5 in flight."""
    no_idea = Failure(kind=FailureKind.NO_IDEA, message="nothing left")
    return replay(
        [
            *start(),
            *trial(0, 0, 1.0),
            *trial(0, 1, 1.2),
            *judged(0, Verdict.KEPT),
            *begun(1, 0, "halve the batch"),
            *trial(1, 0, 0.8),
            *trial(1, 1, 0.9, memory_mb=2355.2),
            *judged(1, Verdict.KEPT),
            *begun(2, 1, NASTY),
            *trial(2, 0, 1.05),
            *judged(2, Verdict.PARKED),
            *begun(3, 1, "crash"),
            Trained(time=2.0, experiment=3, trial=0, seed=0, seconds=4.0, outcome=CRASH),
            *judged(3, Verdict.FAILED, CRASH),
            Selected(time=1.0, experiment=4, options=(Expansion(node=1),)),
            *judged(4, Verdict.FAILED, no_idea),
            *begun(5, 1, "in flight"),
        ]
    )


def test_rows_begin_with_the_fields_five_columns():
    rows = export_rows(tree())
    assert [row[:5] for row in rows] == [
        ["commit", "val_bpb", "memory_gb", "status", "description"],
        ["abcdef0", "1.100000", "1.5", "keep", "baseline"],
        ["0000001", "0.900000", "2.3", "keep", "halve the batch"],
        ["0000002", "1.050000", "1.5", "discard", "tab here 'quoted' line [31m größe"],
        ["0000003", "0.000000", "0.0", "crash", "crash"],
        ["0000000", "0.000000", "0.0", "crash", "(no idea)"],
    ]


def test_rows_go_on_with_ours():
    header, root, kept, _, crashed, _ = export_rows(tree())
    named = [dict(zip(header[5:], row[5:], strict=True)) for row in (root, kept, crashed)]
    assert [(row["id"], row["parent"], row["verdict"], row["n"], row["failure"]) for row in named] == [
        ("0", "", "kept", "2", ""),
        ("1", "0", "kept", "1", ""),
        ("3", "1", "failed", "0", "crash"),
    ]
    assert named[0]["sd"] == "0.141421"  # of 1.0 and 1.2
    assert named[1]["seconds"] == "25.0"  # two trials of 11 + 1.5
    assert (named[1]["lines_added"], named[1]["lines_removed"]) == ("3", "1")
    assert named[1]["full_commit"] == "0000001fff"


def test_a_tsv_reader_gets_every_row_back():
    rows = export_rows(tree())
    text = "".join("\t".join(row) + "\n" for row in rows)
    assert list(csv.reader(io.StringIO(text), delimiter="\t")) == rows
    assert text.encode()  # no lone surrogates


def test_before_the_root_is_judged_there_is_only_a_header():
    assert len(export_rows(replay(start()))) == 1
    assert len(export_rows(Tree())) == 1


def test_the_graph_has_the_trees_nodes_and_edges():
    graph = to_networkx(tree())
    assert list(graph.nodes) == [0, 1, 2, 3, 4, 5]
    assert sorted(graph.edges) == [(0, 1), (1, 2), (1, 3), (1, 4), (1, 5)]
    assert graph.graph == {"metric": "val_bpb", "direction": "min", "incumbent": 1}
    assert graph.nodes[1]["mean"] == 0.9
    assert graph.nodes[1]["incumbent"] is True
    assert graph.nodes[5]["verdict"] == "in flight"
    assert "mean" not in graph.nodes[3]
    assert graph.nodes[3]["failure"] == "crash"
    assert nx.is_arborescence(graph)


def test_graphml_is_written_and_read_back(tmp_path):
    graph, path = to_networkx(tree()), tmp_path / "tree.graphml"
    nx.write_graphml(graph, path)
    back = nx.read_graphml(path, node_type=int)
    assert dict(back.nodes(data=True)) == {node: dict(data) for node, data in graph.nodes(data=True)}
    assert set(back.edges) == set(graph.edges)
    assert back.nodes[2]["title"] == 'tab\there "quoted"\nline \ufffd[31m\ufffd \ufffd größe'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_left_out_of_the_graph(value):
    events = [*start(), *trial(0, 0, value), *judged(0, Verdict.KEPT)]
    assert "mean" not in to_networkx(replay(events)).nodes[0]
