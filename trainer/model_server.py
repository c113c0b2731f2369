"""The untrusted half of scoring: builds the model from the commit's files, loads the saved weights, answers questions.

Runs model-written code, so it is a process of its own that is given no targets and no scores.
It is started by `scorer.py` in the exported tree; file descriptors: requests on stdin, replies on stdout (the script's
own prints go to stderr), and one shared-memory file that holds token ids on the way in and logits on the way out; or a
block of the card's memory for the logits (`device_memory.py`).
Until the first line on stdin it only imports torch: nothing of the commit's may run while another server answers.
"""

from __future__ import annotations

import gc
import importlib
import json
import mmap
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def serve(module: str, weights: str, memory: int, block: tuple[int, int] | None = None) -> None:
    """Wait for a first line, then answer requests {"rows": B, "length": T} until stdin closes.

    In shared memory: int64 ids [B, T] at offset 0; the reply puts float32 logits [B, T, V] at the same offset.
    block: descriptor and bytes of a card's memory, if there is such, which the logits go to instead.
    """
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "r")
    gc.disable()  # a fifth of the import's time would go into looking for garbage in it

    import torch

    gc.freeze()
    gc.enable()
    if block is not None:
        sys.path.insert(0, str(Path(__file__).parent))
        from device_memory import DeviceMemory  # type: ignore[import-not-found]

        del sys.path[0]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if not requests.readline():
        return
    model, device = _build(module, weights)
    shared = mmap.mmap(memory, 0)
    on_card = DeviceMemory(block[1], descriptor=block[0]) if block is not None else None
    if device == "cuda" and on_card is None:
        _pin(shared)
    print(json.dumps({"ready": True}), file=replies)
    for line in requests:
        request = json.loads(line)
        rows, length = request["rows"], request["length"]
        ids = torch.frombuffer(shared, dtype=torch.int64, count=rows * length).reshape(rows, length).clone()
        with torch.inference_mode():
            logits = model(ids.to(device)).float()
        shape = list(logits.shape)
        if shape == [rows, length, request["vocab_size"]]:  # another one is told, which is all that is to be known
            if on_card is None:
                torch.frombuffer(shared, dtype=torch.float32, count=logits.numel()).copy_(logits.reshape(-1))
            else:
                logits = logits.to(device).contiguous()
                if device == "cuda":
                    torch.cuda.synchronize()
                on_card.take(logits.data_ptr(), logits.numel() * 4)
        print(json.dumps({"shape": shape}), file=replies)


def _build(module: str, weights: str) -> tuple[Any, str]:
    """The saved model as the commit builds it, and the device that it is on."""
    import torch

    sys.path.insert(0, str(Path.cwd()))  # not before: a file of the tree could stand in for one that torch imports
    script = importlib.import_module(module)
    task = importlib.import_module("prepare").task
    model = script.build_model(task)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.to(task.device).eval(), task.device


def _pin(shared: mmap.mmap) -> None:
    """Let the card write there directly. Where the driver refuses, copies go the slower way."""
    import ctypes

    import torch

    place = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    refused = int(torch.cuda.cudart().cudaHostRegister(place, len(shared), 0))  # type: ignore[no-untyped-call]
    if refused:  # the next launch of a kernel would raise for it: let it be one that nothing depends on
        with suppress(RuntimeError):
            torch.ones(1, device="cuda")


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[3:]]
    serve(sys.argv[1], sys.argv[2], numbers[0], (numbers[1], numbers[2]) if len(numbers) > 1 else None)
