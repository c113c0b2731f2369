"""What the search remembers: facts of the journal only."""

from __future__ import annotations

from ratchetree.search.events import Event, Judged, Planned, Written
from ratchetree.search.memory import Memory
from ratchetree.search.model import (
    Edit,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    ModelCall,
    Patch,
    SetbackContract,
    Verdict,
)
from ratchetree.search.tree import Tree

CALL = ModelCall(backend="test")
NOTHING: Failure | None = None


class Told:
    """A memory that is told a story, over a tree that knows its losses."""

    def __init__(self) -> None:
        self.memory, self.tree = Memory(), Tree()
        self.tree._reserve(64)

    def plan(self, node: int, parent: int, contract: SetbackContract | None = None, operator: str = "") -> None:
        idea = Idea(
            title="t", hypothesis="", mechanism="", category="c", brief=f"b{node}", contract=contract, operator=operator
        )
        asked = ExpansionKind.IMPROVE
        self._tell(Planned(time=0.0, experiment=node, parent=parent, asked=asked, outcome=idea, call=CALL))

    def judge(self, node: int, verdict: Verdict, failure: Failure | None = None) -> None:
        self._tell(Judged(time=0.0, experiment=node, verdict=verdict, reason="", against=0, failure=failure))

    def write(self, node: int, *edits: tuple[str, str], attempt: int = 0) -> Patch:
        patch = Patch(edits=tuple(Edit(path="train.py", old=old, new=new) for old, new in edits))
        event = Written(
            time=0.0,
            experiment=node,
            attempt=attempt,
            patch=patch,
            failure=NOTHING,
            digest=f"d{node}",
            lines_added=1,
            lines_removed=1,
            call=CALL,
        )
        self._tell(event)
        return patch

    def _tell(self, event: Event) -> None:
        self.memory.observe(self.tree, event)


def test_a_contract_is_used_by_its_line_and_paid_by_a_kept_node_in_it() -> None:
    told, contract = Told(), SetbackContract(expected_dip=0.1, max_dip=0.2, horizon=2)
    told.plan(1, 0, contract)
    told.judge(1, Verdict.PARKED)
    told.plan(2, 0)  # another line
    assert {node: debt.used for node, debt in told.memory.open_debts.items()} == {1: 0}
    told.plan(3, 1)
    told.judge(3, Verdict.PARKED)
    told.plan(4, 3)
    assert told.memory.open_debts == {}, "its two experiments are begun"
    told.judge(4, Verdict.KEPT)
    assert told.memory.debts[1].paid


def test_a_plateau_is_counted_from_mains_last_move() -> None:
    told = Told()
    told.judge(0, Verdict.KEPT)
    crash = Failure(kind=FailureKind.CRASH, message="")
    for node, verdict in enumerate((Verdict.PARKED, Verdict.FAILED, Verdict.KEPT, Verdict.PARKED), start=1):
        told.plan(node, 0, operator="refine")
        told.judge(node, verdict, crash if verdict is Verdict.FAILED else None)
    assert told.memory.dry == 1
    assert told.memory.failures == {FailureKind.CRASH: 1}
    record = told.memory.operators["refine"]
    assert (record.tried, record.kept, record.failed, record.in_flight) == (4, 1, 1, 0)
    assert told.memory.children(0) == [1, 2, 3, 4]


def test_a_change_is_known_again_wherever_it_was_made_and_a_repair_takes_its_place() -> None:
    told = Told()
    told.plan(1, 0)
    told.plan(2, 1)
    first = told.write(1, ("x = 1\nLR = 0.1  # rate\n", "x = 1\nLR = 0.2  # rate\n"))
    told.write(2, ("LR = 0.1\n", "LR = 0.2\n"))
    assert told.memory.made(first) == [1, 2]
    assert {node: value.after for node, value in told.memory.settings["LR"].items()} == {1: "0.2", 2: "0.2"}
    mended = told.write(2, ("LR = 0.1\n", "LR = 0.3\n"), attempt=1)
    assert (told.memory.made(first), told.memory.made(mended)) == ([1], [2])
    assert told.memory.settings["LR"][2].after == "0.3"
    told.judge(2, Verdict.PARKED)
    assert told.memory.made(mended) == [2]
    assert told.memory.made(Patch(edits=(Edit(path="train.py", old="", new="whole"),))) == []


def test_the_largest_gain_of_a_kind_is_remembered() -> None:
    told = Told()
    told.tree.loss[:4] = (1.0, 0.9, 0.97, 1.2)
    for node in (1, 2, 3):
        told.plan(node, 0, operator="refine")
        told.judge(node, Verdict.PARKED)
    record = told.memory.operators["refine"]
    assert (round(record.gained, 6), record.improved, record.last) == (0.1, 2, 3)


def test_what_was_starved_of_its_machine_leaves_no_mark_on_its_idea() -> None:
    told = Told()
    told.plan(1, 0)
    patch = told.write(1, ("LR = 0.1\n", "LR = 0.2\n"))
    assert told.memory.tried_on(0) == {"b1"}
    told.judge(1, Verdict.FAILED, Failure(kind=FailureKind.STARVED, message=""))
    record = told.memory.brief("b1")
    assert (record.tried, record.failed, record.in_flight, told.memory.dry) == (0, 0, 0, 0)
    assert told.memory.tried_on(0) == frozenset()
    assert told.memory.made(patch) == []
