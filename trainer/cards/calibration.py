"""Is a card still as fast as it was? Two seconds of measuring, before a campaign's first trial and every few after."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from ..processes import Run, allowed_environment, supervise, timed

SECONDS = 2.0
SIZE = 8192  # 1.1 TFLOP a product, 134 MB a matrix: larger than any cache
SLOW = 0.97
"""Share of its own best below which a card is said to be slow: one per cent of speed is worth 0.0005 bits per byte."""

_PROGRAM = Path(__file__).with_name("calibrate.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a card could do at one moment."""

    tflops: float  # bf16 matrix products
    copy_gb_per_second: float  # within its memory, read and written

    def share_of(self, best: Calibration) -> float:
        """The worse of the two speeds, as a share of what was the best."""
        return min(self.tflops / best.tflops, self.copy_gb_per_second / best.copy_gb_per_second)

    def better(self, other: Calibration) -> Calibration:
        """The best of both, speed by speed."""
        return Calibration(
            tflops=max(self.tflops, other.tflops),
            copy_gb_per_second=max(self.copy_gb_per_second, other.copy_gb_per_second),
        )


async def calibrate(
    uuid: str, folder: Path, *, workspace: Path, device: str = "cuda", size: int = SIZE, seconds: float = SECONDS
) -> Calibration | str:
    """Measure the card; one line that says why if it could not be measured. folder: for its log; it must be there."""
    environment = allowed_environment(workspace=workspace, scratch=str(folder), run=folder.name)
    command = (sys.executable, str(_PROGRAM), device, str(size), str(seconds))
    spec = timed(command, folder, env=environment | {"CUDA_VISIBLE_DEVICES": uuid}, seconds=120.0)
    return read(await supervise(spec), Path(spec.log))


def read(run: Run | None, log: Path) -> Calibration | str:
    """What the program told."""
    told = run.result if run is not None and isinstance(run.result, dict) else {}
    try:
        found = Calibration(tflops=float(told["tflops"]), copy_gb_per_second=float(told["copy_gb_per_second"]))
        if found.tflops > 0 and found.copy_gb_per_second > 0:
            return found
    except (KeyError, TypeError, ValueError):
        pass
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:200] if lines else "it ended without a word"
