"""What trust costs: launching a run in each sandbox, and scoring a trial with all probes.

    python tests/bench/trust.py [--launches 30] [--scorings 3]

Launches are timed in turn with a plain process, so that a drift of the machine hits both. Scoring is the real thing on
the gpt-cpu task: two model servers in sandboxes of their own, each importing torch, decoys first, then every row.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ratchetree
from ratchetree.search.model import Failure, ScoreReport
from ratchetree.search.ports import Job
from ratchetree.search.scrutiny import AUDIT_CUTS, CONFIRM_CUTS, SCREEN_CUTS
from ratchetree.search.settings import settings_from
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.confine import start
from ratchetree.trainer.local import LocalTrainer
from ratchetree.trainer.sandbox import BACKENDS, Cell

SEED_TASK = Path(ratchetree.__file__).parent / "program" / "gpt-cpu"
PYTHON = [sys.executable, "-I", "-S", "-c", "pass"]


def timed(action: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    begun = time.perf_counter()
    action()
    return (time.perf_counter() - begun) * 1000


def launches(count: int) -> None:
    """A table of launch times."""
    print(f"{'launch':<12} {'median ms':>10} {'over a plain process':>22} {'(quartiles)':>16}")
    with tempfile.TemporaryDirectory() as place:
        for name, backend in BACKENDS.items():
            if reason := backend.missing():
                print(f"{name:<12} {reason}")
                continue
            plain, confined = [], []
            for _ in range(count):
                plain.append(timed(lambda: start(PYTHON, {}, cwd=place, env={}).wait()))
                cell = Cell(tree=place, scratch=place)
                confined.append(
                    timed(lambda b=backend, c=cell: start(PYTHON, b.confine(c).as_json(), cwd=place, env={}).wait())
                )
            over = [c - p for p, c in zip(plain, confined, strict=True)]
            low, middle, high = statistics.quantiles(over, n=4)
            print(f"{name:<12} {statistics.median(confined):>10.1f} {middle:>22.1f} {f'({low:.1f} - {high:.1f})':>16}")


def workspace(folder: Path) -> None:
    """The seed task as a git repository."""
    shutil.copytree(SEED_TASK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "root"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


async def scorings(count: int) -> None:
    """A table of scoring times, process starts included."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "workspace"
        workspace(folder)
        repository = GitRepository(folder, ("train.py",))
        settings = settings_from({"budget": {"kind": "tokens", "tokens": 20_000, "seconds": 120}})
        trainer = LocalTrainer(
            settings, workspace=folder, trees=repository, listen=lambda p: None, say=lambda line: None
        )
        commit = repository.main()
        machine = await trainer.open(commit)
        print(f"\nscoring of gpt-cpu, sandbox {machine.sandbox}, {machine.cpus} CPUs, one of them used")
        print(f"{'places probed':>14} {'wall s':>8} {'CPU s':>8} {'largest leak, nats':>20}")
        trained = await trainer.train(Job(experiment=1, trial=0, seed=1, commit=commit))
        assert not isinstance(trained, Failure), trained
        for cuts in (SCREEN_CUTS, CONFIRM_CUTS, AUDIT_CUTS):
            walls, cpus, leaks = [], [], []
            for _ in range(count):
                begun, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
                report = await trainer.score(Job(experiment=1, trial=0, seed=1, commit=commit, cuts=cuts))
                assert isinstance(report, ScoreReport), report
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                walls.append(time.perf_counter() - begun)
                cpus.append(after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime)
                leaks.append(report.leak or 0.0)
            print(f"{cuts:>14} {statistics.median(walls):>8.2f} {statistics.median(cpus):>8.2f} {max(leaks):>20.2e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launches", type=int, default=30)
    parser.add_argument("--scorings", type=int, default=3)
    options = parser.parse_args()
    launches(options.launches)
    asyncio.run(scorings(options.scorings))


if __name__ == "__main__":
    main()
