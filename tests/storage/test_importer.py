"""Other people's runs, as they come: a clean table, dirty tables, a repository with its table, and history alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchetree.search.errors import RatchetreeError, WrongUse
from ratchetree.search.model import FailureKind, Verdict
from ratchetree.search.tree import FAILED, KEPT, PARKED, Tree, replay
from ratchetree.storage.importer import Wishes, import_run
from ratchetree.storage.rebuild import events_from_git
from ratchetree.storage.results_table import Findings, Table, read_table
from ratchetree.storage.verify import verify
from ratchetree.storage.workspace import Workspace

Git = Callable[..., str]
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def read(text: str, **given: str) -> tuple[Table, Findings]:
    findings = Findings()
    wishes = {"metric": None, "direction": None} | given
    return read_table(text, findings, **wishes), findings  # type: ignore[arg-type]


def bring(source: Path, folder: Path, **wishes: object) -> tuple[Tree, Findings, Workspace]:
    findings = import_run(source, folder, Wishes(**wishes), version="0", now=2e9)  # type: ignore[arg-type]
    workspace = Workspace(folder)
    return replay(workspace.read_events()), findings, workspace


# -- tables ------------------------------------------------------------------------------------------------------


def test_statuses_beyond_keep_and_discard_are_understood_and_unknown_ones_are_told() -> None:
    words = [
        "keep",
        "Kept",
        "baseline",
        "discard",
        "REVERTED",
        "crash",
        "OOM",
        "timeout",
        "no improvement",
        "mystery",
        "",
    ]
    table, findings = read(HEADER + "".join(f"a{i}\t0.9\t1.0\t{word}\tx\n" for i, word in enumerate(words)))
    expected = [
        "keep",
        "keep",
        "keep",
        "discard",
        "discard",
        "crash",
        "crash",
        "crash",
        "discard",
        "discard",
        "discard",
    ]
    assert [row.status for row in table.rows] == expected
    assert table.rows[6].failure is FailureKind.OUT_OF_MEMORY
    assert any("mystery" in line and "empty" in line for line in findings.guessed)


@pytest.mark.parametrize("coded", ["0.000000", "100.0", "nan", "", "inf", "-", "N/A"])
def test_a_crash_has_no_score_however_it_is_coded(coded: str) -> None:
    table, _ = read(f"{HEADER}a\t0.98\t1\tkeep\tbase\nb\t{coded}\t0.0\tcrash\tboom\nc\t{coded}\t0\tdiscard\tboom\n")
    assert [(row.value, row.status) for row in table.rows] == [(0.98, "keep"), (None, "crash"), (None, "crash")]


def test_zero_and_one_hundred_may_be_scores_where_scores_are_like_that() -> None:
    table, _ = read("commit\taccuracy\tstatus\tdescription\na\t97.5\tkeep\tx\nb\t100.0\tkeep\ty\n")
    assert [row.value for row in table.rows] == [97.5, 100.0]
    assert table.direction == "max"


def test_line_breaks_inside_cells_are_joined_and_told() -> None:
    table, findings = read(HEADER + 'a\t0.98\t1.0\tkeep\t"first line\nsecond line"\nb\t0.97\t1.0\tkeep\tnext\n')
    assert [row.description for row in table.rows] == ["first line second line", "next"]
    assert any("line break" in line for line in findings.guessed)


def test_columns_are_found_by_their_header_in_any_order_and_extra_ones_are_ignored() -> None:
    text = "exp_id\tDescription\tStatus\tval_loss\tpeak_vram_mb\tcommit\n1\tbase\tkeep\t3.25\t2048\tabc1234\n"
    table, _ = read(text)
    (row,) = table.rows
    assert (table.metric, row.value, row.memory_mb, row.commit) == ("val_loss", 3.25, 2048.0, "abc1234")


def test_a_table_with_commas_without_a_header_or_without_statuses_is_read() -> None:
    table, _ = read('commit,val_bpb,status,description\na,0.98,keep,"one, two\nthree"\n')
    assert table.rows[0].description == "one, two\nthree"
    table, findings = read("a1b2c3d\t0.98\t44.0\tkeep\tbase\n", direction="min")
    assert table.rows[0].value == 0.98 and any("no header" in line for line in findings.guessed)
    table, findings = read("commit\tval_bpb\tdescription\na\t0.98\tx\nb\t0.99\ty\nc\t0.97\tz\n")
    assert [row.status for row in table.rows] == ["keep", "discard", "keep"]
    assert any("no status column" in line for line in findings.guessed)


def test_the_direction_is_seen_by_what_was_kept_or_asked_for() -> None:
    rows = "commit\telo\tstatus\tdescription\na\t1500\tkeep\tx\nb\t1600\tkeep\ty\nc\t1550\tdiscard\tz\n"
    assert read(rows)[0].direction == "max"
    with pytest.raises(WrongUse, match="--direction min or max"):
        read("commit\telo\tstatus\tdescription\na\t1500\tkeep\tx\n")


@pytest.mark.parametrize("text", ["", "\n\n", "commit\tstatus\tdescription\na\tkeep\tx\n"])
def test_what_is_no_table_of_results_is_refused(text: str) -> None:
    with pytest.raises(WrongUse):
        read(text)


def test_two_possible_metrics_must_be_chosen_between() -> None:
    text = "commit\ttrain_x\tval_x\tstatus\tdescription\na\t1.0\t2.0\tkeep\tx\n"
    with pytest.raises(WrongUse, match="could be any of train_x, val_x"):
        read(text)
    assert read(text, metric="val_x", direction="min")[0].rows[0].value == 2.0


# -- whole runs ----------------------------------------------------------------------------------------------------


def test_a_table_alone_becomes_a_campaign_with_self_reported_scores(tmp_path: Path) -> None:
    rows = [
        "base\t0.99\t44.0\tkeep\tbaseline",
        "b\t0.98\t44.0\tkeep\tbatch",
        "c\t0.985\t44.0\tdiscard\trandom seed 42 to 7",
    ]
    source = tmp_path / "results.tsv"
    source.write_text(HEADER + "\n".join([*rows, "d\t0.0\t0.0\tcrash\tdepth 99", "e\t0.97\t44.0\tkeep\twindow"]) + "\n")
    tree, findings, workspace = bring(source, tmp_path / "run")
    assert (tree.counts[KEPT], tree.counts[PARKED], tree.counts[FAILED], tree.incumbent) == (2, 1, 1, 4)
    assert [tree.node(n).parent for n in range(1, 5)] == [0, 1, 1, 1]
    assert tree.node(4).by == "printed"
    assert tree.noise == pytest.approx(0.005 / math.sqrt(2))  # the row that changed the seed alone
    assert tree.noise_freedom == 0
    assert any("code" in line for line in findings.left_out)
    assert verify(tree, {}, workspace.repository()) == []
    assert events_from_git(workspace.repository()) == workspace.read_events()
    with pytest.raises(WrongUse, match=r"holds no train\.py"):
        workspace.check_code(workspace.repository())


def test_a_wide_table_without_a_header_is_understood_by_what_its_columns_hold() -> None:
    rows = [f"HEAD\tbig-model\t397\t{i}.5\tkeep\tgroup {i} experts a thread\n" for i in range(3)]
    with pytest.raises(WrongUse, match=r"could be any of column_3, column_4: name it"):
        read("".join(rows))
    table, findings = read("".join(rows), metric="column_4", direction="max")
    assert [(row.commit, row.value, row.status) for row in table.rows] == [("HEAD", i + 0.5, "keep") for i in range(3)]
    assert table.rows[1].description == "group 1 experts a thread"
    assert any("no header" in line for line in findings.guessed)


def test_columns_that_name_the_metric_and_its_direction_are_believed() -> None:
    header = "run_id\tmetric_name\tmetric_value\tmetric_direction\tdecision\tidea\n"
    table, _ = read(header + "a\tseparation\t0.9\tmax\tkeep\tx\n" + "b\tseparation\t0.8\tmax\treject\ty\n")
    assert (table.metric, table.direction, table.rows[0].value) == ("separation", "max", 0.9)


def test_tables_of_a_hyperparameter_search_are_judged_by_their_best_so_far() -> None:
    optuna = "number,value,datetime_start,duration,params_lr,params_depth,user_attrs_host,state\n"
    optuna += "0,0.9,2026-01-01 10:00:00,0 days,0.1,4,7,COMPLETE\n1,0.95,2026-01-01 10:01:00,0 days,0.2,4,7,COMPLETE\n"
    optuna += "2,,2026-01-01 10:02:00,0 days,0.3,4,7,FAIL\n3,0.5,2026-01-01 10:03:00,0 days,0.4,4,7,PRUNED\n"
    optuna += "4,0.8,2026-01-01 10:04:00,0 days,0.5,4,7,COMPLETE\n"
    table, findings = read(optuna, direction="min")
    assert [row.status for row in table.rows] == ["keep", "discard", "crash", "discard", "keep"]
    assert (table.metric, table.rows[1].description, table.rows[1].time) == (
        "value",
        "lr=0.2, depth=4",
        "2026-01-01 10:01:00",
    )
    assert any("no column says what was kept" in line for line in findings.guessed)
    mlflow = "run_id\tstatus\tmetrics.val_loss\tparams.lr\n"
    table, _ = read(mlflow + "a\tFINISHED\t2.0\t0.1\nb\tFAILED\t\t0.2\nc\tFINISHED\t1.9\t0.3\n")
    assert (table.metric, [row.status for row in table.rows]) == ("val_loss", ["keep", "crash", "keep"])


def test_a_header_without_rows_is_said_to_be_that() -> None:
    with pytest.raises(WrongUse, match=r"has a header .* but no row"):
        read(HEADER)


def test_a_run_repeated_to_the_last_digit_says_nothing_of_the_noise(tmp_path: Path) -> None:
    source = tmp_path / "results.tsv"
    source.write_text(HEADER + "a\t0.9\t1\tkeep\tbaseline\nb\t0.900001\t1\tdiscard\trerun the baseline\n")
    tree, findings, _ = bring(source, tmp_path / "run")
    assert tree.noise is None
    assert any("repeat a run to the last digits" in line for line in findings.guessed)


def test_the_h100_run_of_march_is_read_as_everybody_knows_it(tmp_path: Path) -> None:
    tree, findings, _ = bring(Path(__file__).parents[1] / "search" / "data" / "h100_mar8_results.tsv", tmp_path / "run")
    assert (tree.experiments, tree.counts[KEPT], tree.counts[PARKED], tree.counts[FAILED]) == (125, 22, 102, 1)
    assert (tree.node(0).values, tree.node(tree.incumbent).values) == ((0.997900,), (0.969686,))
    assert tree.noise == pytest.approx((0.973799 - 0.973104) / math.sqrt(2))  # "random seed 42 to 137"
    assert findings.disagree == []


@pytest.fixture
def theirs(tmp_path: Path, git: Git) -> Path:
    """An autoresearch run as it is left: keeps on a branch, a discard reset away, one that is gone, and the table."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "program.md").write_text("lower it\n")
    (folder / "train.py").write_text("LR = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "baseline")
    git(folder, "switch", "-q", "-c", "autoresearch/tag")
    rows = [("root", git(folder, "rev-parse", "--short", "HEAD"), "0.990", "keep")]
    for name, value, status in (("a", "0.980", "keep"), ("b", "0.985", "discard"), ("c", "0.970", "keep")):
        (folder / "train.py").write_text(f"LR = '{name}'\n")
        git(folder, "commit", "-qam", f"try {name}")
        rows.append((f"try {name}", git(folder, "rev-parse", "--short", "HEAD"), value, status))
        if status == "discard":
            git(folder, "reset", "-q", "--hard", "HEAD~1")
    rows += [("gone", "deadbee", "0.99", "discard"), ("relative", "HEAD~2", "0.99", "discard")]
    lines = "".join(f"{commit}\t{value}\t1.0\t{status}\t{title}\n" for title, commit, value, status in rows)
    (folder / "results.tsv").write_text(HEADER + lines)
    return folder


def test_a_repository_brings_its_commits_diffs_and_a_campaign_that_can_go_on(
    theirs: Path, tmp_path: Path, git: Git
) -> None:
    before = git(theirs, "rev-parse", "HEAD")
    tree, findings, workspace = bring(theirs, tmp_path / "run")
    folder = tmp_path / "run"
    assert [tree.node(n).verdict for n in (1, 2, 3)] == [Verdict.KEPT, Verdict.PARKED, Verdict.KEPT]
    assert git(folder, "rev-parse", "main") == before == git(folder, "rev-parse", "refs/ratchetree/0003")
    assert git(folder, "show", "parked/0002-try-b:train.py") == "LR = 'b'"
    assert (tree.node(1).lines_added, tree.node(1).lines_removed) == (1, 1)
    assert findings.disagree == []
    assert any("deadbee" in line for line in findings.left_out) and any("HEAD~2" in line for line in findings.left_out)
    assert tree.closed == {4, 5}  # nothing can go on from what has no files
    assert verify(tree, {}, workspace.repository()) == []
    assert events_from_git(workspace.repository()) == workspace.read_events()
    workspace.repository().check_ready()
    workspace.check_code(workspace.repository())
    assert git(theirs, "status", "--porcelain") == "?? results.tsv"


def test_where_git_and_the_rule_disagree_on_a_parent_it_is_said(theirs: Path, tmp_path: Path) -> None:
    table = (theirs / "results.tsv").read_text()
    (theirs / "results.tsv").write_text(table.replace("0.985\t1.0\tdiscard", "0.975\t1.0\tkeep"))
    tree, findings, _ = bring(theirs, tmp_path / "run")
    assert tree.node(3).parent == 2
    assert (
        len(findings.disagree) == 1 and "0003" in findings.disagree[0] and "in git it is 0001" in findings.disagree[0]
    )


def test_a_commit_that_two_rows_name_and_commits_that_no_row_names_are_told(theirs: Path, tmp_path: Path) -> None:
    lines = (theirs / "results.tsv").read_text().splitlines()
    (theirs / "results.tsv").write_text("\n".join([*lines[:3], lines[2].replace("try a", "again")]) + "\n")
    tree, findings, _ = bring(theirs, tmp_path / "run")
    assert len(tree) == 3 and tree.node(2).commit is None
    assert any("an earlier row has" in line for line in findings.guessed)
    assert any("1 commit that no row names" in line for line in findings.left_out)


def test_notes_and_plots_committed_in_between_are_no_disagreement_but_code_without_a_row_is_told(
    theirs: Path, tmp_path: Path, git: Git
) -> None:
    for name, text in (("plot.py", "print()\n"), ("train.py", "LR = 'between'\n")):
        (theirs / name).write_text(text)
        git(theirs, "add", name)
        git(theirs, "commit", "-q", "-m", "no experiment")
        (theirs / "train.py").write_text(f"LR = 'after {name}'\n")
        git(theirs, "commit", "-qam", f"try after {name}")
        with (theirs / "results.tsv").open("a") as table:
            table.write(f"{git(theirs, 'rev-parse', 'HEAD')[:9]}\t0.96\t1.0\tkeep\tafter {name}\n")
    _, findings, _ = bring(theirs, tmp_path / "run")
    assert findings.disagree == []
    assert "1 row whose diff holds commits that no row names (1 before 0007)" in findings.left_out


def test_a_table_that_was_emptied_is_read_where_it_was_fullest_and_one_elsewhere_can_be_named(
    theirs: Path, tmp_path: Path, git: Git
) -> None:
    full = (theirs / "results.tsv").read_text()
    for text in (full, HEADER):
        (theirs / "results.tsv").write_text(text)
        git(theirs, "add", "results.tsv")
        git(theirs, "commit", "-q", "-m", "table")
    tree, findings, _ = bring(theirs, tmp_path / "run")
    assert tree.experiments == 5 and any("is empty now" in line for line in findings.guessed)
    git(theirs, "mv", "results.tsv", "old-results.tsv")
    git(theirs, "commit", "-q", "-m", "moved")
    with pytest.raises(WrongUse, match=r"has no results\.tsv, but old-results\.tsv: name one"):
        bring(theirs, tmp_path / "again")
    tree, _, _ = bring(theirs, tmp_path / "named", results=Path("HEAD~2:results.tsv"))
    assert tree.experiments == 5
    with pytest.raises(WrongUse, match="is no file, and none of the repository"):
        bring(theirs, tmp_path / "none", results=Path("nowhere.tsv"))


def test_what_a_partial_clone_lacks_is_left_behind(theirs: Path, tmp_path: Path, git: Git) -> None:
    blob = git(theirs, "rev-parse", "HEAD:train.py")
    (theirs / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    git(theirs, "update-ref", "HEAD", "HEAD~1")
    lines = (theirs / "results.tsv").read_text().splitlines()
    (theirs / "results.tsv").write_text("\n".join(lines[:5]) + "\n")  # the last keep's file is gone
    text = (theirs / "results.tsv").read_text().replace("0.970\t1.0\tkeep", "0.970\t1.0\tdiscard")
    (theirs / "results.tsv").write_text(text)
    tree, findings, workspace = bring(theirs, tmp_path / "run")
    assert tree.node(1).commit is not None and tree.node(3).commit is None
    assert any("1 row whose code a partial clone lacks" in line for line in findings.left_out)
    assert git(workspace.folder, "show", "main:train.py") == "LR = 'a'"


def test_a_root_whose_code_is_gone_ends_the_import_with_nothing_left_behind(
    theirs: Path, tmp_path: Path, git: Git
) -> None:
    blob = git(theirs, "rev-parse", "main:train.py")
    (theirs / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(RatchetreeError, match="git"):
        bring(theirs, tmp_path / "run", root=git(theirs, "rev-parse", "main"))
    assert not (tmp_path / "run").exists()


def test_history_alone_gives_keeps_scores_from_messages_and_reverts(tmp_path: Path, git: Git) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for i, message in enumerate(("val_bpb 0.99", "wider: val_bpb 0.99 -> 0.98", "deeper, val_bpb=0.97")):
        (folder / "train.py").write_text(f"X = {i}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", message)
    git(folder, "revert", "--no-edit", "HEAD")
    (folder / "train.py").write_text("X = 9\n")
    git(folder, "commit", "-qam", "warmer: val_bpb 0.975")
    tree, findings, _ = bring(folder, tmp_path / "run")
    assert [tree.node(n).verdict for n in range(4)] == [Verdict.KEPT, Verdict.KEPT, Verdict.PARKED, Verdict.KEPT]
    assert [tree.node(n).parent for n in (2, 3)] == [1, 1]
    assert [node.values for node in tree.nodes()] == [(0.99,), (0.98,), (0.97,), (0.975,)]
    assert any("takes back" in line for line in findings.read)


def test_nothing_is_made_where_nothing_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(WrongUse, match="is not there"):
        bring(tmp_path / "nowhere", folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongUse, match="neither a git repository"):
        bring(tmp_path / "empty", folder)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0\0")
    with pytest.raises(WrongUse, match="no text"):
        bring(tmp_path / "picture.png", folder)
    assert not folder.exists()
    folder.mkdir()
    (folder / "mine").write_text("precious")
    with pytest.raises(WrongUse, match="not an empty folder"):
        bring(tmp_path / "picture.png", folder)
