"""Runs the ancestor's `train.py` as a trial, and builds its model for the scorer. Patches may not touch this file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import prepare  # noqa: F401 - the script imports it, and it must be this one
import rebuild


def build_model(task: Any) -> Any:
    """The script's model, untrained: the script is run until it asks for data."""
    sys.path.insert(0, str(Path(__file__).parent))
    rebuild.active = True
    try:
        end = rebuild.run_script()
    finally:
        rebuild.active = False
    model = rebuild.model_in(end.__traceback__) if isinstance(end, rebuild.Asked) else None
    if model is None:
        raise RuntimeError("build: train.py has no model when it asks for data, or does not ask")
    return rebuild.wrapped(model)


def main() -> None:
    """A trial."""
    end = rebuild.run_script()
    if end is not None and not rebuild.kept:
        model = rebuild.model_in(end.__traceback__)
        if model is None:
            raise RuntimeError("build: the budget was used up, and train.py has no model")
        rebuild.keep(model)


if __name__ == "__main__":
    main()
