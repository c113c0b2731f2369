"""TensorBoard: event files in `.ratchetree/tensorboard`, by the `tensorboard` package alone (no torch)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class TensorBoard:
    """Implements Backend."""

    def __init__(self, writer: Any, event: Any, summary: Any) -> None:
        self._writer, self._event, self._summary = writer, event, summary

    def numbers(self, values: dict[str, float], step: int) -> None:
        """One event with all of them."""
        summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=v) for tag, v in values.items()])
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def connect(campaign: str, folder: Path) -> TensorBoard:
    """Open a new event file."""
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-not-found,unused-ignore]
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-not-found,unused-ignore]
    from tensorboard.summary.writer.event_file_writer import (  # type: ignore[import-not-found,unused-ignore]
        EventFileWriter,
    )

    return TensorBoard(EventFileWriter(str(folder / "tensorboard" / campaign)), Event, Summary)
