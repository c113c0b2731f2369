"""The local trainer on cards that are not there: what it asks of them, what a trial gets, what is reported."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.errors import WrongUse
from ratchetree.search.model import Failure, FailureKind, ScoreReport, TrialReport
from ratchetree.search.ports import Job
from ratchetree.search.settings import settings_from
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.cards import Keeper, Resident
from ratchetree.trainer.cards.calibration import Calibration
from ratchetree.trainer.cards.fake import CALM, FakeDriver, fake_card
from ratchetree.trainer.local import LocalTrainer

from .test_trainers import TASK, TOKENS, Real, seed_task  # noqa: F401 - a fixture

Git = Callable[..., str]
ONE, TWO = fake_card(0), fake_card(1)
SMALLER = {
    "prepare.py": {"VOCAB_SIZE = 8192 ": "VOCAB_SIZE = 1024 ", "SEQ_LEN = 2048 ": "SEQ_LEN = 128 "},
    "train.py": {
        "SEQ_LEN = 2048 ": "SEQ_LEN = 128 ",
        "BIGRAMS = 65536 ": "BIGRAMS = 1024 ",
        "DEPTH = 9 ": "DEPTH = 4 ",
    },
}
# Compiles what was not compiled before, trains for a moment, and says what it was given.
SCRIPT = """
import json, os, time
from pathlib import Path
place, snapshot = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]), os.environ.get("RATCHETREE_COMPILED")
found = sorted(p.name for p in Path(snapshot).iterdir()) if snapshot else []
place.mkdir(parents=True)
(place / "kernel.so").write_text("code")
print(json.dumps({"card": os.environ["CUDA_VISIBLE_DEVICES"], "found": found}))
print("flops_per_token: 1e9")
time.sleep(1.2)
print("val_bpb: 1.5")
"""


class OnCards:
    """A trainer of a workspace whose script prints its score, over a fake driver."""

    def __init__(self, folder: Path, driver: FakeDriver, *, slots: int = 1, **trainer: Any) -> None:
        self.said: list[str] = []
        self.folder = folder
        self.repository = GitRepository(folder, ("train.py",))
        self.measured = 0

        async def measure(uuid: str) -> Calibration | str:
            self.measured += 1
            return Calibration(tflops=700.0, copy_gb_per_second=2800.0)

        async def pause(seconds: float) -> None:
            await asyncio.sleep(0.01)

        keeper = Keeper(
            driver,
            workspace=folder,
            say=self.said.append,
            leases=folder.parent / "leases",
            pause=pause,
            measure=measure,
        )
        table = {
            "task": {"scorer": "printed"},
            "budget": {"kind": "wall", "seconds": 30},
            "trainer": {"slots": slots, **trainer},
        }
        self.trainer = LocalTrainer(
            settings_from(table),
            workspace=folder,
            trees=self.repository,
            listen=lambda progress: None,
            say=self.said.append,
            cards=keeper,
        )

    def job(self, experiment: int) -> Job:
        return Job(experiment=experiment, trial=0, seed=1, commit=self.repository.main())

    def printed(self, experiment: int) -> dict[str, Any]:
        log = self.folder / ".ratchetree" / "trials" / f"{experiment:04d}-0" / "log.txt"
        answer: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
        return answer


@pytest.fixture
def script(workspace: Path, git: Git) -> Path:
    """A workspace whose script is SCRIPT."""
    (workspace / "train.py").write_text(SCRIPT)
    git(workspace, "commit", "-qam", "prints")
    return workspace


@pytest.mark.slow
def test_a_trial_has_a_card_of_its_own_and_what_the_root_compiled(script: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    working = replace(CALM, clock_mhz=1782, memory_mb=1024.0)
    driver = FakeDriver(present=(ONE, TWO), readings={ONE.uuid: working, TWO.uuid: working})
    on = OnCards(script, driver, slots=2, calibrate_every=1)

    async def use() -> list[TrialReport | Failure]:
        await on.trainer.open(on.repository.main())
        root = await on.trainer.train(on.job(0))
        both = await asyncio.gather(on.trainer.train(on.job(1)), on.trainer.train(on.job(2)))
        with pytest.raises(WrongUse, match="0 of 2 are free"):
            await OnCards(script, driver).trainer.open(on.repository.main())
        await on.trainer.close()
        return [root, *both]

    reports = asyncio.run(use())
    for report in reports:
        assert isinstance(report, TrialReport), report
        assert (report.card_memory_mb, report.card_clock, report.card_speed) == (1024, 0.9, 1.0)
        assert report.mfu == 0.0  # no tokens were counted
    assert {report.card.split()[-1] for report in reports[1:]} == {ONE.uuid, TWO.uuid}  # type: ignore[union-attr]
    assert {on.printed(1)["card"], on.printed(2)["card"]} == {ONE.uuid, TWO.uuid}
    assert [on.printed(n)["found"] for n in range(3)] == [[], ["kernel.so"], ["kernel.so"]]
    assert on.measured == 3


@pytest.mark.slow
def test_a_trial_whose_card_is_taken_or_slowed_is_void(script: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = FakeDriver(on={ONE.uuid: (Resident(pid=1, memory_mb=30_000),)})
    on = OnCards(script, driver, calibrate_every=0)

    async def use() -> tuple[TrialReport | Failure, TrialReport | Failure]:
        await on.trainer.open(on.repository.main())
        taken = await on.trainer.train(on.job(1))
        driver.on, driver.readings = {}, {ONE.uuid: replace(CALM, slowed=frozenset({"heat"}))}
        slowed = await on.trainer.train(on.job(2))
        await on.trainer.close()
        return taken, slowed

    taken, slowed = asyncio.run(use())
    assert isinstance(taken, Failure) and taken.kind is FailureKind.STARVED
    assert taken.message == "its card was not free: pid 1 has 30,000 MB of it"
    assert not (script / ".ratchetree" / "trials" / "0001-0" / "log.txt").exists()  # it never began
    # Too short a run says nothing, so its machine is not judged; the card's part of the rule is tested by itself.
    assert isinstance(slowed, TrialReport) and slowed.card_clock == 1.0


class Overlapping(Real):
    """The seed task with a clock, on one fake card."""

    def __init__(self, folder: Path, driver: FakeDriver, **trainer: Any) -> None:
        async def pause(seconds: float) -> None:
            await asyncio.sleep(0.01)

        keeper = Keeper(
            driver, workspace=folder, say=lambda line: None, leases=folder.parent / "leases", pause=pause, measure=_calm
        )
        tables = {"budget": {"kind": "wall", "seconds": 60.0, "startup_seconds": 60}}
        super().__init__(folder, trainer={"calibrate_every": 0, **trainer}, **tables, cards=keeper)

    def stages(self, experiment: int) -> list[str]:
        """What was told of an experiment, without repetitions."""
        told = [progress.stage for progress in self.seen if progress.experiment == experiment]
        return [stage for stage, before in zip(told, ["", *told], strict=False) if stage != before]


@pytest.fixture
def short_task(seed_task: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """The seed task, which saves after three steps, so that no deadline meets a busy machine."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    script = seed_task / "train.py"
    text = script.read_text()
    assert text.count("        if seconds_left() <") == 1
    script.write_text(text.replace("        if seconds_left() <", "        if step >= 3 or seconds_left() <"))
    git(seed_task, "commit", "-qam", "short")
    return seed_task


