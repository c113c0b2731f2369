"""What a policy costs per experiment: ranking, and recording its four events in tree and policy, as the tree grows.

    python tests/bench/policies.py [--policies all] [--largest 100000]

Each policy grows its own tree: children are a little worse than their parents, one in twenty is better, one in twenty
fails, one in ten comes with a setback contract. Prints the median microseconds per experiment at 1e2, 1e3, 1e4 and 1e5
nodes, and the exponent b of cost ~ n^b fitted to the last two decades. TreeQuest's ask + tell stand beside it if it is
installed (`pip install treequest`); its tell takes the place of recording.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time

from ratchetree.search.events import CampaignStarted, Event, Judged, Planned, Scored, Selected
from ratchetree.search.model import (
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    ScoreReport,
    SetbackContract,
    Verdict,
)
from ratchetree.search.policies import make_policy, policy_names
from ratchetree.search.tree import Tree

CALL = ModelCall(backend="bench")
CRASH = Failure(kind=FailureKind.CRASH, message="bench")
CONTRACT = SetbackContract(expected_dip=0.002, max_dip=0.01, horizon=8)
WINDOW = 200  # experiments timed around each size


class Bench:
    def __init__(self, name: str) -> None:
        self.policy, self.tree, self.rng = make_policy(name, {}), Tree(), random.Random(1)
        machine = Machine(host="bench", cpu="", cpus=1, memory_gb=1.0)
        started = CampaignStarted(
            time=0.0,
            version="0",
            seed=1,
            metric=Metric(),
            root_commit="r",
            root_digest="r",
            policy=name,
            preset="naive",
            settings="{}",
            machine=machine,
        )
        self.record([started, *(self.scored(0, trial, 1.0 + 0.0003 * trial) for trial in range(3))])
        self.record([Judged(time=0.0, experiment=0, verdict=Verdict.KEPT, reason="", against=0)])

    def scored(self, node: int, trial: int, value: float) -> Scored:
        return Scored(time=0.0, experiment=node, trial=trial, seconds=0.0, outcome=ScoreReport(value=value))

    def record(self, events: list[Event]) -> float:
        begun = time.perf_counter()
        for event in events:
            self.tree.apply(event)
            self.policy.observe(self.tree, event)
        return time.perf_counter() - begun

    def step(self) -> float:
        """One experiment; seconds in the policy and the tree."""
        begun = time.perf_counter()
        options = self.policy.rank(self.tree, 3, self.rng)
        spent = time.perf_counter() - begun
        node, chosen, luck = self.tree.next_id, options[0], self.rng.random()
        contract = CONTRACT if luck > 0.9 else None
        category = "architecture" if luck > 0.8 else "tuning"
        idea = Idea(
            title="t", hypothesis="", mechanism="", category=category, brief=f"b{node % 500}", contract=contract
        )
        loss = float(self.tree.loss[chosen.node])
        loss = (loss if math.isfinite(loss) else 1.0) + self.rng.expovariate(1 / 0.002) * (-0.02 if luck < 0.05 else 1)
        failed = 0.05 < luck < 0.1
        verdict = Verdict.KEPT if loss < self.tree.loss[self.tree.incumbent] else Verdict.PARKED
        if failed:
            verdict = Verdict.FAILED
        events: list[Event] = [
            Selected(time=0.0, experiment=node, options=tuple(options)),
            Planned(time=0.0, experiment=node, parent=chosen.node, asked=chosen.kind, outcome=idea, call=CALL),
        ]
        if not failed:
            events.append(self.scored(node, 0, loss))
        failure = CRASH if failed else None
        events.append(Judged(time=0.0, experiment=node, verdict=verdict, reason="", against=0, failure=failure))
        return spent + self.record(events)


def measure(name: str, sizes: list[int]) -> list[float]:
    """Median microseconds per experiment around each size."""
    bench, found = Bench(name), []
    for size in sizes:
        while bench.tree.next_id < size - WINDOW // 2:
            bench.step()
        found.append(1e6 * statistics.median(bench.step() for _ in range(WINDOW)))
    return found


def treequest(sizes: list[int]) -> dict[str, list[float]]:
    """The same of TreeQuest's algorithms, up to 10,000 nodes (beyond that its tell takes minutes)."""
    import treequest as tq  # type: ignore[import-not-found]

    rows = {}
    for name, algorithm in (("ABMCTSA", tq.ABMCTSA()), ("StandardMCTS", tq.StandardMCTS())):
        state, rng, found, n = algorithm.init_tree(), random.Random(1), [], 0

        def generate(_: object, rng: random.Random = rng) -> tuple[str, float]:
            return "s", rng.random()

        for size in (s for s in sizes if s <= 10_000):
            while n < size - 10:
                state, n = algorithm.step(state, {"a": generate}), n + 1
            times = []
            for _ in range(20):
                begun = time.perf_counter()
                state, n = algorithm.step(state, {"a": generate}), n + 1
                times.append(time.perf_counter() - begun)
            found.append(1e6 * statistics.median(times))
        rows[f"treequest {name}"] = found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", default="all")
    parser.add_argument("--largest", type=int, default=100_000)
    options = parser.parse_args()
    sizes = [10**power for power in range(2, 6) if 10**power <= options.largest]
    print(f"{'policy':<24}" + "".join(f"{size:>10}" for size in sizes) + "  exponent")
    for name in policy_names(options.policies):
        show(name, measure(name, sizes), sizes)
    try:
        rows = treequest(sizes)
    except ImportError:
        print("(treequest is not installed)")
        return
    for name, found in rows.items():
        show(name, found, sizes)


def show(name: str, found: list[float], sizes: list[int]) -> None:
    tail = list(zip(sizes, found, strict=False))[-3:]
    exponent = ""
    if len(tail) > 1:
        (a, fa), (b, fb) = tail[0], tail[-1]
        exponent = f"{math.log(fb / fa) / math.log(b / a):10.2f}"
    print(f"{name:<24}" + "".join(f"{value:10.0f}" for value in found) + exponent, flush=True)


if __name__ == "__main__":
    main()
