"""trackio: one run in the project `ratchetree`; where it goes is its own configuration's business."""

from __future__ import annotations

from pathlib import Path

from .wandb import WeightsAndBiases


def connect(campaign: str, folder: Path) -> WeightsAndBiases:
    """Start a run. trackio has wandb's interface: `init`, `log`, `finish`."""
    import trackio  # type: ignore[import-not-found,unused-ignore]

    trackio.init(project="ratchetree", name=campaign)
    return WeightsAndBiases(trackio)
