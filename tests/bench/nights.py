"""Long campaigns that nobody has to train: the journal of a made-up night, written in a second.

A ratchet with side lines: most experiments go on from main, some from parked nodes, some under a setback contract; a
twentieth fails, and steps get smaller as the night goes on. Run as a script it makes a workspace to look at:
python tests/bench/nights.py DIR --experiments 1000
"""

from __future__ import annotations

import argparse
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ratchetree.search.events import (
    CampaignStarted,
    Committed,
    Event,
    Judged,
    Planned,
    Scored,
    Selected,
    Settled,
    Trained,
    Written,
)
from ratchetree.search.model import (
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    Patch,
    ScoreReport,
    SetbackContract,
    TrialReport,
    Verdict,
)
from ratchetree.storage.journal import SqliteJournal

NOISE = 0.0015
_WHAT = (
    "learning rate",
    "batch",
    "warm-up",
    "window",
    "embedding scale",
    "weight decay",
    "depth",
    "head size",
    "momentum",
)
_HOW = ("halve the", "raise the", "double the", "anneal the", "drop the", "tie the", "delete the", "widen the")
_WORDS = ("optimizer", "architecture", "schedule", "simplify", "batch")


def night(experiments: int, *, seed: int = 1, commit: str = "", setbacks: float = 0.03) -> Iterator[Event]:
    """All events, in order."""
    rng = random.Random(seed)
    machine = Machine(host="made-up", cpu="none", cpus=2, memory_gb=4.0)
    yield CampaignStarted(
        time=1_790_000_000.0, version="0.1.0", seed=seed, metric=Metric(), root_commit=commit or "0" * 40,
        root_digest="root", policy="beam", preset="default", settings='{"trainer":{"slots":2}}', machine=machine,
    )  # fmt: skip
    clock = 1_790_000_000.0
    truth: dict[int, float] = {0: 2.1}
    for trial in range(3):
        clock += 40
        yield from _trial(0, trial, clock, 2.1 + rng.gauss(0, NOISE))
    yield Judged(time=clock, experiment=0, verdict=Verdict.KEPT, reason="the root, over 3 trials", against=0)
    yield Settled(time=clock, experiment=0, main=commit or "0" * 40, branch=None)
    main, lines, invested = 0, [0], set[int]()
    for node in range(1, experiments + 1):
        clock += rng.uniform(12, 25)
        parent = main if rng.random() < 0.7 else rng.choice(lines[-40:])
        promised = rng.random() < setbacks
        gains = rng.random() < (0.4 if parent in invested else 0.09)
        step = -rng.expovariate(1 / (0.06 * 30 / (30 + node) + 0.003)) if gains else abs(rng.gauss(0.002, 0.012))
        if promised:
            step = rng.uniform(0.005, 0.03)
            invested.add(node)
        truth[node] = truth[parent] + step
        yield from _thought(node, parent, clock, rng, promised=promised, commit=commit)
        if rng.random() < 0.05:
            failure = Failure(
                kind=rng.choice((FailureKind.CRASH, FailureKind.OUT_OF_MEMORY)), message="RuntimeError: no"
            )
            yield Trained(time=clock, experiment=node, trial=0, seed=node, seconds=5.0, outcome=failure)
            yield Judged(
                time=clock, experiment=node, verdict=Verdict.FAILED, reason="crash", against=main, failure=failure
            )
            yield Settled(time=clock, experiment=node, main=None, branch=None)
            continue
        lines.append(node)
        first = truth[node] + rng.gauss(0, NOISE)
        yield from _trial(node, 0, clock, first)
        kept = first < truth[main] - NOISE
        for trial in range(1, 4 if kept else 1):
            clock += 20
            yield from _trial(node, trial, clock, truth[node] + rng.gauss(0, NOISE))
        kept = kept and truth[node] < truth[main]
        verdict = Verdict.KEPT if kept else Verdict.PARKED
        reason = f"val_bpb {first:.6f} against {truth[main]:.6f}"
        yield Judged(time=clock, experiment=node, verdict=verdict, reason=reason, against=main)
        yield Settled(
            time=clock, experiment=node, main=commit or f"{node:040x}" if kept else None,
            branch=None if kept else f"parked/{node:04d}-idea",
        )  # fmt: skip
        main = node if kept else main


def _thought(
    node: int, parent: int, time: float, rng: random.Random, *, promised: bool, commit: str
) -> Iterator[Event]:
    call = ModelCall(backend="offline", seconds=0.4)
    contract = SetbackContract(expected_dip=0.015, max_dip=0.05, horizon=6) if promised else None
    idea = Idea(
        title=f"{rng.choice(_HOW)} {rng.choice(_WHAT)} to {rng.uniform(0, 10):.2g}",
        hypothesis="The loss falls fastest early, so that a larger step there should pay for the noise it brings.",
        mechanism="It changes what the optimizer sees of the gradient in the first tenth of the budget.",
        category=rng.choice(_WORDS),
        brief=f"brief {node}",
        expected_change=-0.004,
        contract=contract,
    )
    asked = ExpansionKind.INVEST if promised else ExpansionKind.IMPROVE
    yield Selected(time=time, experiment=node, options=(Expansion(node=parent),))
    yield Planned(time=time, experiment=node, parent=parent, asked=asked, outcome=idea, call=call)
    yield Written(
        time=time, experiment=node, attempt=0, patch=Patch(edits=()), failure=None, digest=f"tree {node}",
        lines_added=rng.randrange(9), lines_removed=rng.randrange(5), call=call,
    )  # fmt: skip
    yield Committed(time=time, experiment=node, attempt=0, commit=commit or f"{node:040x}")


def _trial(node: int, trial: int, time: float, value: float) -> Iterator[Event]:
    report = TrialReport(
        startup_seconds=1.0, train_seconds=18.0, cpu_seconds=18.0, peak_memory_mb=900.0, steps=240, tokens=480_000
    )
    yield Trained(time=time, experiment=node, trial=trial, seed=node + trial, seconds=19.0, outcome=report)
    yield Scored(time=time, experiment=node, trial=trial, seconds=1.0, outcome=ScoreReport(value=value))


def make(folder: Path, experiments: int, *, seed: int = 1, setbacks: float = 0.03) -> Path:
    """A workspace whose journal tells such a night; its git holds the root alone."""
    folder.mkdir(parents=True)
    (folder / "ratchetree.toml").write_text("")
    (folder / "program.md").write_text("made up\n")
    (folder / "train.py").write_text("".join(f"LINE_{i} = {i}\n" for i in range(300)))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "root"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    (folder / ".ratchetree").mkdir()
    events = night(experiments, seed=seed, commit=commit.stdout.strip(), setbacks=setbacks)
    SqliteJournal.replace(folder / ".ratchetree" / "journal.db", events)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    make(given.folder, given.experiments, seed=given.seed)
