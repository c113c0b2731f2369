"""A short measurement of a card: matrix products and copies, as a program of its own that needs torch.

Started by `calibration.py`; tells the supervisor {"tflops": ..., "copy_gb_per_second": ...}. The best of several short
bursts counts: what disturbs a card can only make it slower.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable


def measure(device: str, size: int, seconds: float) -> dict[str, float]:
    """bf16 products [size, size] on a card, float32 elsewhere, and copies of the same matrix."""
    import torch

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    target = torch.empty_like(a)
    finish: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    product = _best(lambda: torch.mm(a, b, out=target), finish, seconds / 2)
    copy = _best(lambda: target.copy_(a), finish, seconds / 2)
    moved = 2 * a.numel() * a.element_size()  # read and written
    return {"tflops": 2 * size**3 / product / 1e12, "copy_gb_per_second": moved / copy / 1e9}


def _best(work: Callable[[], object], finish: Callable[[], None], seconds: float) -> float:
    """Seconds of one call, in the best of the bursts of ten that fit into the time."""
    work()
    finish()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(10):
            work()
        finish()
        best = min(best, (time.perf_counter() - began) / 10)
    return best


def main() -> None:
    """Arguments: device, size, seconds."""
    found = measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    with socket.socket(fileno=int(os.environ["RATCHETREE_CONTROL"])) as control:
        control.sendall(json.dumps({"result": found}).encode() + b"\n")


if __name__ == "__main__":
    main()
