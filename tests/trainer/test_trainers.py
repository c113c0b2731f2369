"""One contract for every trainer; the real one on the real seed task with a small corpus."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ratchetree
from ratchetree.search.model import Failure, FailureKind, Progress, ScoreReport, SourceFile, TrialReport
from ratchetree.search.ports import Job, Trainer
from ratchetree.search.settings import settings_from
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.cards import Keeper
from ratchetree.trainer.local import LocalTrainer
from ratchetree.trainer.synthetic import SyntheticTrainer

Git = Callable[..., str]
TASK = Path(ratchetree.__file__).parent / "program" / "gpt-cpu"
TOKENS = {"budget": {"kind": "tokens", "tokens": 6000, "seconds": 120, "startup_seconds": 60}}


@pytest.fixture
def seed_task(tmp_path: Path, our_source: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The gpt-cpu workspace, and beside it a small corpus, whose preparation is cached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(our_source / "cache"))
    folder = tmp_path / "gpt"
    shutil.copytree(TASK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "train.py").write_text((folder / "train.py").read_text().replace("DEPTH = 3", "DEPTH = 1"))
    (tmp_path / "corpus").symlink_to(our_source / "corpus")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "root")
    return folder


class Real:
    """A LocalTrainer on the seed task, with what it said."""

    def __init__(self, folder: Path, *, cards: Keeper | None = None, **tables: Any) -> None:
        self.seen: list[Progress] = []
        self.said: list[str] = []
        self.heard: Callable[[Progress], None] = self.seen.append
        task = {"corpus": str((folder.parent / "corpus").resolve())}
        self.repository = GitRepository(folder, ("train.py",))
        tables["trainer"] = {"starvation": False, **tables.get("trainer", {})}  # other tests run beside this one
        self.trainer = LocalTrainer(
            settings_from({"task": task, **TOKENS, **tables}),
            workspace=folder,
            trees=self.repository,
            listen=lambda progress: self.heard(progress),
            say=self.said.append,
            cards=cards,
        )


def job(commit: str, *, trial: int = 0, seed: int = 1, text: str | None = None) -> Job:
    overlay = (SourceFile(path="train.py", text=text),) if text is not None else ()
    return Job(experiment=1, trial=trial, seed=seed, commit=commit, overlay=overlay)


@pytest.fixture(params=["synthetic", pytest.param("local", marks=pytest.mark.slow)])
def trainer(request: pytest.FixtureRequest, seed_task: Path) -> tuple[Trainer, str]:
    repository = GitRepository(seed_task, ("train.py",))
    if request.param == "synthetic":
        return SyntheticTrainer(repository.sources), repository.main()
    return Real(seed_task).trainer, repository.main()


def test_a_trial_trains_then_scores_and_what_it_saved_may_go_twice(trainer: tuple[Trainer, str]) -> None:
    async def use() -> None:
        implementation, commit = trainer
        machine = await implementation.open(commit)
        assert machine.host
        assert await implementation.smoke(job(commit)) is None
        report = await implementation.train(job(commit))
        assert isinstance(report, TrialReport)
        measured = await implementation.score(job(commit))
        assert isinstance(measured, ScoreReport)
        assert 0 < measured.value < 10
        again = await implementation.score(job(commit))  # a killed campaign asks again before it lets go
        assert isinstance(again, ScoreReport)
        assert again.value == measured.value
        implementation.discard(job(commit))
        implementation.discard(job(commit))
        await implementation.close()

    asyncio.run(use())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_score_and_another_seed_another(seed_task: Path) -> None:
    async def values() -> list[float]:
        real = Real(seed_task, trainer={"slots": 2})
        commit = real.repository.main()
        await real.trainer.open(commit)
        jobs = [job(commit, trial=i, seed=seed) for i, seed in enumerate((1, 1, 2))]
        await asyncio.gather(*(real.trainer.train(j) for j in jobs))
        scores = [await real.trainer.score(j) for j in jobs]
        stages = {progress.stage for progress in real.seen}
        assert stages >= {"waiting", "starting", "scoring"}
        return [score.value for score in scores if isinstance(score, ScoreReport)]

    first, second, third = asyncio.run(values())
    assert first == second
    assert first != third


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("import math\n", "import math, no_such_module\n", FailureKind.IMPORT),
        ('    """The untrained model."""', "    raise ValueError('no model')", FailureKind.BUILD),
        ("        return logits", "        return logits[:, :-1]", FailureKind.CRASH),
        ("    save(model)\n", "    pass\n", FailureKind.NO_SAVE),
        (
            "        loss.backward()",
            "        loss = loss * float('nan')\n        loss.backward()",
            FailureKind.NOT_FINITE,
        ),
        ("    torch.manual_seed(task.seed)", "    import os; os.kill(os.getpid(), 11)", FailureKind.CRASH),
    ],
)
def test_a_smoke_run_finds_what_is_broken_and_names_it(seed_task: Path, old: str, new: str, kind: FailureKind) -> None:
    async def smoke() -> Failure | None:
        real = Real(seed_task)
        commit = real.repository.main()
        await real.trainer.open(commit)
        text = real.repository.sources(commit)[0].text
        assert text.count(old) >= 1
        return await real.trainer.smoke(job(commit, text=text.replace(old, new)))

    failure = asyncio.run(smoke())
    assert failure is not None
    assert failure.kind is kind, failure
    assert ".ratchetree" not in failure.detail


@pytest.mark.slow
def test_a_cpu_budget_ends_by_itself_and_one_that_is_ignored_by_force(seed_task: Path) -> None:
    async def train(text: str | None) -> TrialReport | Failure:
        real = Real(seed_task, budget={"kind": "cpu", "seconds": 2.0, "startup_seconds": 60})
        commit = real.repository.main()
        await real.trainer.open(commit)
        return await real.trainer.train(job(commit, seed=1 if text is None else 2, text=text))

    text = (seed_task / "train.py").read_text()
    report = asyncio.run(train(None))
    assert isinstance(report, TrialReport)
    assert 1.0 < report.cpu_seconds < 2.6
    assert report.tokens == report.steps * 4 * 256
    stubborn = text.replace("        if seconds_left() <", "        while True: pass\n        if seconds_left() <")
    failure = asyncio.run(train(stubborn))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.TIMEOUT


@pytest.mark.slow
def test_a_printed_score_is_taken_where_the_user_chose_it_and_marked(workspace: Path, git: Git) -> None:
    (workspace / "train.py").write_text("print('val_bpb: 3.0')\nprint('val_bpb = 1.25e0')\nprint('not val_bpb: 9')\n")
    git(workspace, "commit", "-qam", "prints")

    async def use() -> ScoreReport | Failure:
        repository = GitRepository(workspace, ("train.py",))
        settings = settings_from({"task": {"scorer": "printed"}, "budget": {"kind": "wall", "seconds": 30}})
        trainer = LocalTrainer(
            settings, workspace=workspace, trees=repository, listen=lambda p: None, say=lambda line: None
        )
        await trainer.open(repository.main())
        assert isinstance(await trainer.train(job(repository.main())), TrialReport)
        return await trainer.score(job(repository.main()))

    report = asyncio.run(use())
    assert isinstance(report, ScoreReport)
    assert (report.value, report.by, report.leak) == (1.25, "printed", None)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it on Linux only")
def test_a_trial_beside_burners_is_void_and_says_why(seed_task: Path) -> None:
    """As many burners as make every CPU serve two of them beside the trial, from when its clock runs."""
    code = "t = 0\nwhile True:\n    t += 1"
    count = 2 * len(os.sched_getaffinity(0))
    # each in a session of its own: kernels that share the CPUs out by session would count them as one
    burners: list[subprocess.Popen[bytes]] = []

    def burn(progress: Progress) -> None:
        if progress.stage == "training" and not burners:
            burners.extend(subprocess.Popen([sys.executable, "-c", code], start_new_session=True) for _ in range(count))

    async def train() -> TrialReport | Failure:
        real = Real(
            seed_task, budget={"kind": "cpu", "seconds": 3.0, "startup_seconds": 120}, trainer={"starvation": True}
        )
        real.heard = burn
        commit = real.repository.main()
        await real.trainer.open(commit)
        return await real.trainer.train(job(commit))

    try:
        outcome = asyncio.run(train())
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.STARVED
    assert "for a CPU" in outcome.message
