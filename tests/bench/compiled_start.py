"""What compiling costs at the start of a trial of gpt-gpu: with an empty cache and with a full one, the whole model as
one graph (what its train.py does) or block by block.

    python tests/bench/compiled_start.py

At full depth, in narrow layers, forward and backward, on one thread of this machine's CPU: tracing and loading are the
CPU's work on a card too; compiling itself is C++ here and Triton there. Each row is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import types
from importlib.resources import files


def start(how: str) -> str:
    """One start in this process: a row of the table."""
    begun = time.perf_counter()
    import torch

    imported = time.perf_counter() - begun
    torch.set_num_threads(1)
    prepare = types.ModuleType("prepare")
    prepare.task = types.SimpleNamespace(vocab_size=512, seq_len=256, device="cpu", seed=0)  # type: ignore[attr-defined]
    prepare.progress = prepare.save = prepare.seconds_left = prepare.train_batches = None  # type: ignore[attr-defined]
    sys.modules["prepare"] = prepare
    sys.path.insert(0, str(files("ratchetree") / "program" / "gpt-gpu"))
    import train  # type: ignore[import-not-found]

    train.SHRINK, train.HEADS, train.HEAD_DIM, train.BIGRAMS = {"cpu": 1}, 2, 16, 1024
    model = train.build_model(prepare.task)

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())

    if how == "blocks":
        for block in model.blocks:
            block.compile(dynamic=False)
    step = torch.compile(loss, dynamic=False) if how == "whole" else loss
    tokens = torch.randint(512, (2, 257))
    begun = time.perf_counter()
    step(tokens[:, :-1], tokens[:, 1:]).backward()
    first = time.perf_counter() - begun
    from torch._dynamo.utils import compile_times, counters

    names, seconds = compile_times(repr="csv", aggregate=True)
    took = dict(zip(names, map(float, seconds), strict=True))
    tracing, graphs = took.get("bytecode_tracing", 0.0), counters["stats"]["unique_graphs"]
    return f"{graphs:6d}   {imported:14.1f}   {first:12.1f}   {tracing:11.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", choices=("whole", "blocks"), help="one start, for the parent")
    options = parser.parse_args()
    if options.start:
        print(start(options.start))
        return
    print("seconds            graphs   importing torch   first step   of it tracing")
    for how in ("whole", "blocks"):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("empty", "full"):
                command = [sys.executable, __file__, "--start", how]
                environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
                row = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
                print(f"{how:<6}, {state:<5} cache   {row.strip()}", flush=True)


if __name__ == "__main__":
    main()
