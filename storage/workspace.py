"""A workspace on disk: what lies where, what its settings say, and how one is made."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..search.errors import RatchetreeError, WrongUse
from ..search.events import Event
from ..search.model import NodeId
from ..search.settings import Settings, parse_settings, settings_from
from .inbox import FolderInbox
from .journal import SqliteJournal
from .lock import WorkspaceLock
from .repository import GitRepository, check_git, safe_environment

_IDENTITY = (("NAME", "ratchetree"), ("EMAIL", "ratchetree@localhost"))


class Workspace:
    """The user's folder. `.ratchetree/` in it is ours: journal, checkpoints, lock, trials; git never sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.state = self.folder / ".ratchetree"
        self.journal_path = self.state / "journal.db"
        self.checkpoints_path = self.state / "checkpoints.db"
        self.lock_path = self.state / "lock"
        self.inbox = FolderInbox(self.state / "inbox")

    def settings(self, options: dict[str, dict[str, Any]] | None = None) -> Settings:
        """What ratchetree.toml says, with the command line's options (None = not given) on top. Raises WrongUse."""
        text = self._toml()
        parse_settings(text, source=str(self.folder / "ratchetree.toml"))
        table = tomllib.loads(text)
        for name, values in (options or {}).items():
            given = {key: value for key, value in values.items() if value is not None}
            if given:
                table[name] = {**table.get(name, {}), **given}
        return settings_from(table, source="the command line")

    def repository(self) -> GitRepository:
        """Its git repository, as far as its settings let us see. Raises WrongUse."""
        return GitRepository(self.folder, self.settings().task.editable)

    def lock(self) -> WorkspaceLock:
        """The lock that a running campaign holds."""
        return WorkspaceLock(self.lock_path)

    def read_events(self) -> list[Event]:
        """The whole journal, also while a campaign writes it. Raises RatchetreeError."""
        self._toml()
        journal = SqliteJournal.read(self.journal_path)
        events = [event for _, event in journal.events()]
        journal.close()
        return events

    def check_journal(self, repository: GitRepository) -> None:
        """Refuse to begin a second history where the first one's journal was lost. Raises WrongUse."""
        if not self.journal_path.exists() and (pins := repository.pins()):
            raise WrongUse(
                f"the journal is gone, but git still holds {len(pins)} nodes: bring it back with: ratchetree rebuild"
            )

    def check_code(self, repository: GitRepository) -> None:
        """Refuse to run what was imported from a table alone. Raises WrongUse."""
        if self.journal_path.exists() and not repository.has_files():
            raise WrongUse(
                f"{self.folder} was imported from a table and holds no {', '.join(repository.editable)}, so there is "
                "nothing to go on from; import the run's repository instead, or begin anew with: ratchetree init DIR"
            )

    def log(self, node: NodeId, trial: int | None, *, last: int | None = None) -> str | None:
        """What a node's trial (default: the last) printed, as it printed it, or its last bytes; None if there is no
        log."""
        folders = self._trials(node) if trial is None else [self._trial(node, trial)]
        paths = [folder / "log.txt" for folder in [*folders, self.state / "trials" / f"{node:04d}-smoke"]]
        found = next((path for path in paths if path.exists()), None)
        if found is None:
            return None
        with found.open("rb") as file:
            if last is not None:
                file.seek(max(0, found.stat().st_size - last))
            return file.read().decode(errors="replace")

    def curve(self, node: NodeId) -> list[float]:
        """Training losses of a node's last trial; empty if there are none."""
        path = next((path for folder in self._trials(node) if (path := folder / "curve.tsv").exists()), None)
        return [float(line.split("\t")[2]) for line in path.read_text().splitlines()[1:]] if path else []

    def _trials(self, node: NodeId) -> list[Path]:
        folders = (self.state / "trials").glob(f"{node:04d}-[0-9]*")
        return sorted(folders, key=lambda folder: int(folder.name.rpartition("-")[2]), reverse=True)

    def _trial(self, node: NodeId, trial: int) -> Path:
        return self.state / "trials" / f"{node:04d}-{trial}"

    def _toml(self) -> str:
        path = self.folder / "ratchetree.toml"
        if not self.folder.is_dir():
            raise WrongUse(f"{self.folder} is not a folder: ratchetree init makes a workspace")
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            message = f"{self.folder} has no ratchetree.toml, so it is no workspace: ratchetree init makes one"
            raise WrongUse(message) from None
        except UnicodeDecodeError as error:
            raise WrongUse(f"{path} is not UTF-8 text ({error.reason})") from error


def make_workspace(
    folder: Path, template: Traversable, *, slots: int, own: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Fill the new or empty folder with the template's files and commit them to main. own: texts of files that the
    user brings, by name. Raises WrongUse if it is in use."""
    check_git()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongUse(f"{folder} exists and is not an empty folder: give a new one")
    folder.mkdir(parents=True, exist_ok=True)
    for source in template.iterdir():
        if source.is_file():
            text = source.read_text(encoding="utf-8")
            if source.name == "ratchetree.toml":
                text = re.sub(r"(?m)^slots(\s*)=(\s*)\d+", rf"slots\g<1>=\g<2>{slots}", text)
            (folder / source.name).write_text(text, encoding="utf-8")
    for name, text in own.items():
        (folder / name).write_text(text, encoding="utf-8")
    git_in(folder, "init", "--quiet", "--initial-branch=main")
    git_in(folder, "add", "--all")
    git_in(folder, "commit", "--quiet", "--message", f"A workspace for the task {template.name}")


def git_in(folder: Path, *arguments: str) -> None:
    """Run git in a workspace that is being made. Raises RatchetreeError."""
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _IDENTITY}
    environment = {**os.environ, **safe_environment(), **who}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["?"]
        raise RatchetreeError(f"git {arguments[0]} failed in {folder}: {lines[-1]}")
