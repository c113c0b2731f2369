"""The public JSON shapes: pinned, and always valid."""

from __future__ import annotations

import json

import pytest

from ratchetree.search.contracts import Account
from ratchetree.search.tree import Tree
from ratchetree.view.chronicle import Chronicle
from ratchetree.view.shapes import node_json, status_json, tree_json

NODE_KEYS = (
    "id parent depth verdict score failure title hypothesis category commit branch main lines_added lines_removed "
    "seconds asked by trials gain reason setback started ended"
)

NOTHING_SPENT = {
    "calls": 0,
    "dollars": 0.0,
    "unpriced": 0,
    "tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_write_tokens": 0,
    "cache_read_tokens": 0,
    "seconds": 0.0,
}


def test_status_has_these_keys_and_values(small):
    status = status_json(*small().stop("enough").read(), running=False)
    near = {key: pytest.approx(status.pop(key)) for key in ("gain", "gain_sd", "noise", "per_hour")}
    assert near == {
        "gain": 0.08,  # 2.11 - 2.03
        "gain_sd": 0.01 * (1 / 3 + 1 / 3) ** 0.5,
        "noise": 0.01,
        "per_hour": 7 * 3600 / 540,  # 5 x 70 s of single trials, 2 x 100 s of kept ones, less 10 s of the failed one
    }
    assert status.pop("root") == {"id": 0, "mean": pytest.approx(2.11), "sd": pytest.approx(0.01), "n": 3}
    assert status.pop("incumbent") == {"id": 5, "mean": pytest.approx(2.03), "sd": pytest.approx(0.01), "n": 3}
    assert status.pop("spent") == NOTHING_SPENT | {"per_experiment": 0.0, "per_gain": 0.0}
    assert status == {
        "experiments": 8,
        "kept": 2,
        "parked": 4,
        "failed": 1,
        "in_flight": 1,
        "metric": {"name": "val_bpb", "direction": "min"},
        "scorer": "trusted",
        "policy": "beam",
        "preset": "default",
        "seed": 7,
        "version": "0.1.0",
        "sessions": 1,
        "machine": {
            "host": "box",
            "cpu": "cpu",
            "cpus": 2,
            "memory_gb": 4.0,
            "gpu": "",
            "python": "",
            "torch": "",
            "system": "",
            "data": "",
            "sandbox": "",
        },
        "limits": {"experiments": 100, "hours": None, "dollars": None, "tokens": None, "gpu_hours": None},
        "started": 1000.0,
        "updated": 1630.0,
        "running": False,
        "stopped": "enough",
        "ran_seconds": 630.0,
        "train_seconds": 3 * 300.0 + 4 * 300.0 + 8 * 300.0,
        "failures": {"crash": 1},
        "claim": None,
        "starved": 0,
        "stages": {"8": "training"},
    }


@pytest.mark.parametrize(
    ("by", "scorer"), [("trusted", "trusted"), ("printed", "printed: self-reported"), ("synthetic", "synthetic")]
)
def test_status_says_who_measures_before_anything_is_scored(new_story, by, scorer):
    assert status_json(*new_story(by=by).read(), running=True)["scorer"] == scorer


def test_a_gain_is_positive_when_better_in_both_directions(small):
    for direction in ("min", "max"):
        status = status_json(*small(direction).read(), running=True)
        assert status["gain"] == pytest.approx(0.08)
        nodes = tree_json(small(direction).tree, Account())["nodes"]
        assert [node["gain"] and round(node["gain"], 6) for node in nodes] == [
            None,  # the root has no parent
            -0.02,
            -0.03,
            0.04,
            None,  # failed
            0.04,
            0.02,
            -0.02,
            None,  # in flight
        ]


def test_an_unscored_root_has_no_mean_and_no_trials(new_story):
    status = status_json(*new_story().read(), running=True)
    assert status["root"] == status["incumbent"] == {"id": 0, "mean": None, "sd": None, "n": 0}
    assert status["gain"] is None
    assert status["noise"] is None


def test_nothing_at_all_is_valid_too():
    status = status_json(Tree(), Chronicle(), running=False)
    assert status["experiments"] == 0
    assert tree_json(Tree(), Account())["nodes"] == []


