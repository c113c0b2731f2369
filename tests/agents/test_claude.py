"""The real SDK over loopback against the rehearsal's server: answers, bills, and every way in which a server fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from ratchetree.agents.claude import LOST_TRIES, REFUSALS, Access, Claude
from ratchetree.agents.conversation import CannotAsk, Dialogue, Prompt, Reply, said, text_block
from ratchetree.agents.prices import PRICES
from ratchetree.agents.rehearsal import Answer, Fault, Rehearsal, problem_of
from ratchetree.search.errors import Unavailable, WrongUse
from ratchetree.search.model import ModelCall
from ratchetree.search.ports import CallLog

MODEL = "claude-opus-5-5"
T = TypeVar("T")
PROMPT = Prompt(system="You answer.", messages=(said(text_block("What?")),))


class Log:
    """A CallLog that keeps what is recorded."""

    def __init__(self, *, stopping: bool = False) -> None:
        self.calls: list[tuple[ModelCall, str]] = []
        self.log = CallLog(record=lambda call, reply: self.calls.append((call, reply)), stopping=lambda: stopping)


class Patience:
    """A sleep that takes no time and remembers."""

    def __init__(self) -> None:
        self.slept = 0.0

    async def __call__(self, seconds: float) -> None:
        self.slept += seconds


def says(text: str) -> Callable[[Any], Answer]:
    return lambda body: Answer(content=({"type": "text", "text": text},))


def claude(server: Rehearsal, *, key: str = "k", timeout: float = 20, **others: Any) -> Claude:
    return Claude(
        Access(key=key, base_url=server.url),
        model=MODEL,
        max_tokens=1000,
        timeout_seconds=timeout,
        price=PRICES[MODEL],
        **others,
    )


def use(model: Claude, work: Coroutine[Any, Any, T]) -> T:
    """Run something in a loop of its own and let go of the model's connections."""

    async def both() -> T:
        try:
            return await work
        finally:
            await model.close()

    return asyncio.run(both())


def ask(server: Rehearsal, log: Log, prompt: Prompt = PROMPT, **others: Any) -> Reply:
    model = claude(server, **others)
    return use(model, model.say(prompt, log.log))


def check(model: Claude) -> None:
    use(model, model.check())


def failing(*faults: Fault | None) -> Callable[[int], Fault | None]:
    return lambda number: faults[number] if number < len(faults) else None


def test_an_answer_comes_with_its_bill_and_its_request_id() -> None:
    log = Log()
    with Rehearsal(says("This.")) as server:
        reply = ask(server, log)
    assert (reply.text, reply.stop) == ("This.", "end_turn")
    [(call, recorded)] = log.calls
    [bill] = server.bills
    assert Reply.decode(recorded) == reply
    assert (call.input_tokens, call.output_tokens) == (bill.input_tokens, bill.output_tokens)
    assert call.request_id == bill.request_id == "req_rehearsal_000000"
    assert call.dollars == pytest.approx((bill.input_tokens * 4 + bill.output_tokens * 20) / 1e6, abs=1e-9)


def test_the_stable_part_of_a_prompt_is_paid_for_once_an_hour() -> None:
    log, now = Log(), [0.0]
    long = Prompt(system="word " * 2000, messages=PROMPT.messages)
    with Rehearsal(says("Yes."), clock=lambda: now[0]) as server:
        for at in (0.0, 3000.0, 6500.0, 10_200.0):
            now[0] = at
            ask(server, log, long)
    written = [call.cache_write_tokens for call, _ in log.calls]
    read = [call.cache_read_tokens for call, _ in log.calls]
    size = written[0]
    assert size > 2000
    assert written == [size, 0, 0, size]  # a use renews it; 3,700 s without one do not
    assert read == [0, size, size, 0]
    first, second = (call.dollars or 0.0 for call, _ in log.calls[:2])
    assert first - second == pytest.approx(size * (8.0 - 0.4) / 1e6)  # written for twice the price, read for a tenth


