"""Whatever a user does wrong gets one clear line and the right exit code, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchetree import __version__

Git = Callable[..., str]

SYNTHETIC = """
[search]
policy = "ratchet"
in_flight = 1
[budget]
seconds = 0.01
[trainer]
executor = "synthetic"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose campaign needs no training, and beside it the same after 12 experiments: to be copied, because
    a command takes a second to start."""
    place = tmp_path_factory.mktemp("made")
    fresh, searched = place / "fresh", place / "searched"
    command = [sys.executable, "-m", "ratchetree"]
    subprocess.run([*command, "init", fresh, "--task", "command"], check=True, capture_output=True)
    (fresh / "ratchetree.toml").write_text(SYNTHETIC)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, "commit", "-qam", "settings"], cwd=fresh, check=True)
    shutil.copytree(fresh, searched, symlinks=True)
    subprocess.run([*command, "run", searched, "--experiments", "12"], check=True, capture_output=True)
    return place


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    """A workspace in which nothing ran."""
    return Path(shutil.copytree(made / "fresh", tmp_path / "ein Arbeitsplatz ä", symlinks=True))


@pytest.fixture
def searched(made: Path, tmp_path: Path) -> Path:
    """A workspace with 12 experiments."""
    return Path(shutil.copytree(made / "searched", tmp_path / "ein Arbeitsplatz ä", symlinks=True))


def refused(said: Any, *parts: str, code: int = 2) -> None:
    """One line on standard error that names everything in `parts`, and the exit code."""
    assert said.code == code, said
    lines = said.errors.strip().splitlines()
    assert len(lines) == 1, said.errors
    assert lines[0].startswith("ratchetree: ")
    for part in parts:
        assert part in lines[0]


def state(folder: Path, git: Git) -> tuple[Any, ...]:
    """Everything that a refused command must not change."""
    refs = git(folder, "for-each-ref") if (folder / ".git").exists() else ""
    journal = folder / ".ratchetree" / "journal.db"
    return refs, (folder / "train.py").read_bytes(), journal.read_bytes() if journal.exists() else None


def test_options_and_commands_that_do_not_exist(ratchetree: Any, workspace: Path) -> None:
    refused(ratchetree("run", workspace, "--polcy", "beam"), "No such option: --polcy", "--policy")
    refused(ratchetree("rnu", workspace), "No such command 'rnu'")
    refused(ratchetree("run", workspace, "--experiments", "many"), "--experiments many", "valid integer")
    refused(ratchetree("show", "x"), "'ID'", "given: show x")


def test_values_on_the_command_line_are_checked_like_those_in_the_file(ratchetree: Any, workspace: Path) -> None:
    refused(ratchetree("run", workspace, "--policy", "beem"), "'beem' is not known", "did you mean 'beam'", "random")
    refused(ratchetree("run", workspace, "--experiments", "-1"), "limits.experiments = -1")
    refused(ratchetree("run", workspace, "--seconds", "0"), "budget.seconds = 0")
    refused(ratchetree("run", workspace, "--slots", "0"), "trainer.slots = 0")
    refused(ratchetree("run", workspace, "--agents", "oracle"), "agents.planner.backend = 'oracle'", "'offline'")


def test_init_into_a_folder_in_use_or_of_an_unknown_task(ratchetree: Any, workspace: Path, git: Git) -> None:
    before = state(workspace, git)
    refused(ratchetree("init", workspace), "exists and is not an empty folder")
    refused(
        ratchetree("init", workspace.parent / "new", "--task", "chess"), "'chess'", "gpt-gpu, autoresearch, command"
    )
    new = workspace.parent / "new"
    refused(ratchetree("init", new, "--task", "autoresearch"), "autoresearch with no SOURCE")
    refused(ratchetree("init", new, workspace), "gpt-cpu with SOURCE")
    refused(ratchetree("init", new, workspace, "--task", "autoresearch"), "imports nothing from prepare")
    assert not (workspace.parent / "new").exists()
    assert state(workspace, git) == before


def test_folders_that_are_no_workspace(ratchetree: Any, tmp_path: Path) -> None:
    refused(ratchetree("run", tmp_path / "missing"), "is not a folder", "ratchetree init")
    refused(ratchetree("run", tmp_path), "no ratchetree.toml")
    refused(ratchetree("status", tmp_path), "no ratchetree.toml")
    (tmp_path / "ratchetree.toml").write_text("")
    refused(ratchetree("run", tmp_path), "not the top folder of a git repository")


def test_reading_a_workspace_in_which_nothing_ran(ratchetree: Any, workspace: Path) -> None:
    for command in (("status",), ("tree",), ("export",), ("verify",)):
        refused(ratchetree(*command, workspace), "nothing has run here yet", code=1)
    refused(ratchetree("rebuild", workspace), "git holds no experiment", code=1)


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ([["switch", "-q", "--detach"]], "HEAD is detached"),
        ([["branch", "-m", "main", "trunk"]], "no branch main"),
        ([["rm", "-q", "program.md"], ["commit", "-qm", "x"]], "program.md is missing"),
        ([["rm", "-q", "train.py"], ["commit", "-qm", "x"]], "train.py is missing"),
    ],
)
def test_repositories_that_are_not_ready(
    ratchetree: Any, workspace: Path, git: Git, commands: list[list[str]], message: str
) -> None:
    for command in commands:
        git(workspace, *command)
    refused(ratchetree("run", workspace, "--experiments", "1"), message)


def test_a_dirty_tree_keeps_the_users_edit(ratchetree: Any, workspace: Path, git: Git) -> None:
    (workspace / "train.py").write_text("my edit\n")
    before = state(workspace, git)
    refused(ratchetree("run", workspace), "uncommitted changes (train.py)", "commit or stash")
    assert state(workspace, git) == before


@pytest.mark.parametrize(
    ("toml", "parts"),
    [
        ("[budget]\nsecond = 1\n", ("budget.second = 1", "did you mean 'seconds'")),
        ("[budget]\nseconds = 'x'\n", ("budget.seconds = 'x'",)),
        ("[search\n", ("not valid TOML", "line 1")),
        ("[search.beam]\nwidht = 3\n", ("search.beam.widht = 3", "did you mean 'width'")),
    ],
)
def test_mistakes_in_the_toml(ratchetree: Any, workspace: Path, git: Git, toml: str, parts: tuple[str, ...]) -> None:
    (workspace / "ratchetree.toml").write_text(toml)
    git(workspace, "commit", "-qam", "x")
    refused(ratchetree("run", workspace), *parts)


def test_a_baseline_that_fails_says_what_it_printed_and_does_not_start(
    ratchetree: Any, tmp_path: Path, git: Git
) -> None:
    folder = tmp_path / "broken"
    assert ratchetree("init", folder, "--task", "command").code == 0
    good = (folder / "train.py").read_text()
    (folder / "train.py").write_text(good.replace("    weights = train(rng, data)", "    weights = train(rng, dta)"))
    git(folder, "commit", "-qam", "broken")
    said = ratchetree("run", folder, "--experiments", "1")
    assert said.code == 1
    assert "the baseline failed (crash: NameError: name 'dta' is not defined" in said.errors
    assert 'File "train.py"' in said.errors
    assert git(folder, "for-each-ref", "refs/ratchetree") == ""
    (folder / "train.py").write_text(good)
    git(folder, "commit", "-qam", "mended")
    assert ratchetree("run", folder, "--experiments", "1").code == 0


def test_a_second_campaign_in_one_workspace(ratchetree: Any, workspace: Path, git: Git) -> None:
    (workspace / "ratchetree.toml").write_text(SYNTHETIC.replace("0.01", "2"))
    git(workspace, "commit", "-qam", "slow")
    first = ratchetree.start("run", workspace, "--experiments", "50")
    try:
        deadline = time.monotonic() + 30
        while not (workspace / ".ratchetree" / "journal.db").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        refused(ratchetree("run", workspace), "already running", str(first.pid))
        refused(ratchetree("rebuild", workspace), "already running")
        assert ratchetree("status", workspace, "--json").json["running"] is True
    finally:
        first.kill()
        first.communicate()
    assert ratchetree("status", workspace, "--json").json["running"] is False
    said = ratchetree("run", workspace, "--experiments", "0")
    assert said.code == 0
    assert "the last run ended without a stop" in said.out


def test_a_journal_that_was_deleted_comes_back_from_git_as_the_same_tree(ratchetree: Any, searched: Path) -> None:
    before = ratchetree("tree", searched, "--json").json
    for path in (searched / ".ratchetree").glob("journal.db*"):
        path.unlink()
    refused(ratchetree("run", searched, "--experiments", "13"), "the journal is gone", "13 nodes", "ratchetree rebuild")
    assert ratchetree("rebuild", searched).code == 0
    assert ratchetree("tree", searched, "--json").json == before
    assert ratchetree("verify", searched).code == 0
    assert ratchetree("run", searched, "--experiments", "14").code == 0
    assert ratchetree("status", searched, "--json").json["experiments"] == 14


def test_a_journal_that_was_cut_is_kept_beside_the_rebuilt_one(ratchetree: Any, searched: Path) -> None:
    before = ratchetree("tree", searched, "--json").json
    journal = searched / ".ratchetree" / "journal.db"
    journal.write_bytes(journal.read_bytes()[:20_000])
    refused(ratchetree("run", searched), "is damaged", "ratchetree rebuild", code=1)
    assert "kept as journal.db." in ratchetree("rebuild", searched).out
    assert ratchetree("tree", searched, "--json").json == before


def test_refs_deleted_by_hand_are_named_and_put_back(ratchetree: Any, searched: Path, git: Git) -> None:
    parked = git(searched, "branch", "--list", "parked/*", "--format=%(refname)").splitlines()[0]
    git(searched, "update-ref", "-d", "refs/ratchetree/0003")
    git(searched, "update-ref", "-d", parked)
    said = ratchetree("verify", searched)
    assert said.code == 1
    assert "refs/ratchetree/0003 is gone" in said.out
    assert f"{parked} is gone" in said.out
    assert ratchetree("verify", searched, "--fix").code == 0
    assert ratchetree("verify", searched).code == 0
    assert ratchetree("run", searched, "--experiments", "13").code == 0


def test_main_moved_by_the_user_is_named_with_the_way_back(ratchetree: Any, searched: Path, git: Git) -> None:
    expected = git(searched, "rev-parse", "main")
    git(searched, "commit", "-q", "--allow-empty", "-m", "mine")
    refused(ratchetree("run", searched, "--experiments", "13"), f"git update-ref refs/heads/main {expected}", code=1)
    assert ratchetree("verify", searched).code == 1
    git(searched, "update-ref", "refs/heads/main", expected)
    assert ratchetree("run", searched, "--experiments", "13").code == 0


def test_another_seed_for_a_campaign_that_has_one(ratchetree: Any, searched: Path) -> None:
    refused(ratchetree("run", searched, "--experiments", "13", "--seed", "8"), "began with seed 1")
    assert ratchetree("run", searched, "--experiments", "13", "--seed", "1").code == 0


def test_experiments_that_do_not_exist(ratchetree: Any, searched: Path) -> None:
    for command in (("show", "19"), ("diff", "19"), ("diff", "1", "19"), ("log", "19")):
        refused(ratchetree(*command, "-C", searched), "no experiment 0019", "0000 to 0012")
    refused(ratchetree("export", searched, "--format", "xls"), "'xls'", "tsv, json, graphml")
    refused(ratchetree("log", "1", "-C", searched), "has no log", code=1)


def test_git_that_is_missing_or_too_old(ratchetree: Any, workspace: Path, tmp_path: Path) -> None:
    for script, message in ((None, "git is not installed"), ("echo git version 2.11.0", "too old")):
        folder = tmp_path / f"bin {message}"
        folder.mkdir()
        if script:
            (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
            (folder / "git").chmod(0o755)
        said = subprocess.run(
            ratchetree.command("run", workspace),
            env={**ratchetree.environment, "PATH": str(folder)},
            capture_output=True,
            text=True,
        )
        assert said.returncode == 2
        assert len(said.stderr.strip().splitlines()) == 1
        assert message in said.stderr


def test_a_read_only_folder(ratchetree: Any, workspace: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes into read-only folders")
    (workspace / ".ratchetree").mkdir()
    (workspace / ".ratchetree").chmod(0o500)
    refused(ratchetree("run", workspace), "Permission denied", code=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 3 MB, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_the_campaign_with_one_line_and_room_lets_it_go_on(
    ratchetree: Any, workspace: Path, small_disk: Path
) -> None:
    folder = small_disk / "w"
    shutil.copytree(workspace, folder)
    said = ratchetree("run", folder, "--experiments", "3000")
    assert said.code == 1
    lines = said.errors.strip().splitlines()
    assert len(lines) == 1, said.errors
    assert "nothing is lost" in lines[0]
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    done = ratchetree("status", folder, "--json").json["experiments"]
    assert done > 0
    assert ratchetree("run", folder, "--experiments", str(done + 5)).code == 0
    assert ratchetree("verify", folder).code == 0


def test_reading_into_a_closed_pipe_is_no_error(ratchetree: Any, searched: Path) -> None:
    command = " ".join(f"'{part}'" for part in ratchetree.command("tree", searched, "--json"))
    said = subprocess.run(
        ["sh", "-c", f"{command} | head -c 10"], env=ratchetree.environment, capture_output=True, text=True
    )
    assert said.stderr == ""


def test_help_is_quick_to_read_and_names_every_command(ratchetree: Any) -> None:
    said = ratchetree("--help")
    assert said.code == 0 and said.out == ratchetree().out
    _, commands = said.out.split("Commands:")
    assert "..." not in commands, "a first sentence is too long for its line"
    for command in ["init", "run", "status", "tree", "show", "diff", "log", "export", "verify", "rebuild", "doctor"]:
        assert f"\n  {command} " in said.out


def test_it_says_which_version_it_is(ratchetree: Any) -> None:
    said = ratchetree("--version")
    assert (said.code, said.out) == (0, f"ratchetree {__version__}\n")


def test_the_doctor_tries_what_a_campaign_needs(ratchetree: Any) -> None:
    said = ratchetree("doctor", "--json")
    checks = {check["name"]: check for check in said.json["checks"]}
    assert checks["git"]["works"]
    assert checks["clean-up"]["works"] or sys.platform != "linux"
    assert said.code == (0 if all(c["works"] or not c["needed"] for c in checks.values()) else 1)
