"""The ladder of sandboxes, each rung tried for real; and what is chosen where some of them are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ratchetree.search.errors import WrongUse
from ratchetree.trainer.confine import start
from ratchetree.trainer.sandbox import BACKENDS, Cell, Confinement, Sandbox, choose
from ratchetree.trainer.sandbox.places import outermost, python_places
from ratchetree.trainer.sandbox.probe import ALLOWED, first_failure, probe, report

CONFINING = [name for name in BACKENDS if name != "weak"]


class Missing:
    """A backend that this machine does not have."""

    level = "missing"

    def missing(self) -> str | None:
        return "it is not installed"

    def confine(self, cell: Cell) -> Confinement:
        raise AssertionError("it was not to be used")


def usable(name: str) -> Sandbox:
    """The backend; skips where it cannot be had, and fails where it could have been installed."""
    backend, reason = BACKENDS[name], BACKENDS[name].missing()
    if reason is not None and name == "bubblewrap" and os.geteuid() == 0 and shutil.which("apt-get"):
        pytest.fail(f"{reason}: `make system` brings it")
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    return backend


@pytest.mark.parametrize("name", CONFINING)
def test_every_probe_passes(name: str) -> None:
    backend = usable(name)
    tried = probe(backend)
    assert {p.what for p in tried if p.wanted} == ALLOWED - {"initialise CUDA"}
    assert [p.what for p in tried if not p.passed] == []
    assert first_failure(backend) is None
    assert report(backend, gpu=False) == (True, f"all {len(tried)} probes passed")


def test_every_probe_can_fail() -> None:
    """Without a sandbox a run can do all of it: otherwise the probe would prove nothing."""
    tried = {p.what: p.could for p in probe(BACKENDS["weak"])}
    if os.geteuid() != 0:
        tried.pop("get a namespace of its own")  # the system may forbid that to everybody
    assert [what for what, could in tried.items() if not could] == []
    assert first_failure(BACKENDS["weak"]) is not None


def test_the_strongest_that_works_is_chosen_and_weak_only_if_it_was_asked_for() -> None:
    works = next(name for name in CONFINING if BACKENDS[name].missing() is None)
    assert choose("auto").level == works
    assert choose("auto", {"missing": Missing(), works: BACKENDS[works]}).level == works
    with pytest.raises(WrongUse, match=r"no sandbox works here \(missing: it is not installed\).*weak"):
        choose("auto", {"missing": Missing(), "weak": BACKENDS["weak"]})
    assert choose("weak").level == "weak"


def test_a_confinement_that_cannot_be_set_up_runs_nothing(tmp_path: Path) -> None:
    backend = usable("landlock")
    confinement = backend.confine(Cell(tree=str(tmp_path), scratch=str(tmp_path)))
    broken = confinement.as_json()
    broken["landlock"] = {**broken["landlock"], "beneath": [[str(tmp_path / "gone"), 4]]}
    with pytest.raises(OSError, match="could not be set up"):
        start([sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"], broken, cwd=str(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", CONFINING)
def test_a_run_dies_with_whoever_started_it(name: str, tmp_path: Path) -> None:
    usable(name)
    code = f"""
import os, sys
from ratchetree.trainer.confine import start
from ratchetree.trainer.sandbox import BACKENDS, Cell
confinement = BACKENDS[{name!r}].confine(Cell(tree={str(tmp_path)!r}, scratch={str(tmp_path)!r}))
read, write = os.pipe()
start([sys.executable, "-c", f"import os, time; os.write({{write}}, b'x'); time.sleep(300)"],
      confinement.as_json(), pass_fds=(write,), cwd={str(tmp_path)!r}, env={{}}, stdout=1)
os.read(read, 1)
print("started", flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "started\n"  # and the pipe is closed: nobody is left who holds its other end


def test_no_home_is_shown_because_python_lives_in_it() -> None:
    homes = {str(Path.home()), "/root", "/home", "/", "/usr"}
    assert not homes & set(python_places())
    assert outermost(["/a/b", "/a", "/ab", "/a/b/c"]) == ("/a", "/ab")
