"""Every policy of the registry runs a real campaign: on synthetic scores with several in flight, and over real training
at toy size."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ratchetree.agents.offline import OfflineCoder, OfflinePlanner
from ratchetree.search.policies import POLICIES, make_policy
from ratchetree.search.settings import settings_from
from ratchetree.search.tree import replay
from ratchetree.storage.journal import SqliteJournal
from ratchetree.storage.repository import GitRepository
from ratchetree.storage.workspace import make_workspace
from ratchetree.trainer.synthetic import SyntheticTrainer

pytestmark = pytest.mark.slow

SHARES = [list(POLICIES)[start::5] for start in range(5)]

TOY = """
[budget]
kind = "tokens"
tokens = 2048
seconds = 120
[ratchet]
preset = "naive"
[trainer]
slots = 1
"""


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_runs_a_campaign(name: str, tmp_path: Path) -> None:
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
    from ratchetree.search.campaign import Campaign
    from ratchetree.search.experiment import Parts

    folder = tmp_path / "workspace"
    make_workspace(folder, files("ratchetree") / "program" / "gpt-cpu", slots=2)
    settings = settings_from({"search": {"policy": name, "in_flight": 3}, "limits": {"experiments": 8}})
    repository = GitRepository(folder, settings.task.editable)
    journal = SqliteJournal.create(folder / ".ratchetree" / "journal.db")
    parts = Parts(
        journal=journal,
        repository=repository,
        planner=OfflinePlanner(),
        coder=OfflineCoder(),
        trainer=SyntheticTrainer(repository.sources, slots=2),
        clock=lambda: 1.8e9,
    )
    campaign = Campaign(
        parts=parts,
        policy=make_policy(name, {}),
        settings=settings,
        seed=3,
        version="test",
        checkpoints=folder / ".ratchetree" / "checkpoints.db",
    )
    outcome = asyncio.run(campaign.run())
    assert outcome.reason == "the limit of 8 experiments"
    tree = replay(event for _, event in journal.events())
    journal.close()
    assert tree.experiments == 8 and tree.counts[1] == 0
    assert repository.main() == tree.node(tree.incumbent).main


@pytest.fixture(scope="session")
def scored(once: Any, our_source: Path, small_prepare: str) -> Path:
    """A workspace at toy size whose root is scored, so that no policy and no worker need do it again."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "ratchetree"]
        environment = os.environ | {"XDG_CACHE_HOME": str(our_source / "cache")}
        subprocess.run([*command, "init", folder], check=True, capture_output=True)
        script = folder / "train.py"
        script.write_text(script.read_text().replace("DEPTH = 3", "DEPTH = 1").replace("WIDTH = 96", "WIDTH = 48"))
        (folder / "prepare.py").write_text(small_prepare)
        (folder / "ratchetree.toml").write_text(f'[task]\ncorpus = "{our_source / "corpus"}"\n' + TOY)
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run(["git", *identity, "commit", "-qam", "a toy"], cwd=folder, check=True)
        run = [*command, "run", folder, "--experiments", "0"]
        subprocess.run(run, check=True, capture_output=True, env=environment)

    return once("scored", make)


@pytest.mark.parametrize("names", SHARES, ids=[" ".join(names) for names in SHARES])
def test_every_policy_goes_on_with_a_campaign_of_real_training(
    names: list[str], ratchetree: Any, scored: Path, our_source: Path, tmp_path: Path
) -> None:
    ratchetree.environment["XDG_CACHE_HOME"] = str(our_source / "cache")  # the data is prepared
    folder = shutil.copytree(scored, tmp_path / "workspace", symlinks=True)
    for experiments, name in enumerate(names, start=1):
        said = ratchetree("run", folder, "--policy", name, "--experiments", str(experiments))
        assert said.code == 0, said.errors
        assert ratchetree("status", folder, "--json").json["policy"] == name
    shown = ratchetree("tree", folder, "--json").json
    assert [node["id"] for node in shown["nodes"]] == list(range(len(names) + 1))
    assert ratchetree("verify", folder).code == 0
