"""What this machine offers: every line is something that was really tried."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..search.errors import RatchetreeError, WrongUse
from .cards import Driver, DriverError, nvidia
from .cards.report import report_cards
from .machine import this_machine
from .processes import MARK, allowed_environment, end_marked, supervise, timed
from .sandbox import BACKENDS, choose
from .sandbox.probe import has_gpu, report
from .sharing import why_not_shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was tried."""

    name: str
    works: bool
    says: str
    needed: bool = True  # without it the gpt-cpu task cannot run


_DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(300)
    os._exit(0)
time.sleep(0.2)
"""


def examine(folder: Path) -> Iterator[Check]:
    """Try everything that a campaign needs; `folder` is where its trials would live."""
    machine = this_machine()
    cores = f"{machine.cpus} x {machine.cpu}, {machine.memory_gb:.0f} GB, {machine.system}, Python {machine.python}"
    yield Check(name="machine", works=True, says=cores)
    yield Check(name="gpu", works=bool(machine.gpu), says=machine.gpu or "none found", needed=False)
    driver = nvidia.find()
    for works, says in report_cards(driver, seen=machine.gpu):
        yield Check(name="card", works=works, says=says, needed=False)
    yield _disk(folder)
    yield _imports("torch", needed=True)
    yield _imports("tiktoken", needed=True)
    yield _imports("rustbpe", needed=True)
    yield _leaves_no_survivor()
    yield from _sandboxes()
    yield from card_memory(driver)


def card_memory(driver: Driver | None) -> Iterator[Check]:
    """Whether a confined model can leave its answers on a card. Nothing where there is no card or no sandbox."""
    with contextlib.suppress(DriverError, WrongUse), tempfile.TemporaryDirectory() as place:
        for card in driver.cards()[:1] if driver is not None else ():
            folder = Path(place).resolve()
            why = asyncio.run(why_not_shared(card, choose("auto"), folder, workspace=folder))
            says = f"not shared, so scoring takes longer: {why}" if why else "shared with a confined run"
            yield Check(name="card memory", works=why is None, says=says, needed=False)


def _sandboxes() -> Iterator[Check]:
    chosen = None
    for name, backend in BACKENDS.items():
        if name == "weak":
            continue
        works, says = report(backend, gpu=has_gpu())
        chosen = chosen or (name if works else None)
        yield Check(name=name, works=works, says=says, needed=False)
    says = f"{chosen}: the strongest that passed" if chosen else 'none passed; runs need trainer.sandbox = "weak"'
    yield Check(name="sandbox", works=chosen is not None, says=says)


def _disk(folder: Path) -> Check:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_gb = shutil.disk_usage(existing).free / 2**30
    return Check(name="disk", works=free_gb > 1, says=f"{free_gb:.1f} GB free at {existing}")


def _imports(module: str, *, needed: bool) -> Check:
    begun = time.perf_counter()
    done = _supervised(f"import {module}; print(getattr({module}, '__version__', ''))")
    if isinstance(done, str):
        return Check(name=module, works=False, says=done, needed=needed)
    seconds = time.perf_counter() - begun
    return Check(name=module, works=True, says=f"starts and imports in {seconds:.2f} s", needed=needed)


def _leaves_no_survivor() -> Check:
    name = "clean-up"
    done = _supervised(_DAEMON)
    if isinstance(done, str):
        return Check(name=name, works=False, says=done)
    if done:
        return Check(name=name, works=False, says=f"{done} process(es) of a run outlived it", needed=False)
    return Check(name=name, works=True, says="a daemon that a run left behind was ended with it")


def _supervised(code: str) -> int | str:
    """Run Python code as a trial would be run; the number of survivors, or why it failed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        environment = allowed_environment(workspace=folder, scratch=str(folder), run="doctor")
        spec = replace(timed((sys.executable, "-c", code), folder, env=environment, seconds=60.0), memory_mb=8000.0)
        with contextlib.suppress(RatchetreeError):
            run = asyncio.run(supervise(spec))
            survivors = end_marked(**{MARK: str(folder)})
            if run is not None and run.exit_code == 0:
                return survivors
            lines = Path(spec.log).read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else "it ended without a word"
        return "it could not be started"