@pytest.mark.parametrize("status", [408, 429, 500, 503, 529])
def test_what_passes_by_itself_is_waited_for(status: int) -> None:
    log, patience, said_lines = Log(), Patience(), list[str]()
    with Rehearsal(says("Yes."), faults=failing(*[Fault(status=status)] * 3)) as server:
        reply = ask(server, log, sleep=patience, tell=said_lines.append)
    assert reply.text == "Yes."
    assert patience.slept == 2 + 4 + 8
    assert len(log.calls) == 1, "what failed costs nothing"
    assert [str(status) in said_lines[0], said_lines[1]] == [True, f"{MODEL} answers again"]
    assert len(said_lines) == 2


def test_the_server_says_how_long_to_wait() -> None:
    patience = Patience()
    with Rehearsal(says("Yes."), faults=failing(Fault(status=429, retry_after=17))) as server:
        ask(server, Log(), sleep=patience)
    assert patience.slept == 17


def test_a_server_that_is_away_for_hours_is_waited_for() -> None:
    patience, servers = Patience(), list[Rehearsal]()
    with Rehearsal(says("Yes.")) as gone:
        port = int(gone.url.rpartition(":")[2])

    async def come_back_after_two_hours(seconds: float) -> None:
        await patience(seconds)
        if patience.slept >= 7200 and not servers:
            servers.append(Rehearsal(says("Yes."), port=port))
            servers[0].start()

    model = claude(gone, sleep=come_back_after_two_hours)
    reply = use(model, model.say(PROMPT, Log().log))
    servers[0].stop()
    assert reply.text == "Yes."
    assert 7200 <= patience.slept < 7200 + 300


def test_a_campaign_that_stops_does_not_wait() -> None:
    with Rehearsal(says("Yes."), faults=lambda number: Fault(status=529)) as server, pytest.raises(Unavailable):
        ask(server, Log(stopping=True), sleep=Patience())


@pytest.mark.parametrize(
    "fault",
    [Fault(cut_after=3), Fault(error_after=4), Fault(raw=b""), Fault(raw=b"<html>proxy</html>"), Fault(delay=3)],
    ids=["cut", "error in the stream", "empty", "not SSE", "too slow"],
)
def test_an_answer_that_breaks_off_is_asked_for_again_but_not_for_ever(fault: Fault) -> None:
    timeout = 0.3 if fault.delay else 20.0
    log = Log()
    with Rehearsal(says("Yes, " * 500), faults=failing(fault)) as server:
        assert ask(server, log, sleep=Patience(), timeout=timeout).stop == "end_turn"
    begun = fault.cut_after or fault.error_after
    assert [bool(call.error) for call, _ in log.calls] == ([True, False] if begun else [False])
    if not fault.delay:  # what comes too late is on the bill, and nobody can know
        assert sum(call.tokens for call, _ in log.calls) == sum(bill.tokens for bill in server.bills)
    with (
        Rehearsal(says("Yes, " * 500), faults=lambda number: fault) as server,
        pytest.raises(CannotAsk, match=f"{LOST_TRIES} tries"),
    ):
        ask(server, Log(), sleep=Patience(), timeout=timeout)


def test_an_answer_without_measure_is_not_taken() -> None:
    log = Log()
    with Rehearsal(says("x" * 2_100_000)) as server, pytest.raises(CannotAsk, match=r"2,1\d\d,\d+ characters"):
        ask(server, log, sleep=Patience())
    assert [reply for _, reply in log.calls] == [""] * LOST_TRIES
    assert all(call.dollars for call, _ in log.calls)


