"""Training scripts to work on: the seed that ships with ratchetree, and others in styles of their own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import pytest

from ratchetree.search.events import CampaignStarted, Committed, Event, Judged, Planned, Scored, Selected, Written
from ratchetree.search.memory import Memory
from ratchetree.search.model import (
    Expansion,
    ExpansionKind,
    Failure,
    Idea,
    Machine,
    Metric,
    ModelCall,
    Patch,
    ScoreReport,
    SourceFile,
    Sources,
    Verdict,
    digest,
)
from ratchetree.search.patch import edits_between
from ratchetree.search.ports import Option, PlanRequest, WriteRequest
from ratchetree.search.tree import Tree

HERE = Path(__file__).parent


def script(name: str) -> str:
    """A training script by name: `seed`, or one of the folder `scripts`."""
    if name == "seed":
        return (resources.files("ratchetree") / "program" / "gpt-cpu" / "train.py").read_text()
    return (HERE / "scripts" / f"{name}.py.txt").read_text()


SCRIPTS = ("seed", "speedrun_style", "config_style")


@pytest.fixture(params=SCRIPTS)
def text(request: pytest.FixtureRequest) -> str:
    """Every training script in which the catalogue finds something."""
    return script(request.param)


@pytest.fixture(name="script")
def _script() -> Callable[[str], str]:
    return script


@pytest.fixture
def two_steps() -> Callable[[Sequence[str]], list[str]]:
    """Runs training scripts for two steps each; returns what went wrong with each, "" for nothing."""

    def run(texts: Sequence[str]) -> list[str]:
        command = [sys.executable, str(HERE / "two_steps.py")]
        done = subprocess.run(command, input=json.dumps(list(texts)), capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout))

    return run


class World:
    """A tree and a memory that grow by experiments, as a campaign makes them, and the request a planner gets."""

    def __init__(self, text: str) -> None:
        self.texts = {0: text}
        self.tree, self.memory = Tree(), Memory()
        machine = Machine(host="h", cpu="c", cpus=1, memory_gb=1.0)
        root = digest((SourceFile(path="train.py", text=text),))
        self._tell(
            CampaignStarted(
                time=0.0,
                version="0",
                seed=1,
                metric=Metric(),
                root_commit="0" * 40,
                root_digest=root,
                policy="ratchet",
                preset="default",
                settings="{}",
                machine=machine,
            )
        )
        self.tree.loss[0] = 1.0

    def begin(self, idea: Idea, parent: int = 0) -> int:
        """An experiment is planned and goes into the air."""
        node = self.tree.next_id
        call = ModelCall(backend="test")
        asked = ExpansionKind.IMPROVE
        self._tell(Selected(time=0.0, experiment=node, options=(Expansion(node=parent),)))
        self._tell(Planned(time=0.0, experiment=node, parent=parent, asked=asked, outcome=idea, call=call))
        return node

    def end(self, node: int, *, loss: float | None) -> None:
        """It is judged: parked with this loss, or failed without one."""
        if loss is not None:
            self.tree.loss[node] = loss
        verdict = Verdict.FAILED if loss is None else Verdict.PARKED
        self._tell(Judged(time=0.0, experiment=node, verdict=verdict, reason="", against=0))

    def request(
        self,
        *nodes: int,
        seed: int = 0,
        kind: ExpansionKind = ExpansionKind.IMPROVE,
        source: int | None = None,
        sources: tuple[int, ...] = (),
    ) -> PlanRequest:
        """A request with these nodes as options, best first."""
        options = tuple(
            Option(
                expansion=Expansion(node=node, kind=kind, source=source, sources=sources),
                sources=(SourceFile(path="train.py", text=self.texts.get(node, self.texts[0])),),
            )
            for node in nodes or (0,)
        )
        return PlanRequest(
            experiment=self.tree.next_id,
            brief="Make it better.",
            options=options,
            tree=self.tree,
            memory=self.memory,
            rng=random.Random(seed),
            sources_at=self.sources_at,
        )

    def writing(self, idea: Idea, parent: int = 0, *, attempt: int = 0, failure: Failure | None = None) -> WriteRequest:
        """The request a coder gets for the idea on the parent."""
        return WriteRequest(
            experiment=self.tree.next_id,
            attempt=attempt,
            brief="Make it better.",
            idea=idea,
            sources=self.sources_at(parent),
            patch=None,
            failure=failure,
            rng=random.Random(0),
            parent=parent,
            tree=self.tree,
            memory=self.memory,
            sources_at=self.sources_at,
        )

    def grow(self, text: str, *, idea: Idea, parent: int = 0, loss: float | None = 1.1) -> int:
        """A whole experiment that led to this script."""
        node = self.begin(idea, parent)
        self.write(node, parent, text)
        self._tell(Committed(time=0.0, experiment=node, attempt=0, commit=f"{node:040d}"))
        self.end(node, loss=loss)
        return node

    def write(self, node: int, parent: int, text: str) -> None:
        """The coder's patch of an experiment, which leads to this script."""
        before = self.sources_at(parent)[0].text
        self.texts[node] = text
        self._tell(
            Written(
                time=0.0,
                experiment=node,
                attempt=0,
                patch=Patch(edits=edits_between("train.py", before, text)),
                failure=None,
                digest=digest(self.sources_at(node)),
                lines_added=1,
                lines_removed=1,
                call=ModelCall(backend="test"),
            )
        )

    def score(self, node: int, value: float) -> None:
        """One trial of it, as the tree tells it to whoever reads a node."""
        scored = Scored(time=0.0, experiment=node, trial=0, seconds=1.0, outcome=ScoreReport(value=value))
        self.tree.apply(scored)

    def sources_at(self, node: int) -> Sources:
        """The script at a node; the root's where nothing else was said."""
        return (SourceFile(path="train.py", text=self.texts.get(node, self.texts[0])),)

    def _tell(self, event: Event) -> None:
        self.tree.apply(event)
        self.memory.observe(self.tree, event)


@pytest.fixture
def world() -> Callable[[str], World]:
    return World
