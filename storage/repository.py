"""Git, as far as ratchetree needs it: nodes as pinned commits, scores as notes, main as a ratchet.

Objects are read through GitPython (one `git cat-file --batch` stays open) and written with `git fast-import`, one
process a step. Every write can be repeated without harm. Model text reaches git through stdin only; hooks, signing,
file-system monitors and prompts are off, whatever the user's configuration says.
"""

from __future__ import annotations

import re
import subprocess
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..search.errors import MainMoved, RatchetreeError, WrongUse
from ..search.model import NodeId, SourceFile, Sources

if TYPE_CHECKING:
    import git

MAIN = "refs/heads/main"
PINS = "refs/ratchetree/"
NOTES = "refs/notes/ratchetree"
OLDEST_GIT = (2, 28)  # `git init -b`; everything else is older

_SAFE = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "protocol.ext.allow": "never",
    "fastimport.unpackLimit": "1000",  # few objects a step: loose ones, not a pack each
}
_IDENTITY = ("ratchetree", "ratchetree@localhost")
_IN_FLIGHT = "in-flight"  # folder of the notes tree for nodes that are not settled; git notes leaves it alone
_CACHED_SOURCES = 512


class GitRepository:
    """A workspace's repository. `GitRepository(path, editable)` checks that it is one and can be used."""

    def __init__(self, path: Path, editable: tuple[str, ...]) -> None:
        self.path = path
        self.editable = editable
        self._repo = _open(path)
        self._sources: OrderedDict[str, Sources] = OrderedDict()
        self._notes_tip: str | None = None
        if self._ref("refs/heads/parked"):
            raise WrongUse(f"{path} has a branch named 'parked', which leaves no room for parked/NNNN: rename it")

    # -- what the search asks for (ports.Repository, ports.TreeSource) -------------------------------------------

    def main(self) -> str:
        """The commit that main points to."""
        commit = self._ref(MAIN)
        if commit is None:
            raise WrongUse(f"{self.path} has no branch main: make one with: git branch main")
        return commit

    def sources(self, commit: str) -> Sources:
        """The editable files at a commit."""
        if commit not in self._sources:
            files = (SourceFile(path=path, text=self.text(commit, path)) for path in sorted(self.editable))
            self._sources[commit] = tuple(files)
            if len(self._sources) > _CACHED_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(commit)
        return self._sources[commit]

    def text(self, commit: str, path: str) -> str:
        """One file at a commit."""
        try:
            blob = self._repo.tree(commit) / path
            return str(blob.data_stream.read().decode("utf-8"))
        except KeyError:
            raise WrongUse(f"{path} is missing in the workspace at {commit[:10]}: add it and commit") from None
        except UnicodeDecodeError as error:
            raise WrongUse(f"{path} at {commit[:10]} is not UTF-8 text ({error.reason})") from error

    def export(self, commit: str, folder: Path) -> None:
        """Write the commit's files, without `.git`, into the new folder `folder`."""
        folder.mkdir(parents=True)
        for item in self._repo.tree(commit).traverse():
            target = folder / str(item.path)  # type: ignore[union-attr]
            if item.type == "tree":  # type: ignore[union-attr]
                target.mkdir()
            elif item.type == "blob":  # type: ignore[union-attr]
                data = item.data_stream.read()  # type: ignore[union-attr]
                if item.mode == 0o120000:  # type: ignore[union-attr]
                    _link(target, data.decode(), folder)
                else:
                    target.write_bytes(data)
                    target.chmod(0o755 if item.mode & 0o100 else 0o644)  # type: ignore[union-attr]

    def commit_node(
        self, *, node: NodeId, attempt: int, parent: str, sources: Sources, message: str, time: float, note: str
    ) -> str:
        """Commit the files as a child of `parent`, pinned, with a note; the same input gives the same commit."""
        stream: list[bytes] = []
        pin = f"{PINS}{node:04d}"
        if attempt > 0 and (before := self._ref(pin)) is not None:
            stream.append(f"reset {pin}-attempt{attempt - 1}\nfrom {before}\n\n".encode())
        stream.append(f"commit {pin}\nmark :1\n{_signature(time)}".encode())
        stream.append(_data(message.encode()))
        stream.append(f"from {parent}\n".encode())
        tree = self._repo.tree(parent)
        for file in sources:
            try:
                mode = (tree / file.path).mode
            except KeyError:
                mode = 0o100644
            stream.append(f"M {mode:o} inline {_quoted(file.path)}\n".encode())
            stream.append(_data(file.text.encode("utf-8", "surrogateescape")))
        stream.append(b"\nget-mark :1\n")
        stream += self._remember(f"{_IN_FLIGHT}/{node:04d}", note)
        return self._fast_import(stream)[0]

    def advance(self, *, expected: str, winner: str, message: str, time: float) -> str:
        """Move main from `expected` to the winner's tree; the new commit. See ports.Repository."""
        commit = self._repo.commit(winner)
        target = winner
        if expected not in [parent.hexsha for parent in commit.parents]:
            target = self._merge(tree=commit.tree.hexsha, parents=(expected, winner), message=message, time=time)
        current = self.main()
        if current == target:
            self._follow(expected, target)
            return target
        try:
            if current == expected:
                self._git("update-ref", "-m", message.splitlines()[0], MAIN, target, expected)
                self._follow(expected, target)
                return target
        except _GitFailed:
            current = self.main()  # somebody was faster
        raise MainMoved(
            f"main was moved to {current[:10]} while the campaign ran; the ratchet had left it at {expected[:10]} and "
            f"has not touched it. To go on: git update-ref {MAIN} {expected}, then ratchetree run"
        )

    def settle(self, *, node: NodeId, commit: str, branch: str | None, note: str) -> None:
        """Write the note, and the branch of a parked node."""
        # The path is git's own fan-out for notes, so that `git notes --ref=ratchetree show` finds it.
        stream = self._remember(f"{commit[:2]}/{commit[2:]}", note, forget=f"{_IN_FLIGHT}/{node:04d}")
        if node == 0:
            stream.append(f"reset {PINS}{node:04d}\nfrom {commit}\n\n".encode())
        if branch is not None:
            stream.append(f"reset refs/heads/{branch}\nfrom {commit}\n\n".encode())
        self._fast_import(stream)

    # -- what the command line asks for --------------------------------------------------------------------------

    def check_ready(self) -> None:
        """A campaign may start here: HEAD on a branch, no uncommitted changes. Raises WrongUse."""
        self.main()
        if self._repo.head.is_detached:
            raise WrongUse(f"{self.path}: HEAD is detached; go back to a branch first, with: git switch main")
        self._finish_follow()
        changed = self._lines("status", "--porcelain", "--untracked-files=no")
        if changed:
            names = ", ".join(line[3:] for line in changed[:3]) + (" ..." if len(changed) > 3 else "")
            raise WrongUse(f"{self.path} has uncommitted changes ({names}): commit or stash them first")

    def ignore_own_files(self) -> None:
        """Keep `.ratchetree/` out of the user's `git status`."""
        exclude = Path(self._repo.git_dir) / "info" / "exclude"
        exclude.parent.mkdir(exist_ok=True)
        lines = exclude.read_text().splitlines() if exclude.exists() else []
        if "/.ratchetree/" not in lines:
            exclude.write_text("\n".join([*lines, "/.ratchetree/", ""]))

    def refs(self) -> dict[str, str]:
        """Pins, parked branches and main, by full name."""
        # one for-each-ref: iterating GitPython's heads took 75 s at 10,000 packed refs
        listed = self._git("for-each-ref", "--format=%(refname) %(objectname)", PINS, "refs/heads/")
        return dict(line.rsplit(" ", 1) for line in listed.splitlines())

    def pins(self) -> dict[NodeId, str]:
        """The commit of every pinned node."""
        names = {name.removeprefix(PINS): commit for name, commit in self.refs().items() if name.startswith(PINS)}
        return {int(number): commit for number, commit in names.items() if number.isdigit()}

    def set_ref(self, name: str, commit: str) -> None:
        """Point a pin or branch at a commit."""
        self._git("update-ref", name, commit)

    def has_commit(self, commit: str) -> bool:
        """Whether the object is there."""
        try:
            self._git("cat-file", "-e", f"{commit}^{{commit}}")
        except _GitFailed:
            return False
        return True

    def parents(self, commit: str) -> list[str]:
        """Parents of a commit, first parent first."""
        return [parent.hexsha for parent in self._repo.commit(commit).parents]

    def same_tree(self, one: str, other: str) -> bool:
        """Whether two commits hold the same files."""
        return bool(self._repo.commit(one).tree == self._repo.commit(other).tree)

    def first_parents(self, tip: str, until: str) -> list[str]:
        """main's history from `tip` back to `until`, newest first."""
        listed = self._git("rev-list", "--first-parent", tip, f"^{until}")
        return listed.split()

    def notes(self) -> Iterator[str]:
        """The note of every node that has one, in no order."""
        if self._ref(NOTES) is None:
            return
        for item in self._repo.tree(NOTES).traverse():
            if item.type == "blob":  # type: ignore[union-attr]
                yield item.data_stream.read().decode()  # type: ignore[union-attr]

    def diff(self, before: str, after: str) -> str:
        """Unified diff of the editable files between two commits."""
        return self._git("diff", "--no-color", "--no-ext-diff", before, after, "--", *self.editable)

    # -- how -----------------------------------------------------------------------------------------------------

    def _ref(self, name: str) -> str | None:
        try:
            return self._git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip() or None
        except _GitFailed:
            return None

    def _merge(self, *, tree: str, parents: tuple[str, ...], message: str, time: float) -> str:
        stamp = f"{int(time)} +0000"
        name, mail = _IDENTITY
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", mail), ("DATE", stamp))
        }
        flags = [part for parent in parents for part in ("-p", parent)]
        with self._repo.git.custom_environment(**who):
            return self._git("commit-tree", tree, *flags, "-m", message).strip()

    def _follow(self, before: str, after: str) -> None:
        """Where the user has main checked out, bring index and files along; the user's own edits stay untouched (then
        git shows the difference, and nothing else happens).

        Each file is replaced in one step, so that a kill or a full disk leaves the old or the new one.
        """
        if self._repo.bare or self._repo.head.is_detached or self._repo.head.reference.path != MAIN:
            return
        edited = self._edited()
        for name in self._lines("diff", "--name-only", "--no-renames", before, after):
            if name not in edited:
                self._write_file(name, after)
        with suppress(_GitFailed):  # the user has staged other edits
            self._git("read-tree", "-i", "-m", before, after)
        self._edited()

    def _edited(self) -> set[str]:
        """Files that differ from the index, which is refreshed first: a copied workspace has other time stamps."""
        with suppress(_GitFailed):  # it reports edits by failing
            self._git("update-index", "-q", "--refresh")
        return set(self._lines("diff-files", "--name-only"))

    def _write_file(self, name: str, commit: str) -> None:
        target = self.path / name
        content = self._checked_out(name, commit)
        if content is None:
            target.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_name(f".{target.name}.ratchetree")
        try:
            half.write_bytes(content)
            mode = (self._repo.tree(commit) / name).mode
            half.chmod(0o755 if mode & 0o100 else 0o644)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)

    def _checked_out(self, name: str, commit: str) -> bytes | None:
        """A file as git would check it out (line endings, filters); None if the commit does not have it."""
        import git

        try:
            command = ["git", "cat-file", "--filters", f"{commit}:{name}"]
            content: bytes = self._repo.git.execute(command, stdout_as_string=False, strip_newline_in_stdout=False)
        except git.GitCommandError:
            return None
        return content

    def _finish_follow(self) -> None:
        """Finish a `_follow` that a kill or a full disk cut off: the index still holds an older main, and every file
        is that main's or already the new one's."""
        if self._repo.head.reference.path != MAIN:
            return
        index = self._git("write-tree").strip()
        if index == self._repo.commit(MAIN).tree.hexsha:
            return
        for name in self._edited():
            path = self.path / name
            if (path.read_bytes() if path.is_file() else None) != self._checked_out(name, MAIN):
                return
        for commit in self._repo.iter_commits(MAIN, first_parent=True, max_count=50):
            if commit.tree.hexsha == index:
                self._follow(commit.hexsha, self.main())
                return

    def _lines(self, *arguments: str) -> list[str]:
        return self._git(*arguments).splitlines()

    def _remember(self, path: str, note: str, *, forget: str | None = None) -> list[bytes]:
        """Commands that put a note at a path of the notes tree."""
        tip = self._notes_tip = self._notes_tip or self._ref(NOTES)
        stream = [f"commit {NOTES}\nmark :2\n{_signature(0)}".encode(), _data(b"ratchetree\n")]
        if tip:
            stream.append(f"from {tip}\n".encode())
            if forget:
                stream.append(f"D {forget}\n".encode())
        return [*stream, f"M 100644 inline {path}\n".encode(), _data(note.encode()), b"\nget-mark :2\n"]

    def _fast_import(self, stream: list[bytes]) -> list[str]:
        """Run the commands; the commits that were asked for with get-mark. The last one is the notes' new tip."""
        process: Any = self._repo.git.fast_import(
            "--quiet", "--force", "--done", istream=subprocess.PIPE, as_process=True
        )
        out, errors = process.communicate(b"".join([*stream, b"done\n"]))
        if process.returncode != 0:
            line = next((x for x in errors.decode(errors="replace").splitlines() if "fatal" in x or "error" in x), "?")
            raise RatchetreeError(f"git could not write: {line}; nothing is lost: mend it, run again")
        commits: list[str] = out.decode().split()
        self._notes_tip = commits[-1]
        return commits

    def _git(self, *arguments: str) -> str:
        import git

        try:
            return str(self._repo.git.execute(["git", *arguments], strip_newline_in_stdout=False))
        except git.GitCommandError as error:
            raise _GitFailed(str(error.stderr).strip()) from error


