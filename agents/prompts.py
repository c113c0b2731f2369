"""Prompts: Markdown that people edit (`program/prompts/*.md`), filled by name. What they say stands there, not here."""

from __future__ import annotations

import re
from importlib import resources

from ..search.errors import RatchetreeError

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def template(name: str) -> str:
    """The text of a prompt that ships with ratchetree, by its file's name: planner, plan, coder, write, ..."""
    return (resources.files("ratchetree") / "program" / "prompts" / f"{name}.md").read_text(encoding="utf-8")


def fill(template_text: str, **values: str) -> str:
    """The text with every `{{name}}` replaced by the value of that name.

    Every placeholder needs its value and every value its placeholder, else RatchetreeError. Values are put in as they
    are: what looks like a placeholder inside one stays text.
    """
    wanted = set(_PLACEHOLDER.findall(template_text))
    missing, unused = sorted(wanted - values.keys()), sorted(values.keys() - wanted)
    if missing or unused:
        problems = [f"no value for {{{{{name}}}}}" for name in missing] + [f"no place for {name!r}" for name in unused]
        known = ", ".join(sorted(wanted)) or "none"
        raise RatchetreeError(f"the prompt cannot be filled: {'; '.join(problems)}; its placeholders: {known}")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template_text)
