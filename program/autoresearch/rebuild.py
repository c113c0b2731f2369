"""Finds the model of a training script that was not written to be imported: the script is run until it has one.

The ancestor's `train.py` has no `build_model`: it builds, trains and evaluates at its top level. To rebuild its model
it is run as it stands; when it asks for data, its model exists, untrained, and there the run ends. The model is then
what the script calls `model`, or else the largest module in sight. Patches may not touch this file.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SCRIPT = Path(__file__).with_name("train.py")
active = False  # whether the script is run only for its model
kept = False  # whether a model was saved


class Asked(BaseException):
    """The script asks for data while its model is rebuilt. No `except Exception` of a script may stop it."""


class TimeUp(BaseException):
    """The budget is used up; likewise."""


def run_script() -> BaseException | None:
    """Run train.py as `python train.py` would. What ended it, if it was one of the two above."""
    namespace = {"__name__": "__main__", "__file__": str(SCRIPT), "__builtins__": __builtins__}
    try:
        exec(compile(SCRIPT.read_text(encoding="utf-8"), str(SCRIPT), "exec"), namespace)
    except (Asked, TimeUp) as end:
        return end
    return None


def model_in(traceback: types.TracebackType | None) -> Any:
    """The model in the frames of a traceback, the script's own first; None if there is none."""
    import torch

    found: list[torch.nn.Module] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_filename == str(SCRIPT):
            for names in (frame.f_locals, frame.f_globals):
                if isinstance(model := names.get("model"), torch.nn.Module):
                    return model
                found += [value for value in names.values() if isinstance(value, torch.nn.Module)]
        traceback = traceback.tb_next
    return max(found, key=lambda module: sum(p.numel() for p in module.parameters()), default=None)


def wrapped(model: Any) -> torch.nn.Module:
    """The model as the scorer asks it: ids to float logits, with the mixed precision that the script trains in."""
    import torch

    class Rebuilt(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = getattr(model, "_orig_mod", model)  # torch.compile renames every weight

        def forward(self, idx: torch.Tensor) -> torch.Tensor:
            with torch.autocast(idx.device.type, torch.bfloat16, enabled=idx.device.type == "cuda"):
                logits: torch.Tensor = self.inner(idx)
            return logits.float()

    return Rebuilt()


def keep(model: Any) -> None:
    """Save the model for the scorer. One that cannot be rebuilt is said to be so and does not end the script: then the
    number that it prints is all there is."""
    global kept
    import data

    try:
        data.save(wrapped(model))
    except RuntimeError as error:
        if not str(error).startswith("build:"):
            raise
        print(f"its model cannot be rebuilt for the scorer: {error}", flush=True)
    kept = True
