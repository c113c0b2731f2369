"""What model-backed agents cost, and whether they keep the slots busy.

    python tests/bench/agents.py [--experiments 40]

Three tables. Tokens and dollars per experiment on the gpt-cpu task, over the rehearsal's server (real SDK, real
prompts; the server's cache forgets by a clock that runs 75 s an experiment, as 4 slots with trials of 300 s do), with
caching and priced without. Share of the time that slots train, on a simulated clock: each reply takes 30-120 s, each
trial 300 s. And how large the planner's prompt is, and how long it takes to make, as the tree grows to 10,000 nodes.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.resources
import os
import random
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"

from ratchetree.agents.digest import history, tokens_of
from ratchetree.agents.offline import OfflineCoder, OfflinePlanner
from ratchetree.agents.planner import question_text
from ratchetree.agents.prices import DATE, PRICES
from ratchetree.agents.rehearsal import Rehearsal
from ratchetree.agents.rehearsed import catalogue
from ratchetree.search.campaign import Campaign
from ratchetree.search.events import CampaignStarted, Event, Judged, Planned, Selected
from ratchetree.search.experiment import Parts
from ratchetree.search.model import (
    Expansion,
    ExpansionKind,
    Failure,
    Idea,
    Machine,
    Metric,
    ModelCall,
    ScoreReport,
    SourceFile,
    TrialReport,
    Verdict,
)
from ratchetree.search.policies import make_policy
from ratchetree.search.ports import Job, Option, PlanReply, PlanRequest, WriteReply, WriteRequest
from ratchetree.search.settings import settings_from
from ratchetree.search.state import State
from ratchetree.storage.journal import SqliteJournal
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.synthetic import SyntheticTrainer

TOML = """
[trainer]
executor = "synthetic"
slots = 4
[search]
policy = "best-first"
[budget]
seconds = 0.01
[agents]
planner = { backend = "claude" }
coder = { backend = "claude" }
"""


def ratchetree(*arguments: object, **environment: str) -> None:
    command = [sys.executable, "-m", "ratchetree", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})


def prepared(toml: str) -> Path:
    """A workspace of the gpt-cpu task with other settings."""
    folder = Path(tempfile.mkdtemp()) / "workspace"
    ratchetree("init", folder)
    (folder / "ratchetree.toml").write_text(toml)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run(["git", *identity, "commit", "-qam", "settings"], cwd=folder, check=True)
    return folder


def costs(experiments: int) -> None:
    """Dollars and tokens per experiment."""
    folder = prepared(TOML)
    with Rehearsal(catalogue()) as server:
        server.clock = lambda: 25.0 * len(server.requests)  # three replies an experiment, one experiment in 75 s
        ratchetree("run", folder, "--experiments", experiments, ANTHROPIC_BASE_URL=server.url)
    bills = [bill for bill in server.bills if bill.whole]
    kinds = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
    print(f"| model | replies | {' | '.join(kinds)} | dollars | without caching |")
    print("|---|---|---|---|---|---|---|---|")
    total = plain = 0.0
    for model in sorted({bill.model for bill in bills}):
        own, price = [bill for bill in bills if bill.model == model], PRICES[model]
        sums = {kind: sum(getattr(bill, kind) for bill in own) / experiments for kind in kinds}
        for_hour = sum(bill.cache_write_1h_tokens for bill in own) / experiments
        paid = sums["input_tokens"] * price.input + sums["output_tokens"] * price.output
        paid += for_hour * price.cache_write_1h + (sums["cache_write_tokens"] - for_hour) * price.cache_write_5m
        paid += sums["cache_read_tokens"] * price.cache_read
        prompt = sums["input_tokens"] + sums["cache_write_tokens"] + sums["cache_read_tokens"]
        without = prompt * price.input + sums["output_tokens"] * price.output
        total, plain = total + paid / 1e6, plain + without / 1e6
        row = " | ".join(f"{sums[kind]:,.0f}" for kind in kinds)
        print(f"| {model} | {len(own) / experiments:.2f} | {row} | {paid / 1e6:.4f} | {without / 1e6:.4f} |")
    print(f"per experiment, of {experiments}, prices of {DATE}: ${total:.4f} with caching, ${plain:.4f} without")
    print("(the rehearsal's replies are shorter than a model's: add what yours thinks and writes)\n")


# -- slots on a simulated clock ---------------------------------------------------------------------------------------


class Skipping(selectors.DefaultSelector):
    """A selector that does not wait: time jumps to the next thing that is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


@dataclass
class Slow:
    """The offline agents, with the patience that models ask for."""

    rng: random.Random

    async def plan(self, request: PlanRequest) -> PlanReply:
        await asyncio.sleep(self.rng.uniform(30, 120))
        return await OfflinePlanner().plan(request)

    async def write(self, request: WriteRequest) -> WriteReply:
        await asyncio.sleep(self.rng.uniform(30, 120))
        return await OfflineCoder().write(request)


class Timed(SyntheticTrainer):
    """Synthetic training that takes 300 simulated seconds, and notes when slots work."""

    def __init__(self, sources_of: Callable[[str], Any], slots: int) -> None:
        super().__init__(sources_of, slots=slots, crash_share=0.0)
        self._free = asyncio.Semaphore(slots)
        self.runs: list[tuple[float, float]] = []

    async def train(self, job: Job) -> TrialReport | Failure:
        async with self._free:
            begun = asyncio.get_running_loop().time()
            await asyncio.sleep(300)
            if job.experiment:
                self.runs.append((begun, asyncio.get_running_loop().time()))
            return await super().train(job)

    async def score(self, job: Job) -> ScoreReport | Failure:
        return await super().score(job)


