"""Text of unknown origin without what a terminal or a model would obey: the one place that says what that is. Pure.

What is left are printable characters, tabs and line ends. It neither shortens nor hides anything: keys are blotted out
in `agents/fencing.py`, and what is shown in cells of a terminal is `view/plain.py`'s business.
"""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]P^_X]|[\x9d\x90\x9e\x9f\x98])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[@-Z\\-_]"
)
"""What terminals obey (ECMA-48): CSI sequences, the strings OSC, DCS, PM, APC and SOS, and two-character escapes."""

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
"""Control characters, direction overrides, invisible signs and tags, halves of surrogate pairs."""


def without_controls(text: str) -> str:
    """The text without control characters, escape sequences, direction overrides and invisible signs; a carriage
    return keeps what was printed last on its line."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in _SEQUENCE.sub("", text).split("\n"))
    return _UNPRINTABLE.sub("", "\n".join(lines))
