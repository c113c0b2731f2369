"""Campaigns with model-backed agents from the command line: the rehearsal's server, real git, real training."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratchetree.agents.rehearsal import Fault, Rehearsal
from ratchetree.agents.rehearsed import catalogue
from ratchetree.search.events import Called, Event, Planned, Requested, Selected, Written
from ratchetree.storage.journal import SqliteJournal

pytestmark = pytest.mark.slow

KEY = "sk-ant-canary-0123456789abcdef0123456789"
TOML = """
[search]
in_flight = {in_flight}
[ratchet]
preset = "naive"
[trainer]
slots = 1
{trainer}
[budget]
kind = "wall"
seconds = {seconds}
[task]
metric = {{ name = "val_loss", direction = "min" }}
scorer = "printed"
[agents]
planner = {{ backend = "claude", digest_tokens = 1500 }}
coder = {{ backend = "claude" }}
{more}
"""
SYNTHETIC = 'executor = "synthetic"'


@pytest.fixture
def server() -> Iterator[Rehearsal]:
    with Rehearsal(catalogue(), key=KEY) as running:
        yield running


@pytest.fixture
def prepared(ratchetree: Any, git: Callable[..., str], tmp_path: Path) -> Callable[..., Path]:
    """A workspace of the example task for the models."""

    def make(name: str = "w", *, in_flight: int = 1, trainer: str = SYNTHETIC, more: str = "", train: str = "") -> Path:
        folder = tmp_path / name
        assert ratchetree("init", folder, "--task", "command").code == 0
        seconds = 0.01 if trainer == SYNTHETIC else 30
        toml = TOML.format(in_flight=in_flight, trainer=trainer, more=more, seconds=seconds)
        (folder / "ratchetree.toml").write_text(toml)
        if train:
            script = (folder / "train.py").read_text()
            (folder / "train.py").write_text(script.replace("def main():\n", f"def main():\n    {train}\n"))
        git(folder, "commit", "-qam", "settings")
        return folder

    return make


def with_server(ratchetree: Any, server: Rehearsal, key: str = KEY) -> Any:
    return replace(
        ratchetree,
        environment=ratchetree.environment | {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": key},
    )


def journalled(folder: Path) -> list[Event]:
    path = folder / ".ratchetree" / "journal.db"
    if not path.exists():
        return []
    journal = SqliteJournal.read(path)
    events = [event for _, event in journal.events()]
    journal.close()
    return events


def test_a_campaign_killed_and_resumed_pays_for_no_call_twice_and_the_key_is_nowhere(
    ratchetree: Any, server: Rehearsal, prepared: Any, git: Callable[..., str]
) -> None:
    print_environment = "print(sorted(os.environ.items()))"
    folder = prepared(in_flight=3, trainer="", train=print_environment)
    cli, rng, kills, said = with_server(ratchetree, server), random.Random(3), 6, ""
    server.seconds = lambda number: 0.05 + 0.1 * (number % 3)
    for _ in range(kills):
        running = cli.start("run", folder, "--experiments", "1000000")
        time.sleep(rng.uniform(1.0, 3.0))  # how long it lives is the experiment here, not a wait for something
        assert running.poll() is None, running.communicate()
        running.kill()
        said += running.communicate()[0]
    done = cli("run", folder, "--experiments", "22")
    assert done.code == 0, done.errors
    said += done.out + done.errors

    calls = [event.call for event in journalled(folder) if isinstance(event, Called)]
    bills = {bill.request_id: bill for bill in server.bills}
    assert len({call.request_id for call in calls}) == len(calls), "a call is journalled once"
    in_the_air = bills.keys() - {call.request_id for call in calls}
    assert len(in_the_air) <= 3 * kills
    for call in calls:
        bill = bills[call.request_id]
        assert (call.input_tokens, call.output_tokens) == (bill.input_tokens, bill.output_tokens)
        assert (call.cache_write_tokens, call.cache_read_tokens) == (bill.cache_write_tokens, bill.cache_read_tokens)
    asked = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    again = sum(count - 1 for count in asked.values())
    assert again <= len(in_the_air), "nothing was asked twice but what was in the air"

    status = cli("status", folder, "--json").json
    assert status["experiments"] >= 22
    assert status["in_flight"] == 0
    counted = sum(bills[call.request_id].tokens for call in calls)
    assert status["spent"]["tokens"] == counted
    assert status["spent"]["dollars"] == pytest.approx(
        sum(_dollars(bills[call.request_id]) for call in calls), abs=1e-6
    )
    assert cli("verify", folder).code == 0

    said += cli("status", folder).out + cli("show", "1", "-C", folder).out + cli("log", "1", "-C", folder).out
    assert "RATCHETREE" in cli("log", "1", "-C", folder).out, "the training script did print its environment"
    said += git(folder, "log", "--all", "-p", "--notes=ratchetree")
    assert "canary" not in said
    for path in folder.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes(), path


def _dollars(bill: Any) -> float:
    """By hand: what the server counted, times the public list: output five times the input price, writing to the cache
    twice (an hour) or 1.25 times (five minutes), reading a tenth."""
    price = {"claude-opus-5-5": 4.0, "claude-sonnet-5-5": 2.0}[bill.model]
    written = bill.cache_write_1h_tokens * 2 + (bill.cache_write_tokens - bill.cache_write_1h_tokens) * 1.25
    tokens = bill.input_tokens + 5 * bill.output_tokens + written + 0.1 * bill.cache_read_tokens
    return float(price * tokens / 1e6)


def test_a_recorded_campaign_speaks_again_byte_for_byte(
    ratchetree: Any, server: Rehearsal, prepared: Any, git: Callable[..., str], tmp_path: Path
) -> None:
    server.seconds = lambda number: 0.03 * (number % 5)  # so that experiments overtake each other
    first = prepared("first", in_flight=4)
    assert with_server(ratchetree, server)("run", first, "--experiments", "6").code == 0
    recorded = tmp_path / "recorded.db"
    shutil.copy(first / ".ratchetree" / "journal.db", recorded)
    second = prepared("second", in_flight=4)
    toml = (second / "ratchetree.toml").read_text()
    toml = re.sub(r'backend = "claude"', f'backend = "replay", journal = "{recorded}"', toml)
    (second / "ratchetree.toml").write_text(toml)
    git(second, "commit", "-qam", "replay")
    said = ratchetree("run", second, "--experiments", "6")
    assert said.code == 0, said.errors
    one, two = (by_experiment(journalled(folder)) for folder in (first, second))
    assert len(one) == 6
    assert one == two
    assert ratchetree("status", second, "--json").json["spent"]["dollars"] == 0.0


def by_experiment(events: list[Event]) -> dict[int, list[Any]]:
    """What was selected, said, planned and written for each experiment, in order."""
    found: dict[int, list[Any]] = {}
    for event in events:
        told = {
            Selected: lambda e: e.options,
            Called: lambda e: e.reply,
            Planned: lambda e: (e.parent, e.asked, e.outcome),
            Written: lambda e: (e.patch, e.digest),
        }.get(type(event))
        if told is not None:
            found.setdefault(event.experiment, []).append(told(event))
    return found


def test_a_server_that_fails_for_a_while_costs_nothing_and_the_campaign_goes_on(
    ratchetree: Any, server: Rehearsal, prepared: Any
) -> None:
    server.faults = lambda number: Fault(status=529, retry_after=0.01) if 5 <= number < 15 else None
    folder = prepared()
    said = with_server(ratchetree, server)("run", folder, "--experiments", "4")
    assert said.code == 0, said.errors
    assert "529" in said.out
    assert "answers again" in said.out
    calls = [event.call for event in journalled(folder) if isinstance(event, Called)]
    assert sum(call.tokens for call in calls) == sum(bill.tokens for bill in server.bills)
    assert {call.error for call in calls} == {""}
    spent = ratchetree("status", folder, "--json").json["spent"]
    assert ratchetree("rebuild", folder).code == 0
    assert ratchetree("status", folder, "--json").json["spent"] == spent, "git knows the bill too"


def test_a_campaign_that_waits_for_its_server_can_be_stopped_and_goes_on_later(
    ratchetree: Any, server: Rehearsal, prepared: Any
) -> None:
    server.faults = lambda number: Fault(status=529)
    folder, cli = prepared(in_flight=2), with_server(ratchetree, server)
    running = cli.start("run", folder, "--experiments", "3")
    said = ""
    while "trying again until it answers" not in said:
        line = running.stdout.readline()
        assert line, f"it ended: {said}"
        said += line
    running.send_signal(signal.SIGINT)
    said += running.communicate()[0]
    assert running.returncode == 0, said
    assert ratchetree("status", folder, "--json").json["in_flight"] == 2
    server.faults = lambda number: None
    assert cli("run", folder, "--experiments", "3").code == 0
    status = ratchetree("status", folder, "--json").json
    assert (status["experiments"], status["in_flight"]) == (3, 0)


def test_a_limit_in_tokens_leaves_room_for_what_is_in_the_air(
    ratchetree: Any, server: Rehearsal, prepared: Any
) -> None:
    folder = prepared(in_flight=2, more="[limits]\ntokens = 60_000")
    said = with_server(ratchetree, server)("run", folder)
    assert said.code == 0, said.errors
    status = ratchetree("status", folder, "--json").json
    assert status["stopped"] == "the limit of 60,000 tokens"
    assert 25_000 < status["spent"]["tokens"] <= 60_000


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("sk-ant-canary-wrong-00000000000000", "says 401"),
        ("", "needs a key"),
    ],
)
def test_what_cannot_begin_says_so_in_one_line_before_anything_runs(
    ratchetree: Any, server: Rehearsal, prepared: Any, key: str, says: str
) -> None:
    folder = prepared()
    cli = with_server(ratchetree, server, key) if key else ratchetree
    said = cli("run", folder, "--experiments", "1")
    assert (said.code, says in said.errors, said.errors.count("\n")) == (2, True, 1), said.errors
    assert "canary" not in said.out + said.errors
    assert not any(isinstance(event, Called) for event in journalled(folder))


def test_a_limit_in_dollars_needs_prices(ratchetree: Any, prepared: Any, git: Callable[..., str]) -> None:
    folder = prepared(more="[limits]\ndollars = 5")
    toml = (folder / "ratchetree.toml").read_text()
    (folder / "ratchetree.toml").write_text(
        toml.replace('"claude" }', '"claude", model = "llama", base_url = "http://x" }')
    )
    git(folder, "commit", "-qam", "llama")
    said = ratchetree("run", folder, "--experiments", "1")
    assert said.code == 2
    assert "the price of 'llama' (coder) is not known" in said.errors


# -- an agent outside as the researcher -------------------------------------------------------------------------------


@pytest.fixture
def offline(ratchetree: Any, prepared: Any, git: Callable[..., str]) -> Path:
    """A workspace with two experiments of the offline agents."""
    folder: Path = prepared()
    toml = (folder / "ratchetree.toml").read_text()
    (folder / "ratchetree.toml").write_text(re.sub(r"\[agents\](.|\n)*", "", toml))
    git(folder, "commit", "-qam", "offline")
    assert ratchetree("run", folder, "--experiments", "2").code == 0
    return folder


def diff(before: str, after: str, path: str = "train.py") -> str:
    import difflib

    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{path}", f"b/{path}")
    return "".join(lines)


def test_a_submission_is_an_experiment_like_any_other(ratchetree: Any, offline: Path, tmp_path: Path) -> None:
    asked = ratchetree("ask", "--json", "-C", offline).json
    option = asked["options"][0]
    script = option["files"]["train.py"]
    patch = tmp_path / "my.diff"
    patch.write_text(diff(script, script.replace("MOMENTUM = ", "MOMENTUM = 0.1 * ")))
    arguments = ("submit", "-C", offline, "--parent", str(option["node"]), "--patch", patch, "--idea", "less momentum")
    half = ratchetree(*arguments, "--dip", "0.1")
    assert (half.code, half.errors.count("\n"), "within 0 experiments: it takes both" in half.errors) == (2, 1, True)
    queued = ratchetree(*arguments, "--dip", "0.1", "--within", "4", "--json").json
    assert (queued["experiment"], queued["running"]) == (None, False)
    assert ratchetree("run", offline, "--experiments", "3").code == 0
    shown = ratchetree("show", "3", "-C", offline, "--json").json
    assert (shown["title"], shown["parent"], shown["category"]) == ("less momentum", option["node"], "outside")
    assert shown["verdict"] in ("kept", "parked")
    assert shown["setback"]["contract"]["horizon"] == 4
    assert "3" in ratchetree("ask", "-C", offline).out
    again = ratchetree(*arguments)
    assert (again.code, "0003, which was tried" in again.errors) == (2, True)
    patch.write_text(diff(script, script.replace("def main():", "def main(:")))
    wrong = ratchetree(*arguments)
    assert (wrong.code, "does not parse" in wrong.errors, wrong.errors.count("\n")) == (2, True, 1)
    taken = [event.refused for event in journalled(offline) if isinstance(event, Requested)]
    assert taken == [None]
    assert ratchetree("verify", offline).code == 0


def test_an_agent_drives_a_running_campaign_over_mcp(ratchetree: Any, offline: Path) -> None:
    running = ratchetree.start("run", offline, "--experiments", "1000000")
    try:
        answers = asyncio.run(_drive(ratchetree, offline, lambda: running.poll() is None))
    finally:
        running.terminate()
        running.communicate()
    assert answers["tools"] == ["ask", "show", "status", "submission", "submit"]
    assert answers["submitted"]["refused"] is None
    assert answers["shown"]["title"] == "from afar"
    assert answers["became"]["experiment"] == answers["submitted"]["experiment"] == answers["shown"]["id"]
    assert answers["status"]["running"] is True
    assert "no node with a score" in answers["wrong"]["error"]


async def _drive(ratchetree: Any, folder: Path, alive: Callable[[], bool]) -> dict[str, Any]:
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    command = [sys.executable, "-m", "ratchetree", "mcp", str(folder)]
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(ratchetree.environment))
    with Path(os.devnull).open("w") as nowhere:  # noqa: ASYNC230  its log
        async with Client(stdio_client(parameters, errlog=nowhere)) as session:

            async def call(tool: str, **arguments: Any) -> Any:
                result = await session.call_tool(tool, arguments)
                return json.loads(result.content[0].text)

            while not (await call("status"))["running"]:
                assert alive(), "the campaign ended at once"
            tools = sorted(tool.name for tool in (await session.list_tools()).tools)
            option = (await call("ask"))["options"][0]
            script = option["files"]["train.py"]
            patch = diff(script, script.replace("def main():", "def main():\n    assert DEGREE"))
            submitted = await call("submit", parent=option["node"], diff=patch, title="from afar")
            return {
                "tools": tools,
                "submitted": submitted,
                "shown": await call("show", experiment=submitted["experiment"]),
                "became": await call("submission", request=submitted["request"]),
                "status": await call("status"),
                "wrong": await call("submit", parent=10**6, diff=patch, title="t"),
            }
