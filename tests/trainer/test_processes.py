"""Supervised runs with real processes: clocks, deadlines, and no survivors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.errors import RatchetreeError
from ratchetree.trainer.processes import (
    MARK,
    RUN,
    Report,
    Run,
    Spec,
    allowed_environment,
    end_marked,
    marked,
    supervise,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process trees are watched through /proc")

ASK = """
import json, os, socket, time
control = socket.socket(fileno=int(os.environ["RATCHETREE_CONTROL"]))
control.sendall(b'{"ask": "data"}\\n')
reply, fds, _, _ = socket.recv_fds(control, 65536, 1)
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Spec]:
    """A Spec for a Python script; the clock starts at once unless data is given."""

    def make_spec(script: str, **changes: Any) -> Spec:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(script))
        spec = Spec(
            command=(sys.executable, str(path)),
            cwd=str(tmp_path),
            env=allowed_environment(workspace=tmp_path, scratch=str(tmp_path), run="r"),
            log=str(tmp_path / "log.txt"),
            curve=str(tmp_path / "curve.tsv"),
            kind="wall",
            amount=30.0,
            startup_seconds=30.0,
            wall_seconds=60.0,
            memory_mb=1000.0,
        )
        return replace(spec, **changes)

    return make_spec


def run(spec: Spec, listen: Callable[[Report], None] | None = None) -> Run:
    result = asyncio.run(supervise(spec, listen=listen))
    assert result is not None
    return result


def left(folder: Path) -> list[int]:
    """Living processes that carry the folder's mark."""
    return marked(**{MARK: str(folder)})


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(autouse=True)
def _nobody_survives(tmp_path: Path) -> Iterator[None]:
    yield
    survivors = left(tmp_path)
    end_marked(**{MARK: str(tmp_path)})
    assert survivors == []


def test_a_script_that_ends_reports_its_code_and_its_output(make: Callable[..., Spec], tmp_path: Path) -> None:
    result = run(make("import sys; print('hello'); print('woe', file=sys.stderr); sys.exit(3)"))
    assert (result.reason, result.exit_code) == ("exit", 3)
    assert (tmp_path / "log.txt").read_text() == "hello\nwoe\n"


def test_the_data_comes_with_the_first_question_and_the_clock_starts_then(
    make: Callable[..., Spec], tmp_path: Path
) -> None:
    data = tmp_path / "train.bin"
    data.write_bytes(b"the training data")
    script = (
        "import time; time.sleep(0.5)\n"
        + ASK
        + "print(json.loads(reply)['seed'], os.read(fds[0], 100))\n"
        + 'control.sendall(b\'{"steps": 7, "tokens": 70, "saved": true}\\n\'); time.sleep(0.2)\n'
    )
    result = run(make(script, data=str(data), reply={"seed": 5}))
    assert (tmp_path / "log.txt").read_text() == "5 b'the training data'\n"
    assert 0.5 <= result.startup_seconds < 5
    assert 0.2 <= result.train_seconds < 5
    assert (result.steps, result.tokens, result.clock_started) == (7, 70, True)


