"""Two burner processes beside a real campaign: does any verdict change because of them?

    python tests/bench/burners.py [--seconds 4] [--on 15] [--off 25]

The same five ideas, whose worth is known because they are large or nothing, on the gpt-cpu task: once with the machine
to itself, once beside two processes that burn all they can get, `on` seconds of every `on + off`. Prints both verdicts
of each idea and the trials that were void; exit code 1 if a verdict differs or no trial was starved.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ratchetree
from ratchetree.agents.scripted import ScriptedCoder, ScriptedPlanner
from ratchetree.search.campaign import Campaign
from ratchetree.search.events import Trained
from ratchetree.search.experiment import Parts
from ratchetree.search.life import is_void
from ratchetree.search.model import Edit, Idea, Patch
from ratchetree.search.policies import make_policy
from ratchetree.search.ports import WriteRequest
from ratchetree.search.settings import settings_from
from ratchetree.search.tree import Tree
from ratchetree.storage.journal import SqliteJournal
from ratchetree.storage.repository import GitRepository
from ratchetree.trainer.local import LocalTrainer

TASK = Path(ratchetree.__file__).parent / "program" / "gpt-cpu"
HANDICAP = {"MATRIX_LR = 0.02": "MATRIX_LR = 0.001", "EMBEDDING_LR = 0.02": "EMBEDDING_LR = 0.001"}
"""The root's learning rates, too low, so that one idea is certain to win."""

IDEAS = {  # title: the lines that are replaced, and by which
    "rates ten times lower still": ("MATRIX_LR = 0.001", "MATRIX_LR = 0.0001"),
    "the rates that the task ships with": ("\n".join(HANDICAP.values()), "\n".join(HANDICAP)),
    "hardly any weight decay": ("WEIGHT_DECAY = 0.0", "WEIGHT_DECAY = 0.00001"),
    "forget to save": ("    save(model)", "    pass"),
    "a base of 10001": ("ROPE_BASE = 10000.0", "ROPE_BASE = 10001.0"),
}


BURNER = """
import sys, time
on, off = map(float, sys.argv[1:])
while True:
    end = time.monotonic() + on
    while time.monotonic() < end:
        pass
    time.sleep(off)
"""


def edits(request: WriteRequest) -> Patch:
    """What the idea's lines become."""
    old, new = (lines.splitlines() for lines in IDEAS[request.idea.title])
    return Patch(edits=tuple(Edit(path="train.py", old=o, new=n) for o, n in zip(old, new, strict=True)))


def workspace(folder: Path) -> None:
    """The handicapped task as a git repository."""
    shutil.copytree(TASK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "train.py").read_text()
    for good, bad in HANDICAP.items():
        text = text.replace(good, bad)
    (folder / "train.py").write_text(text)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "root"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


async def campaign(folder: Path, seconds: float) -> tuple[Tree, int]:
    """(the tree, runs that were void)."""
    settings = settings_from(
        {
            "budget": {"kind": "cpu", "seconds": seconds},
            "search": {"policy": "ratchet", "in_flight": 1, "choice": 1},
            "limits": {"experiments": len(IDEAS)},
        }
    )
    repository = GitRepository(folder, settings.task.editable)
    repository.ignore_own_files()
    journal = SqliteJournal.create(folder / ".ratchetree" / "journal.db")
    ideas = [Idea(title=title, hypothesis="", mechanism="", category="bench", brief=title) for title in IDEAS]
    running = Campaign(
        parts=Parts(
            journal=journal,
            repository=repository,
            planner=ScriptedPlanner(ideas),
            coder=ScriptedCoder(edits),
            trainer=LocalTrainer(settings, workspace=folder, trees=repository, listen=lambda progress: None, say=print),
            clock=time.time,
        ),
        policy=make_policy("ratchet", {}),
        settings=settings,
        seed=1,
        version="bench",
        checkpoints=folder / ".ratchetree" / "checkpoints.db",
    )
    await running.run()
    void = sum(isinstance(event, Trained) and is_void(event) for _, event in journal.events())
    journal.close()
    return running.tree, void


@contextlib.contextmanager
def neighbours(on: float, off: float) -> Iterator[None]:
    """Two processes that burn for `on` seconds and rest for `off`, in turn."""
    command = [sys.executable, "-c", BURNER, str(on), str(off)]
    burners = [subprocess.Popen(command, start_new_session=True) for _ in range(2)]  # or the kernel counts them as one
    try:
        yield
    finally:
        for process in burners:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU seconds of a trial")
    parser.add_argument("--on", type=float, default=15.0)
    parser.add_argument("--off", type=float, default=25.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = []
        for name in ("alone", "beside"):
            begun = time.monotonic()
            workspace(Path(place) / name)
            around = neighbours(options.on, options.off) if name == "beside" else contextlib.nullcontext()
            with around:
                tree, void = asyncio.run(campaign(Path(place) / name, options.seconds))
            print(f"{name}: {time.monotonic() - begun:.0f} s, noise {tree.noise:.4f}, {void} trials void")
            found.append((tree, void))
    (alone, _), (burdened, void) = found
    print(f"\n{'idea':<36} {'alone':>22} {'beside two burners':>22}")
    same = True
    for node in range(1, len(IDEAS) + 1):
        nodes = [tree.node(node) for tree in (alone, burdened)]
        cells = [f"{n.verdict} {n.score.mean:.4f}" if n.score else f"{n.verdict}" for n in nodes]
        print(f"{nodes[0].title:<36} {cells[0]:>22} {cells[1]:>22}")
        same &= nodes[0].verdict is nodes[1].verdict
    print("no verdict changed" if same else "A VERDICT CHANGED")
    return 0 if same and void else 1


if __name__ == "__main__":
    sys.exit(main())
