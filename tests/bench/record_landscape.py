"""Record a landscape from real training: every single edit of the offline catalogue, then pairs: half of the best
singles with one another, half of any two.

    python tests/bench/record_landscape.py --out recording.jsonl [--tokens 60000] [--best 16] [--pairs 200]

A budget of tokens, so that the speed of the machine and its other work change nothing. One trial after the other, in
one process; kill it and start it again, it goes on where it was. Each line holds the briefs, the seed, and the score or
the kind of failure. `--pack FILE` turns a recording into what the package ships.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from ratchetree.agents.offline import apply_brief, offers
from ratchetree.agents.proposal import NotApplicable
from ratchetree.search.model import Failure, Sources
from ratchetree.search.ports import Job
from ratchetree.storage.repository import GitRepository
from ratchetree.storage.workspace import Workspace, make_workspace
from ratchetree.trainer.local import LocalTrainer

SEED = 1
ROOT_EVERY = 12  # the root again, with another seed: how large the noise is

Pair = tuple[str, str]


def patched(sources: Sources, briefs: tuple[str, ...]) -> Sources | None:
    for brief in briefs:
        changed = apply_brief(sources, brief)
        if isinstance(changed, NotApplicable):
            return None
        before, after = changed
        sources = tuple(after if file is before else file for file in sources)
    return sources


def pairs_of(done: dict[tuple[str, ...], float | None], *, best: int, count: int) -> list[Pair]:
    """Which pairs to measure: of the best singles and of any two in turn. Two settings of one knob are no pair."""
    rng = random.Random(SEED)
    scored = sorted((value, briefs[0]) for briefs, value in done.items() if len(briefs) == 1 and value is not None)
    names = [brief for _, brief in scored]

    def shuffled(among: list[str]) -> Iterator[Pair]:
        pairs = [pair for pair in itertools.combinations(sorted(among), 2) if knob(pair[0]) != knob(pair[1])]
        rng.shuffle(pairs)
        return iter(pairs)

    chosen: dict[Pair, None] = {}
    sources = [shuffled(names[:best]), shuffled(names)]
    while len(chosen) < count and sources:
        source = sources.pop(0)
        if (pair := next(source, None)) is not None:
            chosen[pair] = None
            sources.append(source)
    return list(chosen)


def knob(brief: str) -> str:
    """What a brief sets."""
    return brief.split(" = ")[0]


def opened(folder: Path) -> Workspace:
    if not folder.exists():
        make_workspace(folder, files("ratchetree") / "program" / "gpt-cpu", slots=1)
    return Workspace(folder)


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def write(out: Path, line: dict[str, Any]) -> None:
    with out.open("a") as file:
        file.write(json.dumps(line) + "\n")


async def record(out: Path, workspace: Workspace, *, tokens: int, best: int, pairs: int) -> None:
    budget = {"kind": "tokens", "tokens": tokens, "seconds": 120}
    settings = workspace.settings({"budget": budget, "trainer": {"slots": 1}})
    repository = GitRepository(workspace.folder, settings.task.editable)
    root = repository.main()
    trainer = LocalTrainer(settings, workspace=workspace.folder, trees=repository, listen=lambda _: None, say=print)
    await trainer.open(root)
    lines = read(out)
    done = {tuple(line["briefs"]): line["value"] for line in lines if line["briefs"]}
    sources = repository.sources(root)
    number, roots = len(lines), sum(not line["briefs"] for line in lines)

    async def measure(briefs: tuple[str, ...], seed: int) -> float | None:
        nonlocal number
        number += 1
        after = patched(sources, briefs)
        value, kind = None, "conflict"
        if after is not None:
            message = " + ".join(briefs) or "root"
            commit = repository.commit_node(
                node=number, attempt=0, parent=root, sources=after, message=message, time=time.time(), note=""
            )
            job = Job(experiment=number, trial=0, seed=seed, commit=commit)
            report = await trainer.train(job)
            outcome = report if isinstance(report, Failure) else await trainer.score(job)
            trainer.discard(job)
            value, kind = (None, str(outcome.kind)) if isinstance(outcome, Failure) else (outcome.value, "")
        write(out, {"briefs": briefs, "seed": seed, "value": value, "failure": kind})
        print(f"{number:4d} {value if value is not None else kind!s:10.8} {' + '.join(briefs) or 'root'}", flush=True)
        return value

    async def measure_all(those: Iterable[tuple[str, ...]]) -> None:
        nonlocal roots
        for briefs in those:
            if briefs in done:
                continue
            if number % ROOT_EVERY == 0:
                await measure((), SEED + roots)
                roots += 1
            done[briefs] = await measure(briefs, SEED)

    try:
        singles = [brief for brief, _ in offers(sources)]
        await measure_all((brief,) for brief in singles)
        await measure_all(pairs_of(done, best=best, count=pairs))
    finally:
        await trainer.close()


def pack(recording: Path, to: Path, tokens: int) -> None:
    """The compact form, a module of literals: root scores, singles, pairs; values to five places."""
    lines = read(recording)
    root = [round(line["value"], 5) for line in lines if not line["briefs"] and line["value"] is not None]
    singles = {line["briefs"][0]: line["value"] for line in lines if len(line["briefs"]) == 1}
    pairs = [
        (*line["briefs"], line["value"]) for line in lines if len(line["briefs"]) == 2 and line["value"] is not None
    ]
    text = [
        f'"""gpt-cpu, {tokens:,} tokens a trial, val_bpb, lower is better: recorded by',
        '`tests/bench/record_landscape.py`, not edited by hand. A failure is None."""',
        "",
        f"ROOT = {root!r}",
        "SINGLES = {",
        *(f"    {name!r}: {None if value is None else round(value, 5)!r}," for name, value in singles.items()),
        "}",
        "PAIRS: list[tuple[str, str, float]] = [",
        *(f"    ({a!r}, {b!r}, {round(value, 5)!r})," for a, b, value in pairs),
        "]",
        "",
    ]
    to.write_text("\n".join(text))
    print(f"{len(root)} roots, {len(singles)} singles, {len(pairs)} pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--best", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--pack", type=Path)
    options = parser.parse_args()
    if options.pack:
        pack(options.out, options.pack, options.tokens)
    else:
        workspace = opened(options.out.with_suffix(".workspace").resolve())
        asyncio.run(record(options.out, workspace, tokens=options.tokens, best=options.best, pairs=options.pairs))


if __name__ == "__main__":
    main()
