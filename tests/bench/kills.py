"""kill -9, hundreds of times in one campaign: real git, real SQLite, real processes, synthetic training.

    python tests/bench/kills.py [--kills 300] [--seed 1] [--in-flight 1]

Prints what was found after every 25 kills and ends with `verify`; exit code 1 if anything was lost, repeated or worse.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ratchetree.search.events import Trained
from ratchetree.search.tree import replay
from ratchetree.storage.workspace import Workspace

TOML = """
[search]
policy = "beam"
in_flight = {in_flight}
[budget]
seconds = 0.01
[trainer]
executor = "synthetic"
slots = {in_flight}
"""


def ratchetree(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ratchetree", *map(str, arguments)]


def events_in(workspace: Workspace) -> int:
    """How many events the journal holds; 0 before there is one."""
    where = f"{workspace.journal_path.as_uri()}?mode=ro"
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(where, uri=True)) as db:
        return int(db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--in-flight", type=int, default=1)
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp()) / "workspace"
    subprocess.run(ratchetree("init", folder, "--task", "command"), check=True, capture_output=True)
    (folder / "ratchetree.toml").write_text(TOML.format(in_flight=options.in_flight))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run(["git", *identity, "commit", "-qam", "settings"], cwd=folder, check=True)
    workspace, rng, hits, done = Workspace(folder), random.Random(options.seed), 0, 0
    run = ratchetree("run", folder, "--experiments", 10**6)
    for kill in range(1, options.kills + 1):
        running = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun, deadline = events_in(workspace), time.monotonic() + 120
        while kill % 2 and events_in(workspace) < begun + 4 and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)  # every other kill comes after signs of life, however slow the machine is
        time.sleep(rng.uniform(0.0, 2.0))
        hits += running.poll() is None
        running.kill()
        running.wait()
        if kill % 25 == 0:
            tree = replay(workspace.read_events())
            losses = [float(tree.loss[node]) for node in tree.advances]
            done = tree.experiments
            print(
                f"{kill:4d} kills ({hits} of a living campaign): {done} experiments, main moved {len(losses) - 1} times"
            )
            if any(loss > min(losses[:i]) + (tree.noise or 0.0) for i, loss in enumerate(losses) if i):
                print("main got worse")  # a removal of code may lose half of the noise
                return 1
    subprocess.run(ratchetree("run", folder, "--experiments", done + 5), check=True, capture_output=True)
    trained = Counter((e.experiment, e.trial, e.seed) for e in workspace.read_events() if isinstance(e, Trained))
    repeated = sum(count - 1 for count in trained.values())
    verified = subprocess.run(ratchetree("verify", folder), capture_output=True, text=True)
    print(f"{len(trained)} trials, {repeated} of them run twice; {verified.stdout.strip()}")
    return int(verified.returncode != 0 or repeated > 0)


if __name__ == "__main__":
    sys.exit(main())
