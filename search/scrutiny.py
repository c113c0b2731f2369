"""How closely a score is looked at before it is believed. Pure: numbers in, numbers out."""

from __future__ import annotations

SCREEN_CUTS = 64
CONFIRM_CUTS = 192
AUDIT_CUTS = 768
"""Places probed for look-ahead: at a first trial, at a confirming one, and where a gain is hard to believe."""

SUSPICIOUS = 10.0
"""Gains of so many s in one step are looked at again."""

TOLERANCE = 0.002
"""Nats that an answer may change when what it must not see is changed. What that can be worth is below any noise."""

HEADROOM = 5.0
"""Times the largest change that the honest root showed, which low precision raises."""


def cuts(*, trial: int, confirmations: int, gain: float | None, noise: float | None) -> int:
    """Places to probe. confirmations: that will follow a first trial; gain: of the node's first trial over main, None
    before there is one; noise: s."""
    if gain is not None and noise and gain > SUSPICIOUS * noise:
        return AUDIT_CUTS
    return SCREEN_CUTS if trial == 0 and confirmations > 0 else CONFIRM_CUTS


def tolerance(root_leak: float) -> float:
    """Nats. root_leak: the largest change seen at any trial of the root."""
    return max(TOLERANCE, HEADROOM * root_leak)