async def _calm(uuid: str) -> Calibration | str:
    return Calibration(tflops=700.0, copy_gb_per_second=2800.0)


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [True, False])
def test_a_trial_starts_up_while_the_last_one_is_scored_and_its_clock_waits_for_that(
    short_task: Path, overlap: bool
) -> None:
    async def use() -> tuple[list[str], list[str]]:
        real = Overlapping(short_task, FakeDriver(present=(ONE,)), overlap=overlap)
        first, second = (Job(experiment=n, trial=0, seed=n, commit=real.repository.main(), cuts=8) for n in (1, 2))
        await real.trainer.open(first.commit)
        assert isinstance(await real.trainer.train(first), TrialReport)
        training = asyncio.create_task(real.trainer.train(second))
        await asyncio.sleep(0)
        assert isinstance(await real.trainer.score(first), ScoreReport)
        while_scored = real.stages(2)
        report = await training
        assert isinstance(report, TrialReport)
        await real.trainer.close()
        return while_scored, real.stages(2)

    while_scored, stages = asyncio.run(use())
    assert while_scored == (["waiting", "starting"] if overlap else ["waiting"])
    assert stages == ["waiting", "starting", "training"]


@pytest.mark.slow
def test_a_failure_beside_another_trial_counts_once_it_came_again_alone(short_task: Path) -> None:
    text = (short_task / "train.py").read_text()
    only_here = text.replace("def build_model(task):\n", "def build_model(task):\n    assert __name__ == '__main__'\n")
    assert only_here != text

    async def use() -> Overlapping:
        real = Overlapping(short_task, FakeDriver(present=(ONE,)))
        source = real.repository.sources(real.repository.main())[0]
        one, two = (
            Job(experiment=n, trial=0, seed=n, commit=real.repository.main(), overlay=(replace(source, text=changed),))
            for n, changed in ((1, only_here), (2, "import no_such_module\n" + text))
        )
        await real.trainer.open(one.commit)
        assert isinstance(await real.trainer.train(one), TrialReport)
        scored, trained = await asyncio.gather(real.trainer.score(one), real.trainer.train(two))
        assert isinstance(scored, Failure) and scored.kind is FailureKind.BUILD
        assert isinstance(trained, Failure) and trained.kind is FailureKind.IMPORT
        await real.trainer.close()
        return real

    real = asyncio.run(use())
    assert sum(progress.stage == "scoring" for progress in real.seen) == 2
    assert sum(progress.stage == "starting" and progress.experiment == 2 for progress in real.seen) == 2