def test_the_tree_lists_all_nodes_ascending(small):
    shape = tree_json(small().tree, Account())
    assert {key: shape[key] for key in ("metric", "incumbent")} == {
        "metric": {"name": "val_bpb", "direction": "min"},
        "incumbent": 5,
    }
    nodes = shape["nodes"]
    assert [(node["id"], node["parent"], node["depth"], node["verdict"]) for node in nodes] == [
        (0, None, 0, "kept"),
        (1, 0, 1, "parked"),
        (2, 0, 1, "parked"),
        (3, 0, 1, "kept"),
        (4, 0, 1, "failed"),
        (5, 3, 2, "kept"),
        (6, 2, 2, "parked"),
        (7, 3, 2, "parked"),
        (8, 5, 3, None),
    ]
    assert all(" ".join(node) == NODE_KEYS for node in nodes)


def test_a_kept_a_failed_and_a_flying_node_have_these_shapes(small):
    story = small()
    _, _, setback, kept, failed, _, _, _, flying = tree_json(story.tree, story.account)["nodes"]
    assert kept == {
        "id": 3,
        "parent": 0,
        "depth": 1,
        "verdict": "kept",
        "score": {"mean": pytest.approx(2.07), "sd": pytest.approx(0.01), "n": 3},
        "failure": None,
        "title": "halve the batch: more steps in the budget",
        "hypothesis": "it may help 3",
        "category": "optimizer",
        "commit": f"{3:040x}",
        "branch": None,
        "main": f"{3:040x}",
        "lines_added": 1,
        "lines_removed": 1,
        "seconds": 4 * 306.0,
        "asked": "improve",
        "by": "trusted",
        "trials": [2.05, 2.07, 2.06, 2.08],
        "gain": pytest.approx(0.04),
        "reason": "val_bpb of 3 beats main",
        "setback": None,
        "started": 1170 + 60.0,
        "ended": 1170 + 100.0,
    }
    assert failed["score"] is None
    assert failed["failure"] == {"kind": "crash", "message": "ValueError: no"}
    assert (flying["verdict"], flying["score"], flying["ended"], flying["reason"]) == (None, None, None, "")
    assert setback["setback"] == {
        "contract": {"expected_dip": 0.01, "max_dip": 0.05, "horizon": 4},
        "state": "open",
        "used": 0,
        "spent": 1,
        "dip": pytest.approx(0.03),
        "paid_by": None,
        "short": pytest.approx(0.09),
    }


def test_show_has_everything_of_one_node(small):
    node = node_json(small().tree, 4, Account())
    assert [key for key in node if key not in NODE_KEYS.split()] == [
        "idea",
        "report",
        "path",
        "children",
        "metric",
        "incumbent",
        "spent",
    ]
    assert node["failure"]["detail"].endswith("ValueError: no")
    assert node["idea"]["brief"] == "brief 4"
    assert node["report"] is None
    assert node_json(small().tree, 5, Account())["report"]["tokens"] == 1_200_000
    assert node_json(small().tree, 5, Account())["path"] == [0, 3, 5]
    assert node_json(small().tree, 0, Account())["children"] == [1, 2, 3, 4]
    with pytest.raises(KeyError):
        node_json(small().tree, 99, Account())


def test_not_finite_numbers_and_hostile_texts_stay_valid_json(new_story, hostile):
    story = new_story().root(2.0, 2.0).park(1, 0, float("nan")).park(2, 0, float("inf"))
    for node, title in enumerate(hostile, start=3):
        story.park(node, 0, 2.1, title)
    tree, chronicle = story.read()
    account = chronicle.account
    shapes = [status_json(tree, chronicle, running=True), tree_json(tree, account), node_json(tree, 1, account)]
    back = [json.loads(json.dumps(shape, allow_nan=False, ensure_ascii=False).encode()) for shape in shapes]
    assert back == shapes
    assert back[1]["nodes"][1]["score"] == {"mean": None, "sd": None, "n": 1}
    assert back[1]["nodes"][3]["title"] == next(iter(hostile))
