"""How often would the rule that ends hopeless trials early have ended a good one?

    python tests/bench/hopeless.py --record curves.jsonl [--trials 40] [--tokens 60000] [--seed 1]
    python tests/bench/hopeless.py curves.jsonl [MORE ...]

The first records real trials of the gpt-cpu seed in this one process: two or three constants changed at random,
trained for so many tokens, evaluated on held-out rows. The second replays the recorded curves through
`trainer/hopeless.py`, for every pair of trials with one as the reference, as the best trial so far is in a campaign. A
stop is false if the trial came out better than its reference, and near if it came out worse by less than NEAR. Time is
a share of the trial's length. Pairs are not independent, so the trials that were ever stopped falsely are counted, too.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ratchetree
from ratchetree.trainer.hopeless import Watch

MARGINS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
NEAR = 0.02  # bits per byte: two sd of such short trials
ROWS = 48  # held-out rows that a recorded trial is evaluated on
FACTORS = "MATRIX_LR EMBEDDING_LR HEAD_LR SCALAR_LR INIT_SCALE".split()
CHOICES: dict[str, list[Any]] = {
    "DEPTH": [2, 4],
    "WIDTH": [64, 128],
    "BATCH_SIZE": [2, 8],
    "SEQ_LEN": [128],
    "WARMUP": [0.0, 0.2],
    "WARMDOWN": [0.05, 0.6, 0.9],
    "MOMENTUM": [0.8, 0.98],
    "LOGIT_CAP": [15.0],
    "VALUE_EMBEDDINGS": [True],
    "RESIDUAL_SCALARS": [True],
    "ADAM_BETA1": [0.7],
}

Curve = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recorded trial."""

    score: float  # bits per byte, held out
    curve: Curve  # (share of the budget, training loss)


def record(file: Path, trials: int, tokens: int, seed: int) -> None:
    """Train and append, one JSON line a trial."""
    os.environ["RATCHETREE_DEVICE"] = "cpu"
    sys.path.insert(0, str(Path(ratchetree.__file__).parent / "program" / "gpt-cpu"))
    sys.dont_write_bytecode = True
    import numpy as np

    prepare, train = importlib.import_module("prepare"), importlib.import_module("train")
    manifest = prepare.prepare_data(None, prepare.default_cache())
    text = {part: np.fromfile(manifest[part], dtype="<u2").astype(np.int64) for part in ("train", "validation")}
    lengths, rng = np.load(manifest["token_bytes"]), random.Random(seed)
    usual = {name: getattr(train, name) for name in (*FACTORS, *CHOICES)}
    for number in range(trials):
        changes = _changes(rng, usual) if number else {}
        for name, value in (usual | changes).items():
            setattr(train, name, value)
        curve, score = _trained(train, prepare.task, text, lengths, tokens, seed * 1000 + number)
        with file.open("a") as opened:
            opened.write(json.dumps({"changes": changes, "score": score, "curve": curve}) + "\n")


def _changes(rng: random.Random, usual: dict[str, Any]) -> dict[str, Any]:
    names = rng.sample([*FACTORS, *CHOICES], rng.choice((2, 3)))
    return {n: rng.choice(CHOICES[n]) if n in CHOICES else usual[n] * 2 ** rng.uniform(-3, 3) for n in names}


def _trained(train: Any, task: Any, text: dict[str, Any], lengths: Any, tokens: int, seed: int) -> tuple[Curve, float]:
    """As the script's own loop, with the share of the tokens as the clock."""
    import numpy as np
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = train.build_model(task)
    optimizers, length, rows = train.make_optimizers(model), train.SEQ_LEN, train.BATCH_SIZE
    curve: Curve = []
    for done in range(0, tokens, rows * length):
        at = rng.integers(0, len(text["train"]) - length - 1, rows)
        batch = torch.from_numpy(text["train"][at[:, None] + np.arange(length + 1)])
        loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.GRAD_CLIP)
        for optimizer in optimizers:
            optimizer.step(train.lr_scale(done / tokens))
        model.zero_grad()
        curve.append((done / tokens, loss.item()))
    held_out = torch.from_numpy(text["validation"][: ROWS * task.seq_len + 1])
    x, y = held_out[:-1].view(ROWS, -1), held_out[1:].view(ROWS, -1)
    counted = torch.from_numpy(lengths)[y]
    with torch.no_grad():
        nats = sum(
            functional.cross_entropy(model(x[i : i + 8]).flatten(0, 1), y[i : i + 8].flatten(), reduction="none")[
                counted[i : i + 8].flatten() > 0
            ]
            .double()
            .sum()
            .item()
            for i in range(0, ROWS, 8)
        )
    return curve, nats / math.log(2) / int(counted.sum())


def stopped_at(trial: Trial, reference: Trial, margin: float) -> float | None:
    """The share of the budget at which the rule ends it; None if it does not."""
    watch = Watch(reference.curve, 1.0, margin=margin)
    return next((share for share, loss in trial.curve if watch.add(share, loss) is not None), None)


def replay(trials: list[Trial]) -> None:
    """Print the table."""
    pairs = [(a, b) for a, b in itertools.permutations(trials, 2) if math.isfinite(a.score)]
    good = [(a, b) for a, b in pairs if b.score < a.score]
    near = [(a, b) for a, b in pairs if a.score <= b.score < a.score + NEAR]
    worse = [(a, b) for a, b in pairs if not b.score < a.score + NEAR]
    print(f"{len(trials)} trials; {len(good)} pairs whose trial came out better than the reference, {len(near)} near")
    print("margin, nats   false stops: pairs   trials   near   stops of worse ones   training of these saved")
    for margin in MARGINS:
        false = [b for a, b in good if stopped_at(b, a, margin) is not None]
        nearly = sum(stopped_at(b, a, margin) is not None for a, b in near)
        stops = [share for a, b in worse if (share := stopped_at(b, a, margin)) is not None]
        saved = sum(1 - share for share in stops) / max(1, len(worse))
        ever = len({id(trial) for trial in false})
        print(
            f"{margin:12.2f}   {len(false) / max(1, len(good)):18.2%}   {ever:6d}   {nearly / max(1, len(near)):4.1%}"
            f"   {len(stops) / max(1, len(worse)):19.1%}   {saved:23.1%}"
        )


def main() -> None:
    """Record, or replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.record:
        record(options.record, options.trials, options.tokens, options.seed)
        return
    lines = [json.loads(line) for file in options.files for line in file.read_text().splitlines()]
    replay([Trial(score=line["score"], curve=[(s, loss) for s, loss in line["curve"]]) for line in lines])


if __name__ == "__main__":
    main()
