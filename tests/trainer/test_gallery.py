"""Two galleries: scripts that try to fake a score, and honest ones that look unusual. Each goes through the real trial
and the real scorer; its docstring says what must come of it.

Faults that a rogue announces in its log ("says nothing: WORD") must not appear there.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ratchetree
from ratchetree.search.model import Failure, ScoreReport, TrialReport
from ratchetree.search.ports import Job
from ratchetree.search.settings import settings_from
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.local import LocalTrainer
from ratchetree.trainer.processes import MARK, marked

pytestmark = pytest.mark.slow

Git = Callable[..., str]
HERE = Path(__file__).parent / "gallery"
TASK = Path(ratchetree.__file__).parent / "program" / "gpt-cpu"
TAIL = '\n\nif __name__ == "__main__":\n    main()\n'
CANARY = "sk-ant-canary-0123456789"
ROGUES = sorted((HERE / "rogues").glob("*.py"))
HONEST = sorted((HERE / "honest").glob("*.py"))


class Case:
    """One script of a gallery in a workspace of its own. prepare: the text of prepare.py."""

    def __init__(self, script: Path, folder: Path, corpus: Path, git: Git, *, prepare: str, sandbox: str) -> None:
        text = script.read_text()
        self.folder = folder / "workspace"
        self.folder.mkdir()
        for name in ("trial.py", "texts.py", "program.md", "ratchetree.toml"):
            shutil.copy(TASK / name, self.folder)
        (self.folder / "prepare.py").write_text(prepare)
        (self.folder / "train.py").write_text((HERE / "base.txt").read_text() + "\n\n" + text + TAIL)
        git(self.folder, "init", "-q", "-b", "main")
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "-m", script.stem)
        kind = "cpu" if "\nbudget: cpu" in text else "tokens"
        startup = re.search(r"\nstartup: (\d+)", text)
        seconds = {"cpu": 1.5, "tokens": 120.0}[kind]
        self.expected = found[1] if (found := re.search(r"\nexpect: (\S+)", text)) else "honest"
        self.silent = found[1] if (found := re.search(r"\nsays nothing: (\S+)", text)) else None
        self.repository = GitRepository(self.folder, ("train.py",))
        settings = {
            "task": {"corpus": str(corpus)},
            "budget": {
                "kind": kind,
                "tokens": 9000,
                "seconds": seconds,
                "startup_seconds": int(startup[1]) if startup else 60,
            },
            "trainer": {
                "sandbox": sandbox,
                "starvation": False,
                "memory_mb": 1200,
                "weights_mb": 32,
                "score_seconds": 12 if "stalls" in script.stem else 120,
            },
        }
        self.trainer = LocalTrainer(
            settings_from(settings),
            workspace=self.folder,
            trees=self.repository,
            listen=lambda progress: None,
            say=lambda line: None,
        )

    async def outcome(self) -> ScoreReport | Failure:
        """Train, and score what was saved."""
        commit = self.repository.main()
        await self.trainer.open(commit)
        job = Job(experiment=1, trial=0, seed=7, commit=commit, cuts=192)
        trained = await self.trainer.train(job)
        if isinstance(trained, Failure):
            return trained
        assert isinstance(trained, TrialReport)
        return await self.trainer.score(job)

    @property
    def log(self) -> str:
        """What training printed, and what the model printed while it was asked."""
        folder = self.folder / ".ratchetree" / "trials" / "0001-0"
        return "".join(
            path.read_text(errors="replace") for path in (folder / "log.txt", folder / "score.txt") if path.exists()
        )


@pytest.fixture
def run(
    tmp_path: Path, our_source: Path, small_prepare: str, git: Git, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Case, ScoreReport | Failure]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(our_source / "cache"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)

    def run_script(
        script: Path, *, sandbox: str = "auto", prepare: str = small_prepare
    ) -> tuple[Case, ScoreReport | Failure]:
        case = Case(script, tmp_path, our_source / "corpus", git, prepare=prepare, sandbox=sandbox)
        return case, asyncio.run(case.outcome())

    return run_script


def check(case: Case, outcome: ScoreReport | Failure) -> None:
    """What holds for every rogue, whatever it tried."""
    if case.expected == "honest":
        assert isinstance(outcome, ScoreReport), outcome
        assert 2.0 < outcome.value < 6.0  # a model of eight steps knows next to nothing
        assert outcome.leak is not None
    else:
        assert isinstance(outcome, Failure), outcome
        assert str(outcome.kind) in case.expected.split("|"), outcome
        assert "\n" not in outcome.message
    assert marked(**{MARK: str(case.folder)}) == [], "a process outlived its trial"
    assert CANARY not in case.log
    if case.silent is not None:
        assert case.silent not in case.log
    for place in ("/tmp", "/var/tmp"):
        assert not Path(place, "ratchetree-was-here").exists()


@pytest.mark.parametrize("script", ROGUES, ids=lambda path: path.stem)
def test_no_rogue_gets_a_score_that_it_did_not_earn(
    script: Path, run: Callable[..., tuple[Case, ScoreReport | Failure]]
) -> None:
    check(*run(script))


CONFINED = (
    "calls_home changes_the_data changes_its_tree forks_without_end gets_rights_back kills_everybody leaves_a_daemon "
    "looks_for_the_held_out_text reads_other_experiments reads_other_processes tells_its_other_process base"
).split()


@pytest.mark.parametrize("name", CONFINED)
def test_the_second_rung_of_the_ladder_confines_too(
    name: str, run: Callable[..., tuple[Case, ScoreReport | Failure]]
) -> None:
    folder = "honest" if name == "base" else "rogues"
    case, outcome = run(HERE / folder / f"{name}.py", sandbox="landlock")
    check(case, outcome)
    if isinstance(outcome, ScoreReport):
        assert outcome.sandbox == "landlock"


@pytest.mark.parametrize("script", HONEST, ids=lambda path: path.stem)
def test_no_honest_script_is_refused(script: Path, run: Callable[..., tuple[Case, ScoreReport | Failure]]) -> None:
    _, outcome = run(script, prepare=(TASK / "prepare.py").read_text())  # how exact its answers are depends on sizes
    assert isinstance(outcome, ScoreReport), outcome
    assert 2.0 < outcome.value < 14.0  # some of them learn nothing in eight steps


def test_the_galleries_are_as_large_as_promised() -> None:
    assert len(ROGUES) >= 30
    assert len(HONEST) >= 25
    assert all("expect: " in path.read_text() for path in ROGUES)
