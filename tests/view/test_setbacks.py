"""What the screens say of setback contracts is what the account says."""

from __future__ import annotations

from typing import Any

from ratchetree.search.model import SetbackContract
from ratchetree.view.setbacks import setback

CONTRACT = SetbackContract(expected_dip=0.1, max_dip=0.5, horizon=2)


def of(story: Any, node: int) -> tuple[str, int, int, int | None]:
    tree, chronicle = story.read()
    found = setback(tree, tree.node(node), chronicle.account)
    assert found is not None
    return found.state, found.used, found.spent, found.paid_by


def test_a_line_is_open_until_its_horizon_and_better_nodes_renew_it(new_story: Any) -> None:
    story = new_story().root(2.0, 2.0).park(1, 0, 2.3, contract=CONTRACT)
    assert of(story, 1) == ("open", 0, 0, None)
    assert of(story.park(2, 1, 2.4), 1) == ("open", 1, 1, None)
    assert of(story.park(3, 1, 2.2), 1) == ("open", 0, 2, None)  # the best of the line so far
    assert of(story.park(4, 3, 2.25).park(5, 3, 2.26), 1) == ("closed", 2, 4, None)


def test_an_announced_further_step_shares_the_line_and_what_pays_it_off(new_story: Any) -> None:
    story = new_story().root(2.0, 2.0).park(1, 0, 2.3, contract=CONTRACT).park(2, 1, 2.4, contract=CONTRACT)
    story.keep(3, 2, 1.5, 1.5)
    assert of(story, 1) == of(story, 2) == ("paid off", 0, 2, 3)


def test_what_flies_is_open_what_fails_has_failed_and_what_is_kept_paid_for_itself(new_story: Any) -> None:
    story = new_story().root(2.0, 2.0).fly(1, 0, contract=CONTRACT).fail(2, 0, contract=CONTRACT)
    story.keep(3, 0, 1.9, 1.9, contract=CONTRACT).park(4, 3, 2.9, contract=CONTRACT)
    assert [of(story, node)[0] for node in (1, 2, 3, 4)] == ["open", "failed", "paid off", "closed"]  # 4 is too deep
    tree, chronicle = story.read()
    assert setback(tree, tree.node(0), chronicle.account) is None
