"""Sinks: what they are told, and that one which breaks harms nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ratchetree.search.errors import WrongUse
from ratchetree.search.tree import Tree
from ratchetree.view.sinks import SINKS, Sink, open_sink


class Notebook:
    """A backend that writes down what it is told; breaks at the given number of calls."""

    def __init__(self, breaks: int = 10**9) -> None:
        self.told: list[tuple[dict[str, float], int]] = []
        self.breaks, self.closed = breaks, False

    def numbers(self, values: dict[str, float], step: int) -> None:
        if len(self.told) >= self.breaks:
            raise OSError("no space\nat all")
        self.told.append((values, step))

    def close(self) -> None:
        self.closed = True


def play(sink: Sink, events: list[Any]) -> None:
    tree = Tree()
    for event in events:
        tree.apply(event)
        sink.event(tree, event)
    sink.close()


def test_trials_and_verdicts_are_told_with_mains_value(small: Callable[..., Any]) -> None:
    book, said = Notebook(), list[str]()
    play(Sink("notebook", book, said.append), small().events)
    assert ({"trial/val_bpb": 2.13, "trial/seconds": 2.0}, 1) in book.told
    verdicts = [(values, step) for values, step in book.told if "kept" in values]
    assert verdicts[5] == ({"kept": 1.0, "failed": 0.0, "main/val_bpb": pytest.approx(2.03)}, 5)
    assert verdicts[4][0]["failed"] == 1.0
    assert (book.closed, said) == (True, [])


def test_a_sink_that_breaks_is_switched_off_with_one_line(small: Callable[..., Any]) -> None:
    book, said = Notebook(breaks=3), list[str]()
    play(Sink("notebook", book, said.append), small().events)
    assert (len(book.told), said) == (3, ["the sink notebook is off: no space"])


@pytest.mark.parametrize("name", SINKS)
def test_each_sink_is_refused_where_its_package_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(WrongUse, match=f"{name} is not installed"):
        open_sink(name, campaign="night", folder=tmp_path, say=print)


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_the_two_that_share_an_interface_begin_log_and_finish(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    fake = ModuleType(name)
    fake.init = lambda **given: calls.append(given)  # type: ignore[attr-defined]
    fake.log = lambda values: calls.append(values)  # type: ignore[attr-defined]
    fake.finish = lambda: calls.append("finished")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, fake)
    sink = open_sink(name, campaign="night", folder=tmp_path, say=print)
    sink._backend.numbers({"main/val_bpb": 2.0}, 7)
    sink.close()
    expected = [{"project": "ratchetree", "name": "night"}, {"main/val_bpb": 2.0, "experiment": 7}, "finished"]
    assert calls == expected


def test_an_unknown_sink_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="allowed: tensorboard, trackio, wandb, mlflow"):
        open_sink("carrier-pigeon", campaign="night", folder=tmp_path, say=print)
