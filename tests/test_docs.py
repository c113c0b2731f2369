"""What the README says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from ratchetree import cli
from ratchetree.search.model import Verdict
from ratchetree.search.policies import POLICIES
from ratchetree.search.ratchet import PRESETS
from ratchetree.search.settings import parse_settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


def test_every_command_is_in_the_readme_and_every_command_in_the_readme_exists() -> None:
    mentioned = set(re.findall(r"`(?:ratchetree )?([a-z]+)[^`]*`", README))
    assert set(COMMANDS) <= mentioned
    told = set(re.findall(r"(?:`|^|\$ )ratchetree ([a-z]+)", README, re.MULTILINE))
    assert told <= set(COMMANDS)


def test_every_option_in_the_readme_exists() -> None:
    for command, rest in re.findall(r"`ratchetree ([a-z]+)([^`]*)`", README):
        known = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in known, f"ratchetree {command} {option}"


def test_the_table_of_policies_is_the_registry() -> None:
    table = README.split("| policy | rule |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)`[^|]*\|", table, re.MULTILINE) == list(POLICIES)
    default = parse_settings("").search.policy
    assert "(default)" in next(line for line in table.splitlines() if f"`{default}`" in line)


def test_the_map_of_the_house_names_every_folder() -> None:
    house = README.split("## The house")[1].split("```")[1]
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"program"}
    assert set(re.findall(r"^([a-z]+)/ ", house, re.MULTILINE)) == folders - {"tests"}


def test_the_words_for_verdicts_are_those_of_the_code() -> None:
    line = next(line for line in README.splitlines() if line.startswith("| verdict |"))
    assert re.findall(r"`([a-z]+)` \(", line) == [str(verdict) for verdict in Verdict]


@pytest.mark.parametrize("target", ["demo", "test", "deps"])
def test_the_makefile_has_what_the_readme_tells_to_type(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "program").glob("*/ratchetree.toml"), key=str), ids=lambda p: p.parent.name
)
def test_every_task_has_a_valid_toml_whose_comments_name_the_presets(path: Path) -> None:
    text = path.read_text()
    settings = parse_settings(text)
    assert settings.task.editable == ("train.py",)
    assert " | ".join(PRESETS) in text
    assert path.parent.name in cli.TASKS


def test_ci_calls_make_test_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -e", 'cd "$(dirname "$0")/.."', "make test"]


def test_no_file_of_the_project_names_a_machine_or_a_registry() -> None:
    hidden = re.compile(r"/(?:work|farm|root)/|pypi\.org|registry\.npmjs")
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT)
        if (
            inside.parts[0] in {".git", ".venv", "build", "demo"}
            or path.suffix in {".pyc", ".db"}
            or not path.is_file()
        ):
            continue
        if "node_modules" in inside.parts:  # what `make page` was built with
            continue
        if any(part.startswith(".") and part != ".ci" for part in inside.parts[:-1]) or path == Path(__file__):
            continue
        assert not hidden.search(path.read_text(errors="replace")), inside
