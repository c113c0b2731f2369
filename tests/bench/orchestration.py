"""What ratchetree itself costs per experiment: CPU time, journal bytes, and the time to resume.

Real git, real SQLite, real LangGraph, the offline agents on the gpt-cpu seed; only training and scoring are synthetic.

    python tests/bench/orchestration.py [--experiments 10000] [--policy best-first] [--step 100]

Prints a row per block of experiments and the ratio of the last to the first block, so that growth would show.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"

import ratchetree
from ratchetree.agents.offline import OfflineCoder, OfflinePlanner
from ratchetree.search.campaign import Campaign
from ratchetree.search.events import Event, Judged
from ratchetree.search.experiment import Parts
from ratchetree.search.model import Progress
from ratchetree.search.policies import POLICIES, make_policy
from ratchetree.search.settings import settings_from
from ratchetree.search.state import State
from ratchetree.search.tree import Tree
from ratchetree.storage.journal import SqliteJournal
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.synthetic import SyntheticTrainer

SEED_TASK = Path(ratchetree.__file__).parent / "program" / "gpt-cpu"


def cpu_seconds() -> float:
    """Of this process and all its finished children (git)."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Meter:
    """Notes the CPU clock after every verdict."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def event(self, tree: Tree, event: Event) -> None:
        if isinstance(event, Judged):
            self.marks.append(cpu_seconds())

    def progress(self, progress: Progress) -> None:
        pass


def make_workspace(folder: Path) -> None:
    shutil.copytree(SEED_TASK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "root"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--policy", choices=POLICIES, default="best-first")
    parser.add_argument("--step", type=int, default=100, help="experiments in a block")
    parser.add_argument("--in-flight", type=int, default=2)
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp()) / "workspace"
    make_workspace(folder)
    settings = settings_from(
        {
            "search": {"policy": options.policy, "in_flight": options.in_flight},
            "limits": {"experiments": options.experiments},
        }
    )
    repository = GitRepository(folder, settings.task.editable)
    journal = SqliteJournal.create(folder / ".ratchetree" / "journal.db")
    meter = Meter()
    parts = Parts(
        journal=journal,
        repository=repository,
        planner=OfflinePlanner(),
        coder=OfflineCoder(),
        trainer=SyntheticTrainer(repository.sources, slots=options.in_flight),
        clock=time.time,
        observers=(meter,),
    )
    policy = make_policy(options.policy, {})
    checkpoints = folder / ".ratchetree" / "checkpoints.db"
    campaign = Campaign(parts=parts, policy=policy, settings=settings, seed=1, version="bench", checkpoints=checkpoints)
    for module in ("langgraph.graph", "langgraph.checkpoint.sqlite", "libcst"):
        importlib.import_module(module)  # once per run, not per experiment

    begun = time.perf_counter()
    asyncio.run(campaign.run())
    wall = time.perf_counter() - begun
    journal.close()

    marks, step = meter.marks, options.step
    blocks = [
        ((marks[start + step] - marks[start]) / step * 1000, start) for start in range(0, len(marks) - step, step)
    ]
    shown = blocks[:: max(1, len(blocks) // 10)]
    print(f"{'experiments':>16} {'CPU ms each':>12}")
    for milliseconds, start in shown if blocks[-1] in shown else [*shown, blocks[-1]]:
        print(f"{start + 1:>7} - {start + step:<6} {milliseconds:>12.1f}")
    tree = campaign.tree
    size = (folder / ".ratchetree" / "journal.db").stat().st_size
    print(f"last block / first block: {blocks[-1][0] / blocks[0][0]:.2f}")
    each = f"{wall / tree.experiments * 1000:.1f} ms wall, {size / tree.experiments / 1024:.2f} KB of journal"
    print(f"each experiment: {each}; nodes by state {tree.counts}")

    begun, begun_cpu = time.perf_counter(), time.process_time()
    state = State(policy=make_policy(options.policy, {}))
    reader = SqliteJournal.create(folder / ".ratchetree" / "journal.db")
    for number, event in reader.events():
        state.apply(number, event)
    print(
        f"resume (open, check, replay {state.number} events): {time.perf_counter() - begun:.2f} s wall, "
        f"{time.process_time() - begun_cpu:.2f} s CPU"
    )
    shutil.rmtree(folder.parent)


if __name__ == "__main__":
    main()
