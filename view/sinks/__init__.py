"""Live logging of trials and verdicts to other tools, for those who have one installed and name it in
`[view] sinks = [...]`. A sink is an Observer; each has a file of its own, and none is a dependency.

A sink that breaks is switched off with one line: an experiment is worth more than its log.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ...search.errors import WrongUse
from ...search.events import Event, Judged, Scored
from ...search.model import Progress, ScoreReport, Verdict
from ...search.tree import Tree

SINKS = {"tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb", "mlflow": "mlflow"}
"""Name in the toml -> the module here; the package has the name that pip knows."""


class Backend(Protocol):
    """One tool, already open: numbers at a step, and what is said of a verdict."""

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Log numbers at an experiment's number."""

    def close(self) -> None:
        """Flush and end."""


class Sink:
    """Implements ports.Observer over a backend."""

    def __init__(self, name: str, backend: Backend, say: Callable[[str], None]) -> None:
        self._name, self._backend, self._say = name, backend, say
        self._broken = False

    def event(self, tree: Tree, event: Event) -> None:
        """Trials as they are scored, verdicts with main's value after them."""
        if isinstance(event, Scored) and isinstance(event.outcome, ScoreReport):
            self._log(
                {f"trial/{tree.metric.name}": event.outcome.value, "trial/seconds": event.seconds}, event.experiment
            )
        elif isinstance(event, Judged):
            main = tree.node(tree.incumbent).score
            values = {"kept": float(event.verdict is Verdict.KEPT), "failed": float(event.verdict is Verdict.FAILED)}
            if main is not None:
                values[f"main/{tree.metric.name}"] = main.mean
            self._log(values, event.experiment)

    def progress(self, progress: Progress) -> None:
        """Sinks log results, not progress."""

    def close(self) -> None:
        """Flush and end."""
        self._guard(self._backend.close)

    def _log(self, values: dict[str, float], step: int) -> None:
        self._guard(lambda: self._backend.numbers(values, step))

    def _guard(self, act: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - somebody else's library, the network, a full disk
            self._broken = True
            self._say(
                f"the sink {self._name} is off: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            )


def open_sink(name: str, *, campaign: str, folder: Path, say: Callable[[str], None]) -> Sink:
    """The sink of this name. campaign: how the run is called there; folder: where a sink may keep files.

    Raises WrongUse for unknown names, and where the package is not installed.
    """
    if name not in SINKS:
        raise WrongUse(f"view.sinks: {name!r} is not known; allowed: {', '.join(SINKS)}")
    module = import_module(f".{SINKS[name]}", __name__)
    try:
        backend: Backend = module.connect(campaign, folder)
    except ImportError as error:
        raise WrongUse(f"view.sinks: {name} is not installed ({error.name}): pip install {name}") from error
    return Sink(name, backend, say)