class _GitFailed(RatchetreeError):
    """A git command failed; callers decide what that means."""


def _open(path: Path) -> git.Repo:
    try:
        import git
    except ImportError as error:
        raise WrongUse("git is not installed or not on the PATH: install git 2.28 or newer") from error

    check_git()
    if not path.is_dir():
        raise WrongUse(f"{path} is not a folder: make a workspace with: ratchetree init {path}")
    try:
        repo = git.Repo(path)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        raise WrongUse(f"{path} is not the top folder of a git repository: ratchetree init makes one") from error
    repo.git.update_environment(**safe_environment())
    if not repo.head.is_valid() and not repo.heads:
        raise WrongUse(f"{path} has no commit yet: commit the workspace's files first")
    return repo


def check_git() -> str:
    """git's version, if it is there and new enough; else WrongUse."""
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise WrongUse("git is not installed or not on the PATH: install git 2.28 or newer") from error
    found = re.search(r"(\d+)\.(\d+)", said)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GIT:
        raise WrongUse(f"{said.strip()} is too old: ratchetree needs git {OLDEST_GIT[0]}.{OLDEST_GIT[1]} or newer")
    return said.strip()


def safe_environment() -> dict[str, str]:
    """Environment under which git runs nothing of the user's or a patch's, and asks nothing."""
    environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_COUNT": str(len(_SAFE))}
    for i, (key, value) in enumerate(_SAFE.items()):
        environment[f"GIT_CONFIG_KEY_{i}"] = key
        environment[f"GIT_CONFIG_VALUE_{i}"] = value
    return environment


def _signature(time: float) -> str:
    name, mail = _IDENTITY
    return f"author {name} <{mail}> {int(time)} +0000\ncommitter {name} <{mail}> {int(time)} +0000\n"


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _link(target: Path, to: str, folder: Path) -> None:
    inside = (target.parent / to).resolve().is_relative_to(folder.resolve())
    if not inside:
        raise WrongUse(f"{target.relative_to(folder)} is a link to {to}, outside the workspace: replace it by a file")
    target.symlink_to(to)
