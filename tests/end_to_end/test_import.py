"""Somebody else's run, brought in and continued by one command each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TRAIN = """LR = {lr}
WIDTH = 8


def main():
    print(f"val_bpb: {{abs(LR - 0.03) + 1 / WIDTH:.6f}}")


if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_an_imported_repository_is_gone_on_with(ratchetree: Any, git: Any, tmp_path: Path) -> None:
    theirs, run = tmp_path / "theirs", tmp_path / "run"
    theirs.mkdir()
    git(theirs, "init", "-q", "-b", "main")
    (theirs / "program.md").write_text("lower it\n")
    rows = ["commit\tval_bpb\tstatus\tdescription"]
    for lr, value in ((0.1, 0.195), (0.05, 0.145)):
        (theirs / "train.py").write_text(TRAIN.format(lr=lr))
        git(theirs, "add", "-A")
        git(theirs, "commit", "-q", "-m", f"lr {lr}")
        rows.append(f"{git(theirs, 'rev-parse', '--short', 'HEAD')}\t{value}\tkeep\tlr {lr}")
    (theirs / "results.tsv").write_text("\n".join(rows) + "\n")
    assert ratchetree("import", theirs, run).code == 0
    assert ratchetree("diff", 1, "-C", run).out.count("\n+LR = 0.05") == 1
    done = ratchetree("run", run, "--experiments", 3)
    assert done.code == 0, done.errors
    status = ratchetree("status", run, "--json").json
    assert (status["experiments"], status["scorer"]) == (3, "printed: self-reported")
    tree = ratchetree("tree", run, "--json").json
    assert [node["parent"] for node in tree["nodes"][:3]] == [None, 0, 1]
    assert all(node["score"] for node in tree["nodes"])
    assert ratchetree("verify", run).code == 0


def test_a_table_alone_says_in_one_line_that_there_is_nothing_to_run(ratchetree: Any, tmp_path: Path) -> None:
    (tmp_path / "results.tsv").write_text(
        "commit\tval_bpb\tstatus\tdescription\na\t0.99\tkeep\tbase\nb\t0.98\tkeep\tx\n"
    )
    said = ratchetree("import", tmp_path / "results.tsv", tmp_path / "run", "--json")
    assert said.code == 0 and said.json["disagree"] == []
    said = ratchetree("run", tmp_path / "run")
    assert (said.code, said.errors.count("\n")) == (2, 1) and "holds no train.py" in said.errors
    said = ratchetree("diff", 1, "-C", tmp_path / "run")
    assert (said.code, said.errors.count("\n")) == (2, 1) and "without its files" in said.errors
    assert ratchetree("import", tmp_path / "results.tsv", tmp_path / "run").code == 2
