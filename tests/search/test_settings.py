"""ratchetree.toml: what is read, and the one line that every mistake gets."""

import pytest

from ratchetree.search.errors import WrongUse
from ratchetree.search.settings import parse_settings


def refusal(text: str) -> str:
    with pytest.raises(WrongUse) as caught:
        parse_settings(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("ratchetree.toml")
    return message


def test_an_empty_file_means_the_defaults() -> None:
    settings = parse_settings("")
    assert settings.search.policy == "auto"
    assert settings.ratchet.preset == "default"
    assert settings.task.editable == ("train.py",)
    assert settings.trainer.slots == 1
    assert settings.in_flight == 2
    assert settings.limits.experiments == 100


def test_the_designs_example_is_read() -> None:
    settings = parse_settings(
        """
        [task]
        editable = ["train.py"]
        command  = ["python", "train.py"]
        metric   = { name = "val_bpb", direction = "min" }
        scorer   = "trusted"
        [budget]
        kind     = "wall"
        seconds  = 300
        startup_seconds = 180
        [search]
        policy   = "beam"
        choice   = 3
        [search.beam]
        width    = 4
        [ratchet]
        preset   = "naive"
        [agents]
        planner  = { backend = "offline" }
        coder    = { backend = "offline" }
        [trainer]
        slots    = 2
        [limits]
        experiments = 7
        """
    )
    assert settings.budget.kind == "wall"
    assert settings.search.parameters("beam") == {"width": 4}
    assert settings.search.parameters("random") == {}
    assert settings.in_flight == 3


def test_unknown_keys_name_the_key_the_value_and_what_is_allowed() -> None:
    message = refusal("[budget]\nsecond = 3\n")
    assert "budget.second = 3 is not known" in message
    assert "did you mean 'seconds'" in message
    assert "kind, seconds, tokens, startup_seconds" in message
    assert "allowed: task, budget, search" in refusal("[serach]\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[budget]\nkind = "gpu"', "budget.kind = 'gpu'"),
        ("[budget]\nseconds = -1", "budget.seconds = -1"),
        ('[budget]\nseconds = "long"', "budget.seconds = 'long'"),
        ("[trainer]\nslots = 0", "trainer.slots = 0"),
        ("[limits]\nexperiments = -1", "limits.experiments = -1"),
        ("[search]\nchoice = 0", "search.choice = 0"),
        ('[ratchet]\npreset = "lucky"', "'naive', 'fast', 'default' or 'strict'"),
        ('[agents]\nplanner = { backend = "oracle" }', "agents.planner.backend = 'oracle'"),
        ('[task]\nmetric = { name = "x", direction = "down" }', "task.metric.direction = 'down'"),
        ("[task]\neditable = []", "task.editable"),
    ],
)
def test_wrong_values_are_named(text: str, expected: str) -> None:
    assert expected in refusal(text)


@pytest.mark.parametrize("path", ["../train.py", "/etc/passwd", "a/../../b", "prepare.py", "program.md", "x\\\\y", ""])
def test_what_a_patch_is_judged_by_and_what_lies_outside_cannot_be_editable(path: str) -> None:
    assert "task.editable" in refusal(f'[task]\neditable = ["{path}"]')


def test_an_unknown_policy_names_the_nearest() -> None:
    message = refusal('[search]\npolicy = "beem"')
    assert "'beem' is not known" in message
    assert "did you mean 'beam'" in message
    assert "ratchet, beam, best-first, random" in message


def test_an_unknown_key_in_search_is_not_taken_for_a_policys_table() -> None:
    assert "'polcy' is not known; did you mean 'policy'" in refusal('[search]\npolcy = "beam"')
    assert "must be a table" in refusal("[search]\nbeam = 3")


def test_broken_toml_says_where() -> None:
    assert "line 2" in refusal("[search]\npolicy = \n")