def test_the_data_waits_for_the_campaigns_word_and_that_counts_neither_as_start_up_nor_as_training(
    make: Callable[..., Spec], tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_bytes(b"abcd")
    spec = make(ASK + "print('has it', flush=True)", data=str(tmp_path / "tokens"), startup_seconds=1.0)
    before = ""

    async def may_train() -> None:
        nonlocal before
        await asyncio.sleep(1.5)  # longer than a start-up may take
        before = (tmp_path / "log.txt").read_text()

    ended = asyncio.run(supervise(spec, may_train=may_train))
    assert ended is not None and (ended.reason, ended.exit_code, ended.clock_started) == ("exit", 0, True)
    assert before == "" and (tmp_path / "log.txt").read_text() == "has it\n"
    assert ended.startup_seconds < 1.0 and ended.train_seconds < 1.0


def test_a_run_that_ends_before_the_campaigns_word_is_not_remembered(make: Callable[..., Spec], tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"abcd")
    ended, spec = tmp_path / "ended.json", make("raise SystemExit(3)", data=str(tmp_path / "tokens"), key="k")

    async def never() -> None:
        raise AssertionError("it did not ask")

    assert asyncio.run(supervise(replace(spec, ended=str(ended)), may_train=never)).exit_code == 3  # type: ignore[union-attr]
    assert not ended.exists()
    run(replace(spec, ended=str(ended)))
    assert ended.exists()


def test_nothing_is_left_of_a_run_that_is_cancelled_before_the_campaigns_word(
    make: Callable[..., Spec], tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_bytes(b"abcd")
    spec = make(ASK + "time.sleep(60)", data=str(tmp_path / "tokens"))

    async def use() -> None:
        asked = asyncio.Event()

        async def may_train() -> None:
            asked.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(supervise(spec, may_train=may_train))
        await asked.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(use())
    assert left(tmp_path) == []


def test_the_data_cannot_be_written_through_its_descriptor(make: Callable[..., Spec], tmp_path: Path) -> None:
    data = tmp_path / "train.bin"
    data.write_bytes(b"x")
    run(make(ASK + "os.write(fds[0], b'y')", data=str(data)))
    assert "Bad file descriptor" in (tmp_path / "log.txt").read_text()
    assert data.read_bytes() == b"x"


def test_a_script_that_never_asks_for_data_is_ended_after_its_start_up(
    make: Callable[..., Spec], tmp_path: Path
) -> None:
    data = tmp_path / "train.bin"
    data.write_bytes(b"x")
    result = run(make("import time; time.sleep(60)", data=str(data), startup_seconds=0.4))
    assert (result.reason, result.clock_started, result.train_seconds) == ("startup", False, 0.0)


def test_the_deadline_on_the_wall_clock(make: Callable[..., Spec]) -> None:
    result = run(make("import time; time.sleep(60)", amount=0.5))
    assert result.reason == "deadline"
    assert 0.5 <= result.train_seconds < 5


def test_a_cpu_budget_counts_every_process_of_the_tree_and_sleep_costs_nothing(make: Callable[..., Spec]) -> None:
    script = """
        import os, time
        time.sleep(0.5)
        for _ in range(2):
            if os.fork() == 0:
                while True: pass
        time.sleep(60)
    """
    result = run(make(script, kind="cpu", amount=0.6))
    assert result.reason == "deadline"
    assert 0.5 <= result.cpu_seconds < 2
    assert result.exit_code == -signal.SIGKILL


def test_a_cpu_budget_that_is_never_used_has_a_cap_on_the_wall_clock(make: Callable[..., Spec]) -> None:
    result = run(make("import time; time.sleep(60)", kind="cpu", amount=5, wall_seconds=0.4))
    assert result.reason == "wall"


def test_cpu_seconds_are_those_after_the_clock_started(make: Callable[..., Spec], tmp_path: Path) -> None:
    data = tmp_path / "train.bin"
    data.write_bytes(b"x")
    burn = "t = time.process_time()\nwhile time.process_time() < t + {}: pass\n"
    result = run(make("import time\n" + burn.format(0.6) + ASK + burn.format(0.3), data=str(data), kind="cpu"))
    assert result.reason == "exit"
    assert 0.2 <= result.cpu_seconds < 0.55


def test_more_memory_than_allowed_ends_the_run(make: Callable[..., Spec]) -> None:
    result = run(make("import time; x = bytearray(300_000_000); time.sleep(30)", memory_mb=150.0))
    assert result.reason == "memory"
    assert result.peak_memory_mb > 150


DAEMON = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setpgid(0, 0)
            while True: time.sleep(1)
        os._exit(0)
"""


def test_daemons_grandchildren_and_the_deaf_do_not_survive(make: Callable[..., Spec], tmp_path: Path) -> None:
    script = (
        textwrap.dedent(DAEMON)
        + "import signal, subprocess, sys\n"
        + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 300 & sleep 300'], start_new_session=True)\n"
        + "time.sleep(0.3); print('done')\n"
    )
    result = run(make(script))
    assert result.reason == "exit"
    assert (tmp_path / "log.txt").read_text() == "done\n"
    assert left(tmp_path) == []


def test_a_small_fork_bomb_does_not_survive_its_deadline(make: Callable[..., Spec], tmp_path: Path) -> None:
    script = """
        import os, time
        for _ in range(6): os.fork()
        while True:
            if os.fork() == 0: time.sleep(0.01); os._exit(0)
            os.wait()
    """
    assert run(make(script, amount=1.0)).reason == "deadline"
    assert left(tmp_path) == []


def test_a_run_that_kills_its_supervisor_leaves_nothing_behind(make: Callable[..., Spec], tmp_path: Path) -> None:
    script = textwrap.dedent(DAEMON) + "time.sleep(0.2); os.kill(os.getppid(), 9); time.sleep(60)\n"
    assert asyncio.run(supervise(make(script))) is None
    assert wait_until(lambda: left(tmp_path) == [])


def test_a_cancelled_run_is_ended(make: Callable[..., Spec], tmp_path: Path) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(supervise(make(textwrap.dedent(DAEMON) + "time.sleep(60)\n")))
        assert await asyncio.to_thread(wait_until, lambda: len(left(tmp_path)) >= 3)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert left(tmp_path) == []


def test_nothing_outlives_a_campaign_that_is_killed(make: Callable[..., Spec], tmp_path: Path) -> None:
    spec = make(textwrap.dedent(DAEMON) + "time.sleep(60)\n")
    code = f"import asyncio; from ratchetree.trainer.processes import Spec, supervise\nasyncio.run(supervise({spec!r}))"
    campaign = subprocess.Popen([sys.executable, "-c", code])
    assert wait_until(lambda: len(left(tmp_path)) >= 3)
    campaign.kill()
    campaign.wait()
    assert wait_until(lambda: left(tmp_path) == [])


def test_a_leftover_is_found_by_its_mark_and_others_are_left_alone(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], MARK: str(tmp_path), RUN: "1-0"}
    mine = subprocess.Popen(["sleep", "300"], env=environment)
    other = subprocess.Popen(["sleep", "300"], env={**environment, MARK: f"{tmp_path}-other"})
    try:
        assert wait_until(lambda: left(tmp_path) == [mine.pid])
        assert end_marked(**{MARK: str(tmp_path), RUN: "2-0"}) == 0
        assert end_marked(**{MARK: str(tmp_path)}) == 1
        assert mine.wait() == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_messages_that_make_no_sense_do_no_harm(make: Callable[..., Spec]) -> None:
    script = ASK.split("control.sendall")[0] + textwrap.dedent(
        """
        for line in (b'', b'[]', b'nonsense', b'{"steps": "many"}', b'{"steps": 1e999}', b'{"steps": null}',
                     b'{"saved": "yes"}', b'{"ask": "everything"}', b'\\xff\\xfe', b'x' * 200000,
                     b'{"steps": ' + b'9' * 5000 + b'}', b'{"steps": 5}'):
            control.sendall(line + b'\\n')
        """
    )
    result = run(make(script))
    assert (result.reason, result.exit_code, result.steps) == ("exit", 0, 5)


def test_the_loss_curve_is_taken_from_the_output(make: Callable[..., Spec], tmp_path: Path) -> None:
    script = """
        for step, loss in ((1, 3.5), (2, 3.25), (3, 'nan'), (4, '1.2.3'), (5, 3.0)):
            print(f'step {step} loss {loss} budget 3%')
        print('no step, no loss')
    """
    result = run(make(script))
    lines = [line.split("\t")[1:] for line in (tmp_path / "curve.tsv").read_text().splitlines()]
    assert lines == [["step", "loss"], ["1", "3.5"], ["2", "3.25"], ["5", "3"]]
    assert result.last_loss == 3.0


def test_a_long_curve_is_thinned_out(make: Callable[..., Spec], tmp_path: Path) -> None:
    run(make("for i in range(20000): print(f'step {i} loss {20000 - i}')"))
    points = (tmp_path / "curve.tsv").read_text().splitlines()[1:]
    assert 200 <= len(points) <= 600


def test_a_flood_of_output_keeps_its_beginning_and_its_end(make: Callable[..., Spec], tmp_path: Path) -> None:
    script = "print('first')\nfor _ in range(60): print('x' * 99_999)\nprint('last')"
    run(make(script))
    log = (tmp_path / "log.txt").read_text()
    assert log.startswith("first\n")
    assert log.endswith("last\n")
    assert "bytes left out" in log
    assert len(log) < 1_500_000


def test_progress_is_reported_while_it_runs(make: Callable[..., Spec]) -> None:
    script = "import time\nfor i in range(20): print(f'step {i} loss 2.5', flush=True); time.sleep(0.05)"
    reports: list[Report] = []
    run(make(script, amount=10.0), listen=reports.append)
    assert reports
    assert all(0 <= report.share <= 1 for report in reports)
    assert reports[-1].loss == 2.5


def test_a_command_that_does_not_exist_is_an_error_of_the_user(make: Callable[..., Spec]) -> None:
    with pytest.raises(RatchetreeError, match="cannot be started"):
        asyncio.run(supervise(make("", command=("no-such-program",))))


def test_the_environment_is_an_allow_list(make: Callable[..., Spec], tmp_path: Path) -> None:
    code = (
        "import asyncio, os; os.environ['MY_SECRET_KEY'] = 'canary'\n"
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from ratchetree.trainer.processes import Spec, allowed_environment, supervise\n"
        f"spec = {make('import os; print(sorted(os.environ))')!r}\n"
        f"env = allowed_environment(workspace=Path({str(tmp_path)!r}), scratch='/x', run='r')\n"
        "asyncio.run(supervise(replace(spec, env=env)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    log = (tmp_path / "log.txt").read_text()
    assert "RATCHETREE_WORKSPACE" in log
    assert "SECRET" not in log


def test_a_run_whose_loss_is_no_number_is_ended_early_where_that_is_asked_for(make: Callable[..., Spec]) -> None:
    script = "import time\nfor i in range(3): print(f'step {i} loss nan', flush=True)\ntime.sleep(60)"
    result = run(make(script, reference=()))
    assert (result.reason, result.hopeless) == ("hopeless", "not-finite: the loss is no number")
    assert run(make(script.replace("60", "0"))).reason == "exit"
