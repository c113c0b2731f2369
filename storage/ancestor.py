"""The training script of a checkout of karpathy/autoresearch, looked at before a workspace is made of it."""

from __future__ import annotations

import ast
from importlib.resources.abc import Traversable
from pathlib import Path

from ..search.errors import WrongUse


def ancestors_script(source: Path, template: Traversable) -> str:
    """The text of `train.py`, which is never changed. source: the checkout or the file; template: the task whose
    `prepare.py` stands in for the original. Raises WrongUse if they do not fit."""
    file = source / "train.py" if source.is_dir() else source
    try:
        text = file.read_text(encoding="utf-8")
        asked = imported(text)
    except OSError as error:
        raise WrongUse(f"{file} cannot be read ({error.strerror}): give a checkout of autoresearch") from error
    except (UnicodeDecodeError, SyntaxError) as error:
        raise WrongUse(f"{file} is no Python script: {error}") from error
    if not asked:
        raise WrongUse(f"{file} imports nothing from prepare: it is no training script of autoresearch")
    offered = defined((template / "prepare.py").read_text(encoding="utf-8"))
    if missing := sorted(asked - offered):
        raise WrongUse(f"{file} imports {', '.join(missing)} from prepare; offered: {', '.join(sorted(offered))}")
    return text


def imported(text: str) -> set[str]:
    """The names that a script imports from `prepare`."""
    return {
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module == "prepare"
        for alias in node.names
    }


def defined(text: str) -> set[str]:
    """The public names of a module: functions, classes, constants, and what its `__getattr__` compares a name with."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            if node.name == "__getattr__":
                names |= {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if name.isidentifier() and not name.startswith("_")}
