"""Text that somebody else wrote, made safe to show to a model: cleaned, cut, without keys, and fenced as data. Pure."""

from __future__ import annotations

import hashlib
import re

from ..search.plain_text import without_controls

_SECRETS = re.compile(
    r"sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|hf_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}|(?i:bearer)\s+[A-Za-z0-9._~+/-]{20,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)


def clean(text: str, limit: int = 4000) -> str:
    """`without_controls`, with keys blotted out; what is longer than `limit` characters loses its middle."""
    if len(text) > 100 * limit:  # the rest would cost time and be cut anyway
        text = text[: 50 * limit] + text[-50 * limit :]
    text = redacted(without_controls(text))
    if len(text) <= limit:
        return text
    head = limit // 3
    return f"{text[:head]}\n[... {len(text) - limit:,} characters ...]\n{text[head - limit :]}"


def one_line(text: str, limit: int = 200) -> str:
    """`clean`, on one line of at most `limit` characters."""
    words = " ".join(clean(text, 4 * limit).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


def redacted(text: str) -> str:
    """The text without anything that looks like a key."""
    return _SECRETS.sub("[redacted]", text)


def fence(text: str, label: str) -> str:
    """The text between two marks that carry a hash of it: no text can contain its own, so nothing inside can close the
    fence, and equal texts have equal fences, which keeps a server's cache of prompts warm."""
    mark = hashlib.sha256(f"{label}\0{text}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    end = "" if text.endswith("\n") or not text else "\n"
    return f"<data {mark} {label}>\n{text}{end}</data {mark}>"


_FENCED = re.compile(r"<data ([0-9a-f]{16}) ([^\n>]*)>\n(.*?)</data \1>", re.DOTALL)


def unfenced(text: str) -> list[tuple[str, str]]:
    """(label, text) of every fence: how a rehearsal reads a prompt."""
    return [(label, body) for _, label, body in _FENCED.findall(text)]
