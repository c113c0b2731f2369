"""kill -9 at any instant: nothing is lost, nothing finished is done again, main is never worse, nobody survives."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.events import Event, Trained
from ratchetree.search.tree import replay
from ratchetree.storage.journal import SqliteJournal

pytestmark = pytest.mark.slow

SYNTHETIC = """
[search]
policy = "{policy}"
in_flight = {in_flight}
[ratchet]
preset = "default"
[budget]
seconds = 0.01
[trainer]
executor = "synthetic"
slots = {in_flight}
"""


def prepared(ratchetree: Any, git: Callable[..., str], folder: Path, toml: str) -> None:
    """A workspace of the example task with other settings."""
    assert ratchetree("init", folder, "--task", "command").code == 0
    (folder / "ratchetree.toml").write_text(toml)
    git(folder, "commit", "-qam", "settings")


def journalled(folder: Path) -> list[Event]:
    path = folder / ".ratchetree" / "journal.db"
    if not path.exists():
        return []
    journal = SqliteJournal.read(path)
    events = [event for _, event in journal.events()]
    journal.close()
    return events


SIGNS = 4
"""Events journalled before a kill may come: the first says that the campaign goes on, more that it really does."""


def events_in(folder: Path) -> int:
    """How many events the journal holds; 0 before there is one."""
    path = folder / ".ratchetree" / "journal.db"
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db,
    ):
        return int(db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])
    return 0


def kill_often(
    ratchetree: Any, folder: Path, kills: int, rng: random.Random, *, more: int, longest: float = 2.5
) -> int:
    """Kill the campaign `kills` times at random moments, then run `more` experiments to an end; how many it has then.

    While it is killed it has no limit, so that no kill comes too late, however fast the machine is. Every other kill
    comes after signs of life, so that none of those comes too early, however slow it is.
    """
    for kill in range(kills):
        begun = events_in(folder)
        running = ratchetree.start("run", folder, "--experiments", str(10**6))
        deadline = time.monotonic() + 120
        while kill % 2 and events_in(folder) < begun + SIGNS and running.poll() is None:
            assert time.monotonic() < deadline, "it does not go on"
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, longest))  # how long it lives is the experiment here, not a wait for something
        assert running.poll() is None, running.communicate()
        running.kill()
        running.communicate()
        check_prefix(folder)
    experiments = replay(journalled(folder)).experiments + more
    said = ratchetree("run", folder, "--experiments", str(experiments))
    assert said.code == 0, said.errors
    return experiments


def check_prefix(folder: Path) -> None:
    """After any kill the journal is a history that can be replayed, and main never got worse in it (but for a removal
    of code, which may lose half of the noise against the best)."""
    tree = replay(journalled(folder))
    losses = [float(tree.loss[node]) for node in tree.advances]
    for i, loss in enumerate(losses[1:], start=1):
        assert loss <= min(losses[:i]) + (tree.noise or 0.0)


def without_times(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("commit", "main", "seconds", "started", "ended")
    return [{key: value for key, value in node.items() if key not in timed} for node in nodes]


def check_end(ratchetree: Any, folder: Path, experiments: int) -> list[dict[str, Any]]:
    """Everything that must hold when the campaign is through; its nodes."""
    verified = ratchetree("verify", folder)
    assert verified.code == 0, verified.out
    status = ratchetree("status", folder, "--json").json
    assert status["experiments"] == experiments
    assert status["in_flight"] == 0
    trained = Counter(
        (event.experiment, event.trial, event.seed) for event in journalled(folder) if isinstance(event, Trained)
    )
    assert set(trained.values()) == {1}, "a finished trial was run again"
    nodes: list[dict[str, Any]] = ratchetree("tree", folder, "--json").json["nodes"]
    assert [node["id"] for node in nodes] == list(range(experiments + 1)), "a node was lost"
    return nodes


def test_a_serial_campaign_killed_again_and_again_grows_the_same_tree(
    ratchetree: Any, tmp_path: Path, git: Callable[..., str], survivors: Callable[[Path], list[int]]
) -> None:
    toml = SYNTHETIC.format(policy="beam", in_flight=1)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "kílled often"
    for folder in (undisturbed, killed):
        prepared(ratchetree, git, folder, toml)
    experiments = kill_often(ratchetree, killed, kills=27, rng=random.Random(1), more=10)
    assert ratchetree("run", undisturbed, "--experiments", str(experiments)).code == 0
    expected = check_end(ratchetree, undisturbed, experiments)
    assert without_times(check_end(ratchetree, killed, experiments)) == without_times(expected)
    assert survivors(killed) == []


def test_a_parallel_campaign_killed_again_and_again_loses_nothing(
    ratchetree: Any, tmp_path: Path, git: Callable[..., str]
) -> None:
    folder = tmp_path / "parallel"
    prepared(ratchetree, git, folder, SYNTHETIC.format(policy="best-first", in_flight=4))
    experiments = kill_often(ratchetree, folder, kills=8, rng=random.Random(2), more=10)
    check_end(ratchetree, folder, experiments)


def witnessed(folder: Path, witness: Path, git: Callable[..., str]) -> None:
    """Make every run of the workspace's script write its own begin and end into a file outside the campaign."""
    script = (folder / "train.py").read_text()
    main = 'if __name__ == "__main__":\n    main()'
    assert main in script
    telling = f"""if __name__ == "__main__":
    import os

    run = os.environ["RATCHETREE_RUN"]
    open({str(witness)!r}, "a").write(f"begin {{run}}\\n")
    main()
    open({str(witness)!r}, "a").write(f"end {{run}}\\n")
    os._exit(0)"""
    (folder / "train.py").write_text(script.replace(main, telling))
    toml = (folder / "ratchetree.toml").read_text()
    assert "[trainer]\n" in toml  # a sandbox would not let them write there
    (folder / "ratchetree.toml").write_text(toml.replace("[trainer]\n", '[trainer]\nsandbox  = "weak"\n'))
    git(folder, "commit", "-qam", "with a witness")


