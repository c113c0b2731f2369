"""How many tokens a second the gpt-gpu task's loader can pack: it must be far more than a card can train on.

    python tests/bench/batches.py [--rows 128] [--length 2048] [--mean 600]

Documents of random lengths (log-normal, as web text has them) are packed into rows; no card and no torch are needed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

import numpy as np

import ratchetree

BOS = 8191


def main() -> None:
    """Print tokens a second, and how much of the text is cropped away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--mean", type=int, default=600)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(ratchetree.__file__).parent / "program" / "gpt-gpu"))
    packing = importlib.import_module("packing")
    rng = np.random.default_rng(1)
    lengths = np.maximum(2, rng.lognormal(np.log(options.mean) - 0.5, 1.0, 40_000)).astype(int)
    tokens = rng.integers(0, BOS, int(lengths.sum())).astype("<u2")
    tokens[np.cumsum(lengths) - lengths] = BOS
    given = 0

    def counted() -> object:
        nonlocal given
        for document in packing.shuffled(tokens, BOS, rng):
            given += len(document)
            yield document

    packer = packing.Packer(counted(), options.length + 1)
    batch = np.empty((options.rows, options.length + 1), np.int16)
    for row in batch:  # fills the pool
        packer.fill(row)
    given, begun, batches = 0, time.perf_counter(), 400
    for _ in range(batches):
        for row in batch:
            packer.fill(row)
    seconds = time.perf_counter() - begun
    packed = batches * batch.size
    print(f"{packed / seconds / 1e6:.1f} M tokens/s, {seconds / batches * 1e3:.1f} ms a batch of {options.rows} rows")
    print(
        f"{1 - packed / given:.1%} of the tokens are cropped away; documents of {lengths.mean():.0f} tokens on average"
    )


if __name__ == "__main__":
    main()