@pytest.mark.slow
def test_a_trial_starts_alone_where_a_stranger_is_on_the_card_or_its_speed_is_due(short_task: Path) -> None:

    async def use(driver: FakeDriver, every: int) -> tuple[Overlapping, TrialReport | Failure]:
        real = Overlapping(short_task, driver, calibrate_every=every)
        await real.trainer.open(real.repository.main())
        job = Job(experiment=1, trial=0, seed=1, commit=real.repository.main())
        report = await real.trainer.train(job)
        await real.trainer.close()
        return real, report

    stranger = FakeDriver(present=(ONE,), on={ONE.uuid: (Resident(pid=1, memory_mb=30_000),)})
    real, void = asyncio.run(use(stranger, 0))
    assert isinstance(void, Failure) and void.message == "its card was not free: pid 1 has 30,000 MB of it"
    assert real.stages(1) == ["waiting"]
    _, report = asyncio.run(use(FakeDriver(present=(ONE,)), 1))
    assert isinstance(report, TrialReport) and report.card_speed == 1.0


@pytest.mark.slow
def test_cards_are_left_alone_where_training_is_not_timed_by_the_clock(script: Path) -> None:
    driver = FakeDriver()
    on = OnCards(script, driver, cards="none")
    asyncio.run(on.trainer.open(on.repository.main()))
    assert driver.asked == 0


@pytest.mark.slow
def test_the_seed_for_cards_is_smoke_tested_trained_and_scored_on_a_cpu(
    seed_task: Path,  # noqa: F811 - for its corpus and cache
    git: Git,
    monkeypatch: Any,
) -> None:
    """The same files, with a smaller vocabulary and shorter rows, so that the test is short."""
    folder = seed_task.parent / "gpu"
    shutil.copytree(TASK.with_name("gpt-gpu"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in SMALLER.items():
        text = (folder / name).read_text()
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "root")
    monkeypatch.setenv("RATCHETREE_DEVICE", "no such device")  # must not get in

    async def use() -> tuple[Failure | None, TrialReport | Failure, ScoreReport | Failure]:
        real = Real(folder, trainer={"smoke": "cpu"}, budget={"kind": "tokens", "tokens": 3000, "seconds": 120})
        job = Job(experiment=1, trial=0, seed=1, commit=real.repository.main(), cuts=8)
        await real.trainer.open(job.commit)
        return await real.trainer.smoke(job), await real.trainer.train(job), await real.trainer.score(job)

    smoke, report, score = asyncio.run(use())
    assert smoke is None and isinstance(report, TrialReport), (smoke, report)
    assert report.tokens == report.steps * 2 * 32 == 2944
    assert isinstance(score, ScoreReport), score
    assert 1.0 < score.value < 4.0 and score.by == "trusted" and score.cuts >= 8


@pytest.mark.slow
def test_a_model_that_cannot_be_rebuilt_has_the_number_that_it_printed_where_that_is_allowed(
    seed_task: Path,  # noqa: F811
) -> None:
    text = (seed_task / "train.py").read_text()
    text = text.replace("def build_model(task):\n", "def build_model(task):\n    assert __name__ == '__main__'\n")
    text = text.replace("    save(model)\n", "    save(model)\n    print('val_bpb: 2.5')\n")

    async def use(scorer: str) -> ScoreReport | Failure:
        real = Real(seed_task, task={"corpus": str((seed_task.parent / "corpus").resolve()), "scorer": scorer})
        job = Job(experiment=1, trial=0, seed=1, commit=real.repository.main())
        await real.trainer.open(job.commit)
        (seed_task / "train.py").write_text(text)
        overlay = replace(real.repository.sources(job.commit)[0], text=text)
        assert isinstance(await real.trainer.train(replace(job, overlay=(overlay,))), TrialReport)
        return await real.trainer.score(replace(job, overlay=(overlay,)))

    assert TOKENS["budget"]["kind"] == "tokens"
    report = asyncio.run(use("trusted-else-printed"))
    assert isinstance(report, ScoreReport) and (report.value, report.by) == (2.5, "printed")