def check_witness(witness: Path, kills: int) -> None:
    """Trials that came to their end were not begun again.

    A smoke run, which takes seconds, is run again if the kill came between its end and its line in the journal.
    """
    lines = witness.read_text().splitlines()
    ended = Counter(line.split()[1] for line in lines if line.startswith("end"))
    again = {run: count - 1 for run, count in ended.items() if count > 1}
    assert {run for run in again if not run.endswith("-smoke")} == set()
    assert sum(again.values()) <= kills
    begun = sum(line.startswith("begin") for line in lines)
    assert begun <= sum(ended.values()) + 2 * kills


def test_real_processes_killed_again_and_again_leave_no_survivor_and_repeat_no_finished_run(
    ratchetree: Any, tmp_path: Path, git: Callable[..., str], survivors: Callable[[Path], list[int]]
) -> None:
    folder, witness = tmp_path / "real", tmp_path / "witness.txt"
    assert ratchetree("init", folder, "--task", "command").code == 0
    witnessed(folder, witness, git)
    experiments = kill_often(ratchetree, folder, kills=8, rng=random.Random(3), more=3)
    check_end(ratchetree, folder, experiments)
    assert survivors(folder) == []
    check_witness(witness, kills=8)


def test_real_training_of_the_seed_task_killed_again_and_again(
    ratchetree: Any, tmp_path: Path, git: Callable[..., str], survivors: Callable[[Path], list[int]]
) -> None:
    folder, witness = tmp_path / "gpt", tmp_path / "witness.txt"
    assert ratchetree("init", folder).code == 0
    toml = (folder / "ratchetree.toml").read_text()
    for old, new in (
        ('kind     = "cpu"', 'kind     = "tokens"\ntokens   = 8000'),
        ('preset   = "default"', 'preset   = "fast"'),
    ):
        assert old in toml
        toml = toml.replace(old, new)
    (folder / "ratchetree.toml").write_text(toml)
    script = folder / "train.py"  # a smaller model: the kills meet more steps in the same time
    script.write_text(script.read_text().replace("DEPTH = 3", "DEPTH = 1").replace("WIDTH = 96", "WIDTH = 48"))
    witnessed(folder, witness, git)
    experiments = kill_often(ratchetree, folder, kills=6, rng=random.Random(4), more=1, longest=10.0)
    nodes = check_end(ratchetree, folder, experiments)
    assert {node["by"] for node in nodes if node["score"]} == {"trusted"}
    assert survivors(folder) == []
    check_witness(witness, kills=6)


def test_one_signal_from_the_keyboard_finishes_and_two_stop_at_once(
    ratchetree: Any, tmp_path: Path, git: Callable[..., str], survivors: Callable[[Path], list[int]]
) -> None:
    import signal

    folder = tmp_path / "interrupted"
    assert ratchetree("init", folder, "--task", "command").code == 0
    toml = (folder / "ratchetree.toml").read_text()
    one = "slots    = 1\nstarvation = false"  # other tests run beside this one
    toml = toml.replace("slots    = 2", one).replace("slots    = 1 ", one + " ")
    (folder / "ratchetree.toml").write_text(toml)
    script = (folder / "train.py").read_text()
    (folder / "train.py").write_text(
        script.replace("rng = random.Random(int", "import time; time.sleep(1.5)\n    rng = random.Random(int")
    )
    git(folder, "commit", "-qam", "slow")

    def started() -> subprocess.Popen[str]:
        running = ratchetree.start("run", folder, "--experiments", "50")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(
            json.loads((e.kind == "planned" and "true") or "false") for e in journalled(folder)[-3:]
        ):
            time.sleep(0.05)
        time.sleep(0.5)
        return running

    running = started()
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0, out
    assert "Ctrl-C" in out
    assert ratchetree("status", folder, "--json").json["stopped"] == "you asked it to (Ctrl-C)"

    running = started()
    running.send_signal(signal.SIGINT)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "stopped at once" in out
    assert survivors(folder) == []
    assert ratchetree("verify", folder).code == 0
