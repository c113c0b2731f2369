"""Can a confined process and its parent share a card's memory here? It is tried: once by each campaign on cards, and by
the doctor.

The trial is a program of its own: whoever asks the driver for memory has a part of the card until it ends.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from .cards import Card
from .confine import start
from .device_memory import PATTERN, DeviceMemory, DeviceMemoryError
from .processes import allowed_environment, supervise, timed
from .sandbox import Cell, Sandbox

PROBE_SECONDS = 60.0
DEVICE_MEMORY = Path(__file__).with_name("device_memory.py")


async def why_not_shared(
    card: Card, sandbox: Sandbox, folder: Path, *, workspace: Path, readable: tuple[str, ...] = ()
) -> str | None:
    """Why a run in the sandbox cannot be given a block of the card's memory, in one line; None if it can.

    folder: an empty one, for both processes; readable: what else runs may read."""
    for name in ("tree", "scratch"):
        (folder / name).mkdir()
    cell = Cell(
        tree=str(folder / "tree"),
        scratch=str(folder / "scratch"),
        readable=(*readable, str(DEVICE_MEMORY)),
        gpu=True,
        devices=(card.device,) if card.device else (),
    )
    confinement = sandbox.confine(cell)
    visible = {"CUDA_VISIBLE_DEVICES": card.uuid}
    inside = allowed_environment(workspace=workspace, scratch=confinement.scratch, run=folder.name) | visible
    told = {"confinement": confinement.as_json(), "environment": inside, "tree": str(folder / "tree")}
    own = allowed_environment(workspace=workspace, scratch=str(folder / "scratch"), run=folder.name) | visible
    command = (sys.executable, "-m", "ratchetree.trainer.sharing", json.dumps(told))
    run = await supervise(timed(command, folder, env=own, seconds=PROBE_SECONDS))
    found = run.result if run is not None and isinstance(run.result, dict) else {}
    return None if found.get("shared") is True else str(found.get("why", "the probe ended early"))


def share(confinement: dict[str, Any], environment: dict[str, str], tree: str) -> str | None:
    """Let a confined process write into a new block; why that did not work, None if it did."""
    try:
        block = DeviceMemory(1)
        descriptor = block.descriptor()
    except DeviceMemoryError as error:
        return str(error)
    try:
        command = [sys.executable, "-P", str(DEVICE_MEMORY), str(descriptor), str(block.size)]
        how: dict[str, Any] = {"pass_fds": (descriptor,), "cwd": tree, "env": environment}
        process = start(command, confinement, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **how)
        _, errors = process.communicate()  # the supervisor ends both if that takes too long
        if process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines() or [f"it ended with code {process.returncode}"]
            return f"in the sandbox: {lines[-1][:200]}"
        if block.read() != bytes([PATTERN]) * block.size:
            return "what the sandbox wrote did not arrive"
    except (OSError, DeviceMemoryError) as error:
        return str(error)
    finally:
        os.close(descriptor)
        block.close()
    return None


def main() -> None:
    """Argument: what `share` takes, as JSON."""
    with socket.socket(fileno=int(os.environ["RATCHETREE_CONTROL"])) as control:
        told = json.loads(sys.argv[1])
        why = share(told["confinement"], told["environment"], told["tree"])
        control.sendall(json.dumps({"result": {"shared": why is None, "why": why}}).encode() + b"\n")


if __name__ == "__main__":
    main()
