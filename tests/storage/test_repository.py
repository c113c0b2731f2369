"""Git as the search sees it, on real repositories."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchetree.search.errors import MainMoved, WrongUse
from ratchetree.search.model import SourceFile, Sources
from ratchetree.storage.repository import GitRepository

Git = Callable[..., str]


@pytest.fixture
def repository(workspace: Path) -> GitRepository:
    return GitRepository(workspace, ("train.py",))


def patched(text: str) -> Sources:
    return (SourceFile(path="train.py", text=text),)


def make_node(repository: GitRepository, node: int, parent: str, text: str, attempt: int = 0) -> str:
    return repository.commit_node(
        node=node,
        attempt=attempt,
        parent=parent,
        sources=patched(text),
        message=f"{node:04d} título\n",
        time=1.7e9,
        note="a note\n",
    )


def test_a_node_is_a_pinned_child_with_the_patched_file_and_everything_else_unchanged(
    repository: GitRepository, workspace: Path, git: Git
) -> None:
    root = repository.main()
    commit = make_node(repository, 7, root, "x = 'ä'\n")
    assert git(workspace, "rev-parse", "refs/ratchetree/0007") == commit
    assert git(workspace, "rev-parse", f"{commit}^") == root
    assert git(workspace, "show", f"{commit}:train.py") == "x = 'ä'"
    assert git(workspace, "diff", "--name-only", root, commit) == "train.py"
    assert repository.sources(commit) == patched("x = 'ä'\n")
    assert git(workspace, "status", "--porcelain") == ""


def test_committing_the_same_node_again_gives_the_same_commit(repository: GitRepository) -> None:
    root = repository.main()
    assert make_node(repository, 1, root, "x = 1\n") == make_node(repository, 1, root, "x = 1\n")


def test_a_repaired_node_keeps_its_first_attempt_pinned(repository: GitRepository, workspace: Path, git: Git) -> None:
    root = repository.main()
    first = make_node(repository, 1, root, "x = 1\n")
    second = make_node(repository, 1, root, "x = 2\n", attempt=1)
    assert git(workspace, "rev-parse", "refs/ratchetree/0001-attempt0") == first
    assert git(workspace, "rev-parse", "refs/ratchetree/0001") == second
    assert make_node(repository, 1, root, "x = 2\n", attempt=1) == second


def test_file_modes_survive_a_patch(workspace: Path, git: Git) -> None:
    (workspace / "train.py").chmod(0o755)
    git(workspace, "commit", "-qam", "executable")
    repository = GitRepository(workspace, ("train.py",))
    commit = make_node(repository, 1, repository.main(), "x = 1\n")
    assert git(workspace, "ls-tree", commit, "train.py").startswith("100755")


def test_settling_writes_the_note_where_git_finds_it_and_the_parked_branch(
    repository: GitRepository, workspace: Path, git: Git
) -> None:
    commits = [make_node(repository, i, repository.main(), f"x = {i}\n") for i in range(1, 6)]
    for i, commit in enumerate(commits, start=1):
        repository.settle(node=i, commit=commit, branch=f"parked/{i:04d}-x", note=f"note {i}\n")
    for i, commit in enumerate(commits, start=1):
        assert git(workspace, "notes", "--ref=ratchetree", "show", commit) == f"note {i}"
    assert len(git(workspace, "branch", "--list", "parked/*").splitlines()) == 5
    assert sorted(repository.notes()) == [f"note {i}\n" for i in range(1, 6)]
    assert git(workspace, "fsck", "--strict") == ""


def test_a_note_that_is_in_flight_is_there_before_the_node_is_settled(repository: GitRepository) -> None:
    make_node(repository, 1, repository.main(), "x = 1\n")
    assert list(repository.notes()) == ["a note\n"]


def test_main_fast_forwards_to_a_child_of_its_tip(repository: GitRepository, workspace: Path, git: Git) -> None:
    root = repository.main()
    child = make_node(repository, 1, root, "x = 1\n")
    assert repository.advance(expected=root, winner=child, message="m", time=1.7e9) == child
    assert repository.main() == child
    assert (workspace / "train.py").read_text() == "x = 1\n"
    assert git(workspace, "status", "--porcelain") == ""


def test_any_other_winner_becomes_a_merge_with_exactly_its_tree(
    repository: GitRepository, workspace: Path, git: Git
) -> None:
    root = repository.main()
    first, second = make_node(repository, 1, root, "x = 1\n"), make_node(repository, 2, root, "x = 2\n")
    repository.advance(expected=root, winner=first, message="m", time=1.7e9)
    merge = repository.advance(expected=first, winner=second, message="0002 two\n\nwhy", time=1.7e9)
    assert git(workspace, "rev-parse", f"{merge}^1", f"{merge}^2").split() == [first, second]
    assert git(workspace, "rev-parse", f"{merge}^{{tree}}") == git(workspace, "rev-parse", f"{second}^{{tree}}")
    assert git(workspace, "log", "--first-parent", "--format=%s", "main").splitlines()[0] == "0002 two"
    assert git(workspace, "status", "--porcelain") == ""


def test_advancing_again_changes_nothing(repository: GitRepository) -> None:
    root = repository.main()
    first, second = make_node(repository, 1, root, "x = 1\n"), make_node(repository, 2, root, "x = 2\n")
    repository.advance(expected=root, winner=first, message="m", time=1.7e9)
    merge = repository.advance(expected=first, winner=second, message="m", time=1.7e9)
    assert repository.advance(expected=first, winner=second, message="m", time=1.7e9) == merge


def test_main_is_not_moved_if_somebody_else_moved_it(repository: GitRepository, workspace: Path, git: Git) -> None:
    root = repository.main()
    child = make_node(repository, 1, root, "x = 1\n")
    (workspace / "train.py").write_text("mine = 1\n")
    git(workspace, "commit", "-qam", "mine")
    mine = repository.main()
    with pytest.raises(MainMoved, match="git update-ref refs/heads/main"):
        repository.advance(expected=root, winner=child, message="m", time=1.7e9)
    assert repository.main() == mine


def test_uncommitted_edits_are_never_touched_when_main_moves(repository: GitRepository, workspace: Path) -> None:
    root = repository.main()
    child = make_node(repository, 1, root, "x = 1\n")
    (workspace / "train.py").write_text("my own edit\n")
    assert repository.advance(expected=root, winner=child, message="m", time=1.7e9) == child
    assert (workspace / "train.py").read_text() == "my own edit\n"


def test_another_branch_that_is_checked_out_stays_as_it_is(
    repository: GitRepository, workspace: Path, git: Git
) -> None:
    root = repository.main()
    git(workspace, "switch", "-q", "-c", "elsewhere")
    child = make_node(repository, 1, root, "x = 1\n")
    before = (workspace / "train.py").read_text()
    repository.advance(expected=root, winner=child, message="m", time=1.7e9)
    assert (workspace / "train.py").read_text() == before
    assert git(workspace, "status", "--porcelain") == ""


def test_a_checkout_cut_off_between_main_and_the_files_is_finished(
    repository: GitRepository, workspace: Path, git: Git
) -> None:
    root = repository.main()
    child = make_node(repository, 1, root, "x = 1\n")
    git(workspace, "update-ref", "refs/heads/main", child)  # what a kill right after the move leaves behind
    assert git(workspace, "status", "--porcelain") != ""
    repository.check_ready()
    assert (workspace / "train.py").read_text() == "x = 1\n"
    assert git(workspace, "status", "--porcelain") == ""


def test_an_export_holds_the_commits_files_and_no_git(repository: GitRepository, workspace: Path, git: Git) -> None:
    (workspace / "sub dir").mkdir()
    (workspace / "sub dir" / "däta.bin").write_bytes(b"\0\r\n\xff")
    (workspace / "run.sh").write_text("#!/bin/sh\n")
    (workspace / "run.sh").chmod(0o755)
    (workspace / "link").symlink_to("train.py")
    (workspace / ".gitattributes").write_text("* export-ignore\n*.py text eol=crlf\n")
    git(workspace, "add", "-A")
    git(workspace, "commit", "-qm", "more")
    folder = workspace.parent / "exported"
    repository.export(repository.main(), folder)
    assert (folder / "sub dir" / "däta.bin").read_bytes() == b"\0\r\n\xff"
    assert os.access(folder / "run.sh", os.X_OK)
    assert (folder / "link").readlink() == Path("train.py")
    assert (folder / "train.py").read_bytes() == (workspace / "train.py").read_bytes()
    assert not (folder / ".git").exists()


def test_a_link_out_of_the_workspace_is_refused(workspace: Path, git: Git) -> None:
    (workspace / "link").symlink_to("/etc/passwd")
    git(workspace, "add", "-A")
    git(workspace, "commit", "-qm", "link")
    repository = GitRepository(workspace, ("train.py",))
    with pytest.raises(WrongUse, match="outside the workspace"):
        repository.export(repository.main(), workspace.parent / "exported")


def test_hooks_and_signing_of_the_user_do_not_run(workspace: Path, git: Git) -> None:
    hooks = workspace / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-checkout", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{workspace.parent}/hooked'\nexit 1\n")
        (hooks / name).chmod(0o755)
    git(workspace, "config", "commit.gpgSign", "true")
    git(workspace, "config", "core.fsmonitor", f"touch '{workspace.parent}/hooked'; false")
    repository = GitRepository(workspace, ("train.py",))
    root = repository.main()
    child = make_node(repository, 1, root, "x = 1\n")
    repository.advance(expected=root, winner=child, message="m", time=1.7e9)
    repository.settle(node=1, commit=child, branch=None, note="n\n")
    assert not (workspace.parent / "hooked").exists()


# -- wrong use -------------------------------------------------------------------------------------------------------


def refused(folder: Path, match: str) -> None:
    with pytest.raises(WrongUse, match=match) as caught:
        GitRepository(folder, ("train.py",)).check_ready()
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_repository(tmp_path: Path) -> None:
    refused(tmp_path, "not the top folder of a git repository")
    refused(tmp_path / "missing", "is not a folder")


def test_a_folder_inside_another_repository(workspace: Path) -> None:
    (workspace / "inside").mkdir()
    refused(workspace / "inside", "not the top folder of a git repository")


def test_a_repository_without_a_commit(tmp_path: Path, git: Git) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    refused(tmp_path, "no commit yet")


def test_a_repository_without_main(workspace: Path, git: Git) -> None:
    git(workspace, "branch", "-m", "main", "trunk")
    refused(workspace, "no branch main")


def test_a_detached_head(workspace: Path, git: Git) -> None:
    git(workspace, "switch", "-q", "--detach")
    refused(workspace, "HEAD is detached")


def test_a_dirty_tree_names_the_files(workspace: Path, git: Git) -> None:
    (workspace / "train.py").write_text("x = 1\n")
    refused(workspace, r"uncommitted changes \(train.py\)")
    git(workspace, "add", "-A")
    refused(workspace, r"uncommitted changes \(train.py\)")


def test_untracked_files_are_no_obstacle(workspace: Path) -> None:
    (workspace / "notes.txt").write_text("mine\n")
    GitRepository(workspace, ("train.py",)).check_ready()


def test_a_missing_editable_file_and_one_that_is_no_text(workspace: Path, git: Git) -> None:
    repository = GitRepository(workspace, ("model.py",))
    with pytest.raises(WrongUse, match=r"model\.py is missing"):
        repository.sources(repository.main())
    (workspace / "train.py").write_bytes(b"\xff\xfe\x00")
    git(workspace, "commit", "-qam", "binary")
    repository = GitRepository(workspace, ("train.py",))
    with pytest.raises(WrongUse, match="not UTF-8"):
        repository.sources(repository.main())


def test_a_branch_named_parked_leaves_no_room(workspace: Path, git: Git) -> None:
    git(workspace, "branch", "parked")
    refused(workspace, "branch named 'parked'")


@pytest.mark.parametrize(
    ("script", "message"), [(None, "git is not installed"), ("echo git version 2.11.0", "too old")]
)
def test_git_missing_or_too_old(workspace: Path, tmp_path: Path, script: str | None, message: str) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    if script:
        (bin_folder / "git").write_text(f"#!/bin/sh\n{script}\n")
        (bin_folder / "git").chmod(0o755)
    code = (
        "import sys; from pathlib import Path; from ratchetree.storage.repository import GitRepository\n"
        "try: GitRepository(Path(sys.argv[1]), ('train.py',))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    import sys

    said = subprocess.run(
        [sys.executable, "-c", code, str(workspace)],
        env={"PATH": f"{bin_folder}:/nowhere", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith("WrongUse")
    assert message in said
