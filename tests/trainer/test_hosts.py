"""Several hosts as one trainer: over hosts that are made up, over two real ones in this process, and through Ray."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.errors import RatchetreeError, WrongUse
from ratchetree.search.model import Failure, FailureKind, Machine, Progress, ScoreReport, SourceFile, TrialReport
from ratchetree.search.ports import Job
from ratchetree.search.settings import settings_from
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.hosts.host import Done, Host, Opened
from ratchetree.trainer.hosts.trainer import HostLost, HostsTrainer
from ratchetree.trainer.processes import MARK, marked

from .test_trainers import TOKENS, seed_task  # noqa: F401 - a fixture

MACHINE = Machine(host="h", cpu="c", cpus=4, memory_gb=8.0, data="d", sandbox="bubblewrap")
TRAINED = TrialReport(startup_seconds=1.0, train_seconds=1.0, cpu_seconds=1.0, peak_memory_mb=1.0)


class MadeUp:
    """Implements Link with a host that answers at once. lost: it does not answer any more."""

    def __init__(self, name: str, machine: Machine = MACHINE, *, kept: tuple[str, ...] = ()) -> None:
        self.name = name
        self.asked: list[str] = []
        self.told: list[Progress | str] = []
        self.lost = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.snapshot: bytes | None = None
        self._opened = Opened(machine=machine, kept=kept)

    async def call(self, method: str, *arguments: Any) -> Any:
        if method == "news":
            await asyncio.sleep(0)
            if self.lost:
                raise HostLost("no answer")
            told, self.told = self.told, []
            return told
        job = next((argument for argument in arguments if isinstance(argument, Job)), None)
        method = arguments[0] if method == "run" else method
        self.asked.append(f"{method} {job.experiment}-{job.trial}" if job else method)
        await self.hold.wait()
        if self.lost:
            raise HostLost("no answer")
        answers: dict[str, Any] = {
            "open": self._opened,
            "smoke": Done(outcome=None, files={"log.txt": b"smoke"}),
            "train": Done(outcome=TRAINED, files={"log.txt": b"log", "curve.tsv": b"curve"}),
            "score": Done(outcome=ScoreReport(value=2.0), files={"rows.npy": b"rows"}),
            "snapshot": self.snapshot,
        }
        return answers.get(method)


def trainer_of(links: list[Any], folder: Path, slots: int = 2, **trainer: Any) -> tuple[HostsTrainer, list[Any]]:
    heard: list[Any] = []
    made = HostsTrainer(
        settings_from({"trainer": {"executor": "ray", "slots": slots, **trainer}, "budget": {"kind": "wall"}}),
        links,
        workspace=folder,
        trees=NoTrees(),
        listen=heard.append,
        say=heard.append,
    )
    return made, heard


class NoTrees:
    """Implements TreeSource with one file."""

    def export(self, commit: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "train.py").write_text(commit)


def job(experiment: int, trial: int = 0) -> Job:
    return Job(experiment=experiment, trial=trial, seed=1, commit="c0")


async def both(trainer: HostsTrainer, *hosts: MadeUp) -> list[object]:
    """Two trials, which are under way at once."""
    for host in hosts:
        host.hold.clear()
    trials = [asyncio.create_task(trainer.train(job(number))) for number in (1, 2)]
    for _ in range(20):
        await asyncio.sleep(0)
    for host in hosts:
        host.hold.set()
    return list(await asyncio.gather(*trials))


def test_a_trial_is_scored_where_it_was_trained_and_what_one_reads_comes_back(tmp_path: Path) -> None:
    async def use() -> None:
        one, two = MadeUp("one"), MadeUp("two")
        trainer, _ = trainer_of([one, two], tmp_path)
        machine = await trainer.open("c0")
        assert (machine.host, machine.cpus, machine.memory_gb) == ("one, two", 8, 16.0)
        assert await trainer.smoke(job(1)) is None
        assert await both(trainer, one, two) == [TRAINED, TRAINED]
        for number in (1, 2):
            assert await trainer.score(job(number)) == ScoreReport(value=2.0)
            trainer.discard(job(number))
            trainer.discard(job(number))
        await trainer.close()
        for host in (one, two):
            assert host.asked[0] == "open" and host.asked[-1] == "close"
            trained = [asked.removeprefix("train ") for asked in host.asked if asked.startswith("train")]
            assert len(trained) == 1
            assert host.asked.count(f"score {trained[0]}") == host.asked.count(f"discard {trained[0]}") == 1
        files = {path.name: path.read_text() for path in (tmp_path / ".ratchetree" / "trials" / "0001-0").iterdir()}
        assert files == {"log.txt": "log", "curve.tsv": "curve", "rows.npy": "rows"}

    asyncio.run(use())


@pytest.mark.parametrize(("slots", "shares"), [(1, [1]), (2, [1, 1]), (5, [2, 3]), (8, [4, 4])])
def test_slots_are_dealt_in_equal_shares(slots: int, shares: list[int], tmp_path: Path) -> None:
    async def use() -> None:
        hosts = [MadeUp("one"), MadeUp("two")]
        trainer, _ = trainer_of(hosts, tmp_path, slots)
        await trainer.open("c0")
        for host in hosts:
            host.hold.clear()
        trials = [asyncio.create_task(trainer.train(job(n))) for n in range(1, slots + 3)]
        for _ in range(20):
            await asyncio.sleep(0)
        begun = [sum(asked.startswith("train") for asked in host.asked) for host in hosts if host.asked]
        assert begun == shares
        for host in hosts:
            host.hold.set()
        await asyncio.gather(*trials)
        await trainer.close()

    asyncio.run(use())


def test_what_a_lost_host_was_doing_is_void_and_the_others_go_on(tmp_path: Path) -> None:
    async def use() -> None:
        one, two = MadeUp("one"), MadeUp("two")
        trainer, heard = trainer_of([one, two], tmp_path)
        await trainer.open("c0")
        assert await both(trainer, one, two) == [TRAINED, TRAINED]
        lost, other = (one, two) if "train 1-0" in one.asked else (two, one)
        lost.lost = True
        for lost_job in (await trainer.score(job(1)), await trainer.score(job(1))):
            assert isinstance(lost_job, Failure) and lost_job.kind is FailureKind.STARVED
        assert await trainer.score(job(2)) == ScoreReport(value=2.0)
        assert await asyncio.gather(*(trainer.train(job(n)) for n in (3, 4, 5))) == [TRAINED] * 3
        assert {"train 3-0", "train 4-0", "train 5-0"} <= set(other.asked)
        assert [line for line in heard if "lost" in str(line)] == [
            f"host {lost.name} is lost (no answer): what it was doing is done again elsewhere"
        ]
        other.hold.clear()
        last = [asyncio.create_task(trainer.train(job(n))) for n in (6, 7)]
        for _ in range(20):
            await asyncio.sleep(0)
        other.lost = True
        other.hold.set()
        for task in last:  # one was there, the other waited for its slot
            with pytest.raises(RatchetreeError, match="all hosts are lost"):
                await task
        with pytest.raises(RatchetreeError, match="all hosts are lost"):
            await trainer.smoke(job(8))
        await trainer.close()

    asyncio.run(use())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(MACHINE, data="e"), "host two prepared other data than host one"),
        (replace(MACHINE, gpu="NVIDIA H200"), "host two has NVIDIA H200 and host one no card"),
    ],
)
def test_hosts_whose_scores_would_not_compare_are_refused(other: Machine, message: str, tmp_path: Path) -> None:
    trainer, _ = trainer_of([MadeUp("one"), MadeUp("two", other)], tmp_path)
    with pytest.raises(WrongUse, match=message):
        asyncio.run(trainer.open("c0"))


def test_the_weakest_sandbox_and_another_processor_are_told(tmp_path: Path) -> None:
    other = replace(MACHINE, sandbox="landlock", cpu="old")
    trainer, heard = trainer_of([MadeUp("one"), MadeUp("two", other)], tmp_path)
    assert asyncio.run(trainer.open("c0")).sandbox == "landlock"
    assert "host two has old, host one c: scores depend on who trained" in heard


def test_what_was_kept_over_a_crash_is_asked_for_where_it_is(tmp_path: Path) -> None:
    async def use() -> None:
        one, two = MadeUp("one"), MadeUp("two", kept=("0004-0",))
        trainer, _ = trainer_of([one, two], tmp_path)
        await trainer.open("c0")
        one.hold.clear()
        two.hold.clear()
        busy = [asyncio.create_task(trainer.train(job(n))) for n in (1, 2, 4)]  # the slots are taken: it needs none
        for _ in range(20):
            await asyncio.sleep(0)
        assert "train 4-0" in two.asked
        busy.append(asyncio.create_task(trainer.train(replace(job(4), run=1))))  # were it void: that would need one
        for _ in range(20):
            await asyncio.sleep(0)
        assert (one.asked + two.asked).count("train 4-0") == 1
        one.hold.set()
        two.hold.set()
        await asyncio.gather(*busy)
        assert (one.asked + two.asked).count("train 4-0") == 2
        assert isinstance(await trainer.score(job(5)), Failure)  # nobody has it
        await trainer.close()

    asyncio.run(use())


def test_what_the_root_compiled_is_shared_once_and_slots_and_words_tell_the_host(tmp_path: Path) -> None:
    async def use() -> None:
        one, two = MadeUp("one"), MadeUp("two")
        one.snapshot = two.snapshot = b"code"
        trainer, heard = trainer_of([one, two], tmp_path, 4)
        await trainer.open("c0")
        await asyncio.gather(*(trainer.train(job(0, trial)) for trial in range(3)))
        asked = one.asked + two.asked
        assert asked.count("adopt") == 1
        two.told = [Progress(experiment=1, trial=0, stage="training", slot=1), "hot"]
        for _ in range(20):
            await asyncio.sleep(0)
        assert "two: hot" in heard
        assert [p.slot for p in heard if isinstance(p, Progress) and p.stage == "training"] == [3]
        await trainer.close()

    asyncio.run(use())


class InThisProcess:
    """Implements Link; what crosses is pickled, as it would be."""

    def __init__(self, name: str, host: Host) -> None:
        self.name, self.host = name, host

    async def call(self, method: str, *arguments: Any) -> Any:
        result = await getattr(self.host, method)(*pickle.loads(pickle.dumps(arguments)))
        return pickle.loads(pickle.dumps(result))


@pytest.mark.slow
def test_two_hosts_train_and_score_the_seed_and_remember_what_a_killed_campaign_did_not_hear(
    seed_task: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings = settings_from(
        {
            "task": {"corpus": str(seed_task.parent / "corpus")},
            "trainer": {"executor": "ray", "slots": 2, "starvation": False},
            **TOKENS,
        }
    )
    repository = GitRepository(seed_task, ("train.py",))
    commit = repository.main()

    def begin() -> tuple[HostsTrainer, list[Any]]:
        heard: list[Any] = []
        links = [InThisProcess(name, Host(settings, "c", str(tmp_path / name))) for name in ("one", "two")]
        trainer = HostsTrainer(
            settings, links, workspace=seed_task, trees=repository, listen=heard.append, say=heard.append
        )
        return trainer, heard

    async def use() -> None:
        jobs = [Job(experiment=1, trial=trial, seed=1, commit=commit, cuts=8) for trial in (0, 1)]
        trainer, heard = begin()
        await trainer.open(commit)
        assert await trainer.smoke(jobs[0]) is None
        broken = (SourceFile(path="train.py", text="import no_such_module"),)
        failure = await trainer.smoke(replace(jobs[0], overlay=broken))
        assert isinstance(failure, Failure) and failure.kind is FailureKind.IMPORT
        trained = await asyncio.gather(*(trainer.train(j) for j in jobs))
        assert all(isinstance(report, TrialReport) for report in trained), trained
        await trainer.close()
        assert {p.slot for p in heard if isinstance(p, Progress) and p.stage == "training"} == {0, 1}

        trainer, heard = begin()
        await trainer.open(commit)
        again = await asyncio.gather(*(trainer.train(j) for j in jobs))
        assert [r.tokens for r in again if isinstance(r, TrialReport)] == [
            r.tokens for r in trained if isinstance(r, TrialReport)
        ]
        assert not [p for p in heard if isinstance(p, Progress) and p.stage in ("starting", "training")]
        scores = [await trainer.score(j) for j in jobs]
        assert all(isinstance(score, ScoreReport) for score in scores), scores
        assert scores[0] == scores[1]  # the same seed on two hosts
        for done in jobs:
            trainer.discard(done)
        await trainer.close()
        for name in ("one", "two"):
            assert not list((tmp_path / name / ".ratchetree" / "trials").glob("0001-*"))
        assert (seed_task / ".ratchetree" / "trials" / "0001-1" / "rows.npy").exists()

    asyncio.run(use())


def test_a_second_node_on_the_same_machine_is_refused(tmp_path: Path) -> None:
    settings = settings_from({"task": {"scorer": "printed"}, "trainer": {"executor": "ray"}})

    async def use() -> None:
        hosts = [Host(settings, "c", str(tmp_path / "host")) for _ in range(2)]
        with contextlib.suppress(RatchetreeError):
            await hosts[0].open("c0", b"", 1)
        with pytest.raises(WrongUse, match="two nodes on this machine"):
            await hosts[1].open("c0", b"", 1)
        for host in (*hosts, Host(settings, "c", str(tmp_path / "never opened"))):
            await host.close()
            await host.close()

    asyncio.run(use())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_a_campaign_runs_on_a_cluster_of_ray_and_leaves_nothing_behind(
    seed_task: Path,  # noqa: F811
    git: Callable[..., str],
    monkeypatch: Any,
) -> None:
    settings = (seed_task / "ratchetree.toml").read_text()
    for old, new in (
        ('kind     = "cpu"', 'kind     = "tokens"\ntokens = 6000'),
        ('corpus   = ""', f'corpus = "{seed_task.parent / "corpus"}"'),
        ('preset   = "default"', 'preset   = "naive"'),
        ("slots    = 2", 'slots = 1\nexecutor = "ray"\ncluster = "local"\nstarvation = false'),
    ):
        assert settings.count(old) == 1, old
        settings = settings.replace(old, new)
    (seed_task / "ratchetree.toml").write_text(settings)
    git(seed_task, "commit", "-qam", "on a cluster")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # names of its sockets may have 107 characters
    command = [sys.executable, "-m", "ratchetree", "run", str(seed_task), "--experiments", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == 2 and "no Ray cluster answers" in done.stderr:
        pytest.skip(f"Ray cannot start a cluster here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hosts and their slots: " in done.stdout
    assert "stopped: the limit of 1 experiments" in done.stdout, done.stdout
    name = hashlib.sha256(f"{os.uname().nodename}:{seed_task}".encode()).hexdigest()[:16]
    host = Path(os.environ["XDG_CACHE_HOME"], "ratchetree", "hosts", name)
    assert host.is_dir() and marked(**{MARK: str(host)}) == []