@pytest.mark.parametrize(("status", "hint"), [(401, "ANTHROPIC_API_KEY"), (402, "account"), (404, "model")])
def test_a_wrong_key_or_model_is_the_users_to_mend(status: int, hint: str) -> None:
    with (
        Rehearsal(says("Yes."), faults=lambda number: Fault(status=status)) as server,
        pytest.raises(WrongUse, match=hint) as caught,
    ):
        ask(server, Log(), key="sk-ant-canary-000000000000000000")
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_worked_is_not_called_wrong_but_waited_for() -> None:
    patience, log = Patience(), Log()
    with Rehearsal(says("Yes."), faults=failing(None, Fault(status=402), Fault(status=401))) as server:
        model = claude(server, sleep=patience)

        async def twice() -> None:
            await model.say(PROMPT, log.log)
            await model.say(PROMPT, log.log)

        use(model, twice())
    assert len(log.calls) == 2
    assert patience.slept > 0


def test_wrong_keys_and_models_are_known_before_anything_costs_anything() -> None:
    with Rehearsal(says("Yes."), key="right", models=("another",)) as server:
        with pytest.raises(WrongUse, match="401"):
            check(claude(server, key="wrong"))
        with pytest.raises(WrongUse, match=MODEL):
            check(claude(server, key="right"))
    for counts in (True, False):
        with Rehearsal(says("Yes."), counts=counts) as server:
            check(claude(server))
    check(claude(server))  # a server that is away may come back
    assert server.bills == []


def test_a_request_that_is_refused_for_good_fails_alone_until_all_are() -> None:
    with Rehearsal(says("Yes."), faults=lambda number: Fault(status=413, message="too large")) as server:
        model = claude(server)

        async def again_and_again() -> None:
            for _ in range(REFUSALS - 1):
                with pytest.raises(CannotAsk, match="too large"):
                    await model.say(PROMPT, Log().log)
            with pytest.raises(WrongUse, match="in a row"):
                await model.say(PROMPT, Log().log)

        use(model, again_and_again())


def test_a_server_without_structured_output_is_asked_in_words() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    prompt = Prompt(system="s", messages=PROMPT.messages, schema=schema)
    with Rehearsal(says('{"a": 1}'), structured=False) as server:
        model = claude(server)

        async def twice() -> list[Reply]:
            return [await model.say(prompt, Log().log) for _ in range(2)]

        replies = use(model, twice())
    assert [reply.text for reply in replies] == ['{"a": 1}'] * 2
    assert ["output_config" in body for body in server.requests] == [True, False, False]


def test_a_recorded_answer_is_not_paid_for_again() -> None:
    log = Log()
    with Rehearsal(says("Yes.")) as server:
        first = ask(server, log)
        model = claude(server)
        again = Dialogue(model, CallLog(replies=(log.calls[0][1],), record=log.log.record))

        async def replay() -> tuple[Reply, Reply]:
            return await again.ask(PROMPT), await again.ask(PROMPT)

        recorded, fresh = use(model, replay())
    assert recorded == first == fresh
    assert len(server.bills) == len(log.calls) == 2


def test_a_model_without_a_price_has_an_unknown_cost() -> None:
    log = Log()
    with Rehearsal(says("Yes.")) as server:
        model = Claude(
            Access(key="k", base_url=server.url), model="llama", max_tokens=100, timeout_seconds=9, price=None
        )
        use(model, model.say(PROMPT, log.log))
    assert log.calls[0][0].cost is None
    assert ModelCall(backend="offline").cost == 0.0


def test_keys_are_not_shown() -> None:
    access = Access(key="sk-ant-canary", token="canary", base_url="http://localhost")
    assert "canary" not in repr(access)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-empty"),
        (
            {
                "messages": [
                    {"role": "user", "content": "x"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
                    {"role": "user", "content": "x"},
                ]
            },
            "tool_result",
        ),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5}, "maximum of 4"),
    ],
)
def test_the_rehearsal_is_as_strict_as_the_real_server(change: dict[str, Any], wrong: str) -> None:
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]}
    assert problem_of(body) is None
    assert wrong in (problem_of(body | change) or "")
