"""`ratchetree compare` as a user runs it."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ratchetree.comparing import compare
from ratchetree.search.errors import RatchetreeError
from ratchetree.search.lab.comparison import Design
from ratchetree.search.pool import Played, play_all

POLICIES = ("compare", "--policies", "ratchet,drift")


def test_compare_prints_json_with_the_promised_keys_and_writes_its_files(ratchetree: Any, tmp_path: Path) -> None:
    out = tmp_path / "lab"
    said = ratchetree(*POLICIES, "--evaluations", "20", "--seeds", "4", "--jobs", "1", "--json", "--out", out)
    assert said.code == 0, said.errors
    rows = said.json["rows"]
    assert {row["landscape"] for row in rows} >= {"additive", "valleys", "noisy", "full", "rugged", "decoys"}
    promised = {"landscape", "policy", "evaluations", "seeds", "median", "iqm", "iqm_low", "iqm_high"}
    assert all(promised | {"difference_to_ratchet", "probability_better", "resolved"} <= set(row) for row in rows)
    drift = next(row for row in rows if row["policy"] == "drift")
    assert set(drift["difference_to_ratchet"]) == {"mean", "low", "high"}
    assert len(list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))) == len(rows)
    page = (out / "index.html").read_text()
    assert "drift, on additive, 20 trials" in page
    assert "<script" not in page and " src=" not in page  # it is one file and loads nothing
    assert {path.name for path in out.iterdir()} >= {"anytime.png", "anytime.svg", "ecdf.png", "ecdf.svg"}


def test_the_same_command_gives_the_same_table_on_one_core_and_on_two(ratchetree: Any) -> None:
    options = (*POLICIES, "--landscape", "additive", "--evaluations", "30", "--seeds", "6", "--json")
    one, two = ratchetree(*options, "--jobs", "1"), ratchetree(*options, "--jobs", "2")
    assert one.json == two.json


def test_an_early_screen_changes_what_is_played_and_is_told(ratchetree: Any) -> None:
    options = (*POLICIES, "--landscape", "rugged", "--evaluations", "60", "--seeds", "2", "--jobs", "1", "--json")
    plain, screened = ratchetree(*options).json, ratchetree(*options, "--screen").json
    assert (plain["screen"], screened["screen"]) == (False, True)
    assert plain["rows"] != screened["rows"]


def test_ctrl_c_keeps_what_is_done(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def interrupted(design: Design, workers: int) -> Iterator[Played]:
        yield from itertools.islice(play_all(design, workers), 3)
        raise KeyboardInterrupt

    design = Design(policies=("ratchet", "drift"), landscapes=("additive",), evaluations=(20,), seeds=100)
    with pytest.raises(RatchetreeError, match=r"this is what was done \(3 of 100 seeds\)"):
        compare(design, out=tmp_path / "lab", as_json=True, workers=1, play=interrupted)
    shape = json.loads(capsys.readouterr().out)
    assert not shape["complete"] and [row["seeds"] for row in shape["rows"]] == [3, 3]
    assert json.loads((tmp_path / "lab" / "comparison.json").read_text()) == shape


def test_wrong_use_is_one_line_that_names_what_is_allowed(ratchetree: Any) -> None:
    for options, words in (
        (("--policies", "ratchet,ledgr"), "did you mean 'ledger'"),
        (("--policies", "ratchet", "--landscape", "ruged"), "did you mean 'rugged'"),
        (("--policies", "ratchet", "--seeds", "1"), "--seeds 1: must be at least 2"),
        (("--policies", "ratchet", "--evaluations", "0"), "must be at least 1"),
        (("--policies", "ratchet", "--evaluations", "many"), "--evaluations 'many'"),
        (("--policies", "ratchet", "--in-flight", "0"), "--in-flight 0: must be at least 1"),
        (("--policies", "ratchet", "--ratchet", "lax"), "allowed: naive, fast, default, strict"),
        (("--policies", "ratchet", "--jobs", "0"), "--jobs 0: must be at least 1"),
        (("--policies", "ratchet", "--screen", "--real", "."), "leave it out with --replay and --real"),
    ):
        said = ratchetree("compare", *options)
        assert said.code == 2
        assert words in said.errors and said.errors.count("\n") == 1
