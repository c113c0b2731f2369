"""The registry of backends, what settings may say of them, and the price table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from ratchetree.agents.backends import BACKENDS, CODER_MODEL, PLANNER_MODEL, Surroundings, make_agents
from ratchetree.agents.command import Ground
from ratchetree.agents.outside_writes import Guarded
from ratchetree.agents.prices import PRICES, price_of
from ratchetree.search.errors import WrongUse
from ratchetree.search.settings import BackendSettings, settings_from

CANARY = "sk-ant-canary"


def settings(planner: dict[str, Any], **tables: Any) -> Any:
    return settings_from({"agents": {"planner": planner, "coder": planner}, **tables})


def test_settings_know_exactly_the_backends_there_are() -> None:
    assert set(get_args(BackendSettings.model_fields["backend"].annotation)) == set(BACKENDS)
    assert {PLANNER_MODEL, CODER_MODEL} <= PRICES.keys()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"backend": "gpt"}, "'gpt'"),
        ({"backend": "claude", "modle": "x"}, "did you mean 'model'"),
        ({"backend": "claude", "api_key": CANARY}, "api_key"),
        ({"backend": "command"}, "needs command"),
        ({"backend": "replay"}, "needs journal"),
        ({"backend": "claude", "base_url": "http://user:pass@host"}, "keys come from the environment"),
        ({"backend": "claude", "turns": 0}, "turns"),
        ({"backend": "command", "command": ["x"], "writable": ["here"]}, "no path below / or ~"),
        ({"backend": "command", "command": ["x"], "sandbox": "docker"}, "'bubblewrap'"),
    ],
)
def test_what_settings_may_not_say(table: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongUse, match=says) as caught:
        settings(table)
    assert "\n" not in str(caught.value)


def test_a_key_is_needed_where_the_server_needs_one_and_is_never_shown() -> None:
    with pytest.raises(WrongUse, match="ANTHROPIC_API_KEY"):
        make_agents(settings({"backend": "claude"}), Surroundings(environment={}))
    make_agents(settings({"backend": "claude", "base_url": "http://localhost:1"}), Surroundings(environment={}))
    around = Surroundings(environment={"ANTHROPIC_API_KEY": CANARY})
    agents = make_agents(settings({"backend": "claude"}), around)
    assert CANARY not in f"{around!r} {agents!r} {agents.models!r}"


def test_a_limit_in_dollars_wants_prices() -> None:
    local = {"backend": "claude", "model": "llama", "base_url": "http://localhost:1"}
    limited = {"limits": {"dollars": 5}}
    with pytest.raises(WrongUse, match="price of 'llama'"):
        make_agents(settings(local, **limited), Surroundings(environment={}))
    priced = settings_from(
        {
            "agents": {"planner": local, "coder": local, "prices": {"llama": {"input": 0, "output": 0}}},
            **limited,
        }
    )
    make_agents(priced, Surroundings(environment={}))
    command = settings({"backend": "command", "command": ["x"]}, **limited)
    with pytest.raises(WrongUse, match="what a command costs"):
        make_agents(command, Surroundings(environment={}))


def test_a_listed_variable_that_is_not_set_is_a_mistake() -> None:
    table = {"backend": "command", "command": ["x"], "environment": ["MINE"]}

    async def run(*_: Any) -> Any:
        raise AssertionError

    guarded = Guarded(folder=Path("/w"), refs=dict, carried=lambda path: None)
    ground = Ground(run=run, export=lambda commit, folder: None, folder=Path("/w/trees"), guarded=guarded)
    around = Surroundings(environment={}, ground=ground)
    with pytest.raises(WrongUse, match="MINE, which is not set"):
        make_agents(settings(table), around)


def test_prices_are_the_public_lists() -> None:
    opus, haiku = PRICES["claude-opus-5-5"], PRICES["claude-haiku-5-5"]
    # a million of each kind: 4 + 20 + 5 + 8 + 0.4
    million = 1_000_000
    assert opus.dollars(input=million, output=million, write_5m=million, write_1h=million, read=million) == 37.4
    assert haiku.dollars(input=100_000, output=1000) == pytest.approx(0.0105)
    assert haiku.dollars(input=100_001, output=1000) == pytest.approx(5 * (0.0100001 + 0.0005))
    assert price_of("claude-unheard-of", {}) is None
    own = settings_from({"agents": {"prices": {"claude-opus-5-5": {"input": 1, "output": 2}}}}).agents.prices
    mine = price_of("claude-opus-5-5", own)
    assert mine is not None
    assert mine.dollars(input=million, output=million, read=million) == pytest.approx(3.1)
