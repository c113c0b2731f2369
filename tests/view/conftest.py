"""Campaigns told event by event, for the screens."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from ratchetree.search.contracts import Account
from ratchetree.search.events import (
    CampaignResumed,
    CampaignStarted,
    CampaignStopped,
    Checked,
    Committed,
    Event,
    Judged,
    Planned,
    Scored,
    Selected,
    Settled,
    Trained,
    Written,
)
from ratchetree.search.model import (
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    Patch,
    ScoreReport,
    SetbackContract,
    TrialReport,
    Verdict,
)
from ratchetree.search.tree import Tree, replay
from ratchetree.view.chronicle import Chronicle

CALL = ModelCall(backend="offline")
MACHINE = Machine(host="box", cpu="cpu", cpus=2, memory_gb=4.0)


class Story:
    """Builds the journal of a campaign; the clock goes on by one minute per experiment."""

    def __init__(
        self, *, direction: str = "min", by: str = "trusted", name: str = "val_bpb", limits: int = 100
    ) -> None:
        self.events: list[Event] = []
        self.by = by
        self.sign = 1 if direction == "min" else -1
        self.time = 1000.0
        scorer = "printed" if by == "printed" else "trusted"
        executor = "synthetic" if by == "synthetic" else "local"
        self.settings = json.dumps(
            {"task": {"scorer": scorer}, "trainer": {"executor": executor}, "limits": {"experiments": limits}}
        )
        metric = Metric(name=name, direction=direction)  # type: ignore[arg-type]
        self._add(
            CampaignStarted(
                time=self.time,
                version="0.1.0",
                seed=7,
                metric=metric,
                root_commit="a" * 40,
                root_digest="root",
                policy="beam",
                preset="default",
                settings=self.settings,
                machine=MACHINE,
            )
        )

    def _add(self, event: Event) -> None:
        self.events.append(event)

    def root(self, *values: float) -> Story:
        """The root's trials and its verdict."""
        for trial, value in enumerate(values):
            self.trial(0, trial, value)
        self._judge(0, Verdict.KEPT, f"the root, over {len(values)} trials")
        self._add(Settled(time=self.time, experiment=0, main="a" * 40, branch=None))
        return self

    def fly(
        self,
        node: int,
        parent: int,
        title: str = "",
        *,
        asked: ExpansionKind = ExpansionKind.IMPROVE,
        contract: SetbackContract | None = None,
        lines: tuple[int, int] = (1, 1),
        expected: float = 0.0,
        upto: str = "commit",
    ) -> Story:
        """An experiment up to its commit (or only to its selection, plan or patch)."""
        self.time += 60
        time = self.time
        self._add(Selected(time=time, experiment=node, options=(Expansion(node=parent),)))
        if upto == "select":
            return self
        idea = Idea(
            title=title or f"idea {node}",
            hypothesis=f"it may help {node}",
            mechanism=f"it works like this {node}",
            category="optimizer",
            brief=f"brief {node}",
            expected_change=expected,
            contract=contract,
        )
        self._add(Planned(time=time, experiment=node, parent=parent, asked=asked, outcome=idea, call=CALL))
        if upto == "plan":
            return self
        added, removed = lines
        self._add(
            Written(
                time=time,
                experiment=node,
                attempt=0,
                patch=Patch(edits=()),
                failure=None,
                digest=f"tree {node}",
                lines_added=added,
                lines_removed=removed,
                call=CALL,
            )
        )
        self._add(Checked(time=time, experiment=node, attempt=0, failure=None, seconds=1.0))
        self._add(Committed(time=time, experiment=node, attempt=0, commit=f"{node:040x}"))
        return self

    def trial(self, node: int, trial: int, value: float) -> Story:
        """One trial, trained and scored."""
        self.time += 10
        report = TrialReport(
            startup_seconds=3.0,
            train_seconds=300.0,
            cpu_seconds=290.0,
            peak_memory_mb=2048.0,
            steps=400,
            tokens=1_200_000,
            last_loss=2.5,
        )
        self._add(Trained(time=self.time, experiment=node, trial=trial, seed=trial, seconds=304.0, outcome=report))
        outcome = ScoreReport(value=self.sign * value, by=self.by)
        self._add(Scored(time=self.time, experiment=node, trial=trial, seconds=2.0, outcome=outcome))
        return self

    def keep(self, node: int, parent: int, *values: float, title: str = "", **more: Any) -> Story:
        """A kept experiment; the first value is its screening trial."""
        self.fly(node, parent, title, **more)
        for trial, value in enumerate(values):
            self.trial(node, trial, value)
        self._judge(node, Verdict.KEPT, f"val_bpb of {node} beats main")
        self._add(Settled(time=self.time, experiment=node, main=f"{node:040x}", branch=None))
        return self

    def park(self, node: int, parent: int, value: float, title: str = "", **more: Any) -> Story:
        """A parked experiment."""
        self.fly(node, parent, title, **more).trial(node, 0, value)
        self._judge(node, Verdict.PARKED, f"val_bpb of {node} is worse")
        self._add(Settled(time=self.time, experiment=node, main=None, branch=f"parked/{node:04d}-idea"))
        return self

    def fail(
        self, node: int, parent: int, title: str = "", kind: FailureKind = FailureKind.CRASH, **more: Any
    ) -> Story:
        """An experiment whose training fails."""
        self.fly(node, parent, title, **more)
        failure = Failure(kind=kind, message="ValueError: no", detail="Traceback\n  File train.py\nValueError: no")
        self._add(Trained(time=self.time, experiment=node, trial=0, seed=0, seconds=5.0, outcome=failure))
        self._judge(node, Verdict.FAILED, f"{kind}: ValueError: no", failure)
        self._add(Settled(time=self.time, experiment=node, main=None, branch=None))
        return self

    def stop(self, reason: str = "the limit of 100 experiments") -> Story:
        """The campaign ends."""
        self._add(CampaignStopped(time=self.time, reason=reason))
        return self

    def resume(self) -> Story:
        """The campaign goes on an hour later."""
        self.time += 3600
        self._add(
            CampaignResumed(
                time=self.time,
                version="0.1.0",
                policy="ratchet",
                preset="fast",
                settings=self.settings,
                machine=MACHINE,
            )
        )
        return self

    def _judge(self, node: int, verdict: Verdict, reason: str, failure: Failure | None = None) -> None:
        self._add(Judged(time=self.time, experiment=node, verdict=verdict, reason=reason, against=0, failure=failure))

    @property
    def tree(self) -> Tree:
        """The tree so far."""
        return replay(self.events)

    @property
    def account(self) -> Account:
        """The contracts so far."""
        return self.read()[1].account

    def read(self) -> tuple[Tree, Chronicle]:
        """Tree and chronicle so far."""
        return Chronicle.read(self.events)


