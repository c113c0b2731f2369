"""MLflow: one run; where it goes is MLFLOW_TRACKING_URI's business, else SQLite in `.ratchetree`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Mlflow:
    """Implements Backend."""

    def __init__(self, mlflow: Any) -> None:
        self._mlflow = mlflow

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Metrics at a step."""
        self._mlflow.log_metrics(values, step=step)

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


def connect(campaign: str, folder: Path) -> Mlflow:
    """Start a run in the experiment `ratchetree`."""
    import mlflow  # type: ignore[import-not-found,unused-ignore]

    if "MLFLOW_TRACKING_URI" not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("ratchetree")
    mlflow.start_run(run_name=campaign)
    return Mlflow(mlflow)
