"""What trust costs: launching a run in each sandbox, and scoring a trial with all probes.

    python tests/bench/trust.py [--launches 30] [--scorings 3]

Launches are timed in turn with a plain process, so that a drift of the machine hits both. Scoring is the real thing on
the gpt-cpu task: two model servers in sandboxes of their own, each importing torch, decoys first, then every row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ratchetree
from ratchetree.search.model import Failure, ScoreReport
from ratchetree.search.ports import Job
from ratchetree.search.scrutiny import AUDIT_CUTS, CONFIRM_CUTS, SCREEN_CUTS
from ratchetree.search.settings import settings_from
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.local import LocalTrainer
from ratchetree.trainer.sandbox import BACKENDS, Cell

SEED_TASK = Path(ratchetree.__file__).parent / "program" / "gpt-cpu"
LAUNCHER = f"""
import json, sys, time
sys.path.insert(0, {str(Path(ratchetree.__file__).parent / "trainer")!r})
import confine
confinement, place, count = json.loads(sys.argv[1])
times = []
for _ in range(count):
    for how in ({{}}, confinement):
        begun = time.perf_counter()
        confine.start([{sys.executable!r}, "-I", "-S", "-c", "pass"], how, cwd=place, env={{}}).wait()
        times.append((time.perf_counter() - begun) * 1000)
print(json.dumps(times))
"""
"""A process as small as the supervisor, launching in turn plainly and confined: a fork costs by the parent's size."""


def launches(count: int) -> None:
    """A table of launch times."""
    print(f"{'launch':<12} {'median ms':>10} {'over a plain process':>22} {'(quartiles)':>16}")
    with tempfile.TemporaryDirectory() as place:
        for name, backend in BACKENDS.items():
            if reason := backend.missing():
                print(f"{name:<12} {reason}")
                continue
            told = json.dumps([backend.confine(Cell(tree=place, scratch=place)).as_json(), place, count])
            said = subprocess.run([sys.executable, "-I", "-S", "-c", LAUNCHER, told], capture_output=True, check=True)
            times = json.loads(said.stdout)
            plain, confined = times[::2], times[1::2]
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
        print(f"{'places probed':>14} {'wall s':>8} {'largest leak, nats':>20}")
        trained = await trainer.train(Job(experiment=1, trial=0, seed=1, commit=commit))
        assert not isinstance(trained, Failure), trained
        for cuts in (SCREEN_CUTS, CONFIRM_CUTS, AUDIT_CUTS):
            walls, leaks = [], []
            for _ in range(count):
                begun = time.perf_counter()
                report = await trainer.score(Job(experiment=1, trial=0, seed=1, commit=commit, cuts=cuts))
                assert isinstance(report, ScoreReport), report
                walls.append(time.perf_counter() - begun)
                leaks.append(report.leak or 0.0)
            print(f"{cuts:>14} {statistics.median(walls):>8.2f} {max(leaks):>20.2e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launches", type=int, default=30)
    parser.add_argument("--scorings", type=int, default=3)
    options = parser.parse_args()
    launches(options.launches)
    asyncio.run(scorings(options.scorings))


if __name__ == "__main__":
    main()