def small(direction: str = "min", by: str = "trusted") -> Story:
    """A root of three trials, main's line 0 -> 3 -> 5, parked siblings, a setback line, a failure, one in flight."""
    contract = SetbackContract(expected_dip=0.01, max_dip=0.05, horizon=4)
    return (
        Story(direction=direction, by=by)
        .root(2.10, 2.11, 2.12)
        .park(1, 0, 2.13, "raise the embedding learning rate to 0.9", lines=(3, 1))
        .park(2, 0, 2.14, "replace the MLP by a gated one", contract=contract, asked=ExpansionKind.INVEST)
        .keep(3, 0, 2.05, 2.07, 2.06, 2.08, title="halve the batch: more steps in the budget", lines=(1, 1))
        .fail(4, 0, "use an optimizer that is not there")
        .keep(5, 3, 2.01, 2.02, 2.03, 2.04, title="delete the second norm", lines=(0, 12))
        .park(6, 2, 2.12, "retune the learning rate for the gate")
        .park(7, 3, 2.09, "widen the model", lines=(120, 4))
        .fly(8, 5, "warm up for 5 % of the steps")
    )


def show(renderable: RenderableType, *, width: int = 80, height: int = 24, encoding: str = "utf-8") -> str:
    """What a terminal of this size shows, without colours."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    Console(file=file, width=width, height=height, no_color=True, color_system=None).print(renderable)
    file.flush()
    return raw.getvalue().decode(encoding)


def quick(nodes: int, *, parent: Callable[[int], int], verdict: Verdict) -> Tree:
    """A big tree of judged nodes, told in as few events as possible; every node is 1e-5 better than the one before."""
    story = Story().root(3.0, 3.01, 3.02)
    tree = story.tree
    for node in range(1, nodes):
        tree.apply(Selected(time=0.0, experiment=node, options=(Expansion(node=parent(node)),)))
        tree.apply(Scored(time=0.0, experiment=node, trial=0, seconds=0.0, outcome=ScoreReport(value=3 - node * 1e-5)))
        tree.apply(Judged(time=0.0, experiment=node, verdict=verdict, reason="", against=0))
    return tree


HOSTILE = {
    "\x1b[31mred\x1b[0m": "red",
    "\x1b]0;title\x07after": "after",
    "\x1b]8;;http://evil\x1b\\link": "link",
    "a\nb\r\nc\td": "a b c d",
    "bell\x07 back\x08space \x00nul \x7fdel \x9b2Jcsi": "bell back space nul del csi",
    "left\u202eright\u2066x\u2069": "leftrightx",
    "zero\u200bwidth\ufeff": "zerowidth",
    "tag\U000e0041\U000e0042": "tag",
    "[red]not markup[/red] :smile:": "[red]not markup[/red] :smile:",
    "lone \ud800 surrogate": "lone \ufffd surrogate",
    "z" + "\u0301" * 50 + "algo": "z\u0301\u0301algo",
    "line\u2028separator\u0085next": "line separator next",
    "half \x1b": "half",
}
"""What a model may write, and what is to be seen of it."""


@pytest.fixture(scope="session", name="new_story")
def _new_story() -> type[Story]:
    return Story


@pytest.fixture(scope="session", name="small")
def _small() -> Callable[..., Story]:
    return small


@pytest.fixture(scope="session", name="show")
def _show() -> Callable[..., str]:
    return show


@pytest.fixture(scope="session", name="quick")
def _quick() -> Callable[..., Tree]:
    return quick


@pytest.fixture(scope="session", name="hostile")
def _hostile() -> dict[str, str]:
    return HOSTILE
