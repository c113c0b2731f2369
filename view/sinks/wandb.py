"""Weights & Biases: one run in the project `ratchetree`; where it goes is its own configuration's business."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class WeightsAndBiases:
    """Implements Backend over wandb, or a library with its interface."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Numbers at an experiment; experiments end out of order, so the number is logged too."""
        self._library.log({**values, "experiment": step})

    def close(self) -> None:
        """Flush and end."""
        self._library.finish()


def connect(campaign: str, folder: Path) -> WeightsAndBiases:
    """Start a run."""
    import wandb  # type: ignore[import-not-found,unused-ignore]

    wandb.init(project="ratchetree", name=campaign)
    return WeightsAndBiases(wandb)