def busy(experiments: int, *, slots: int, in_flight: int, policy: str) -> float:
    """Share of the slots' time that trials take, from the first trial's start to the last one's."""
    table = {
        "search": {"policy": policy, "in_flight": in_flight, "choice": 1},
        "limits": {"experiments": experiments},
        "trainer": {"slots": slots, "executor": "synthetic"},
    }
    settings = settings_from(table)
    folder = prepared("")
    repository = GitRepository(folder, settings.task.editable)
    selector = Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    trainer, slow = Timed(repository.sources, slots), Slow(random.Random(1))
    journal = SqliteJournal.create(folder / ".ratchetree" / "journal.db")
    parts = Parts(
        journal=journal,
        repository=repository,
        planner=slow,
        coder=slow,
        trainer=trainer,
        clock=lambda: 1.7e9 + selector.now,
    )
    campaign = Campaign(
        parts=parts,
        policy=make_policy(policy, {}),
        settings=settings,
        seed=1,
        version="bench",
        checkpoints=folder / ".ratchetree" / "checkpoints.db",
    )
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(campaign.run())
    first, last = min(begun for begun, _ in trainer.runs), max(begun for begun, _ in trainer.runs)
    worked = sum(min(end, last) - begun for begun, end in trainer.runs if begun < last)
    return worked / (slots * (last - first))


def slots_busy(experiments: int) -> None:
    """The table of utilisation."""
    print("| policy | slots | in flight | slots busy |")
    print("|---|---|---|---|")
    for policy, slots, in_flight in (
        ("best-first", 1, 1),
        ("best-first", 4, 4),
        ("best-first", 4, 5),
        ("best-first", 4, 9),
        ("auto", 4, 9),
        ("ratchet", 4, 9),
        ("beam", 4, 9),
    ):
        share = busy(experiments, slots=slots, in_flight=in_flight, policy=policy)
        serial = ", the serial loop" if in_flight == 1 else ""
        print(f"| {policy}{serial} | {slots} | {in_flight} | {share:.1%} |", flush=True)
    print()


# -- the planner's prompt ---------------------------------------------------------------------------------------------


def grown(nodes: int) -> State:
    """A tree of so many judged nodes."""
    state = State(policy=make_policy("best-first", {}))
    rng, call = random.Random(1), ModelCall(backend="bench")
    machine = Machine(host="h", cpu="c", cpus=1, memory_gb=1.0)
    events: list[Event] = [
        CampaignStarted(
            time=0.0,
            version="0",
            seed=1,
            metric=Metric(),
            root_commit="0" * 40,
            root_digest="r",
            policy="best-first",
            preset="default",
            settings="{}",
            machine=machine,
        ),
        Judged(time=0.0, experiment=0, verdict=Verdict.KEPT, reason="", against=0),
    ]
    for number, event in enumerate(events, start=1):
        state.apply(number, event)
    state.tree.loss[0] = 1.0
    state.tree.trials[0] = 1
    for node in range(1, nodes):
        parent = rng.randrange(max(0, node - 200), node)
        idea = Idea(
            title=f"change number {node}, in the words that a model takes for it",
            hypothesis="h",
            mechanism="m",
            category=f"kind{node % 12}",
            brief=f"b{node}",
            operator="refine",
        )
        asked, now = ExpansionKind.IMPROVE, float(node)
        state.apply(3 * node, Selected(time=now, experiment=node, options=(Expansion(node=parent),)))
        planned = Planned(time=now, experiment=node, parent=parent, asked=asked, outcome=idea, call=call)
        state.apply(3 * node + 1, planned)
        state.tree.loss[node] = 1.0 + rng.gauss(0, 0.01)
        state.tree.trials[node] = 1
        verdict = Verdict.PARKED if node % 9 else Verdict.KEPT
        state.apply(3 * node + 2, Judged(time=now, experiment=node, verdict=verdict, reason="", against=0))
    return state


def prompts() -> None:
    """The table of prompt sizes."""
    package = importlib.resources.files("ratchetree") / "program" / "gpt-cpu"
    sources = (SourceFile(path="train.py", text=(package / "train.py").read_text()),)
    brief = (package / "program.md").read_text()
    print("| nodes | history, tokens at most (budget 12,000) | whole prompt | ms to make |")
    print("|---|---|---|---|")
    for nodes in (100, 1_000, 10_000):
        state = grown(nodes)
        request = PlanRequest(
            experiment=nodes,
            brief=brief,
            options=tuple(Option(expansion=Expansion(node=n), sources=sources) for n in (0, nodes // 2, nodes - 1)),
            tree=state.tree,
            memory=state.memory,
            rng=random.Random(1),
            sources_at=lambda node: sources,
        )
        begun = time.perf_counter()
        text = question_text(request, 12_000)
        took = 1000 * (time.perf_counter() - begun)
        print(f"| {nodes:,} | {tokens_of(history(request, 12_000)):,} | {tokens_of(text):,} | {took:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=40)
    options = parser.parse_args()
    costs(options.experiments)
    slots_busy(max(60, options.experiments))
    prompts()


if __name__ == "__main__":
    main()
