"""What cards can do at best, by their name: a dated table, and the share of it that a trial used."""

from __future__ import annotations

import re

DATE = "2026-11"
# Dense bf16 matrix products, in TFLOP/s, from the makers' data sheets: without the factor of 2 that they give for
# sparse ones. The first pattern that is found in the card's name counts.
PEAKS: tuple[tuple[str, float], ...] = (
    (r"\bB300\b", 2250.0),
    (r"\bGB200\b", 2500.0),
    (r"\bB200\b", 2250.0),
    (r"\bH200 NVL\b", 835.0),
    (r"\b(H200|GH200)\b", 989.5),
    (r"\bH100 NVL\b", 835.0),
    (r"\bH100 PCIe\b", 756.0),
    (r"\b(H100|H800)\b", 989.5),
    (r"\bH20\b", 148.0),
    (r"\b(A100|A800)\b", 312.0),
    (r"\bA40\b", 149.7),
    (r"\bA30\b", 165.0),
    (r"\bA10G\b", 70.0),
    (r"\bA10\b", 125.0),
    (r"\bL40S\b", 362.0),
    (r"\bL40\b", 181.0),
    (r"\bL4\b", 121.0),
    (r"\bRTX PRO 6000\b", 503.8),
    (r"\bRTX 6000 Ada\b", 364.2),
    (r"\bRTX A6000\b", 154.8),
    (r"\bRTX 5090\b", 209.5),
    (r"\bRTX 5080\b", 112.6),
    (r"\bRTX 4090\b", 165.2),
    (r"\bRTX 4080\b", 97.5),
    (r"\bRTX 3090\b", 71.0),
    (r"\bRTX 3080\b", 59.5),
)


def peak_tflops(name: str) -> float | None:
    """Dense bf16 TFLOP/s of the card of that name; None if it is not in the table: never a guess."""
    return next((peak for pattern, peak in PEAKS if re.search(pattern, name, re.IGNORECASE)), None)


def mfu(*, name: str, tokens: int, seconds: float, flops_per_token: float) -> float | None:
    """Model FLOP/s as a share of the card's peak. flops_per_token: of forward and backward, as the script counts them,
    so the number is shown and never believed."""
    peak = peak_tflops(name)
    if peak is None or seconds <= 0 or flops_per_token <= 0:
        return None
    return tokens * flops_per_token / seconds / (peak * 1e12)


def told_flops(log: str) -> float:
    """What the script printed as `flops_per_token: number`; 0 if it did not."""
    found = re.findall(r"(?m)^flops_per_token:\s*([0-9.]+(?:e[-+]?\d+)?)\s*$", log)
    return float(found[-1]) if found else 0.0
