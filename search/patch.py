"""Turning a patch into new file contents, or into the exact reason why it does not fit. Pure text, no git."""

from __future__ import annotations

import ast
import difflib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .model import Edit, Failure, FailureKind, Patch, SourceFile, Sources


def apply_patch(sources: Sources, patch: Patch, *, editable: Sequence[str]) -> Sources | Failure:
    """The patched files, or a Failure of kind no-patch or out-of-bounds that a coder can learn from."""
    texts = {file.path: file.text for file in sources}
    for edit in patch.edits:
        if edit.path not in editable:
            allowed = ", ".join(editable)
            return Failure(
                kind=FailureKind.OUT_OF_BOUNDS, message=f"the patch edits {edit.path!r}; it may edit only: {allowed}"
            )
        before = texts.get(edit.path, "")
        after = _apply_edit(before, edit)
        if isinstance(after, Failure):
            return after
        texts[edit.path] = after
    patched = tuple(SourceFile(path=path, text=text) for path, text in sorted(texts.items()))
    if patched == tuple(sorted(sources, key=lambda f: f.path)):
        return Failure(kind=FailureKind.NO_PATCH, message="the patch changes nothing")
    return patched


def _apply_edit(text: str, edit: Edit) -> str | Failure:
    if not edit.old:
        return edit.new
    if _is_unique(text, edit.old):
        return text.replace(edit.old, edit.new, 1)
    if edit.old in text:
        message = f"the text to replace occurs more than once in {edit.path}; give more lines around it"
        return Failure(kind=FailureKind.NO_PATCH, message=message, detail=edit.old[:1000])
    message = f"the text to replace does not occur in {edit.path}"
    return Failure(kind=FailureKind.NO_PATCH, message=message, detail=_nearest(text, edit.old))


def _is_unique(text: str, part: str) -> bool:
    """Whether `part` occurs in one place only, overlaps counted (str.count leaves those out)."""
    first = text.find(part)
    return first >= 0 and text.rfind(part) == first


def _nearest(text: str, wanted: str) -> str:
    """The block of `text` that is most like `wanted`, as a diff from what was asked to what is there."""
    lines, asked = text.splitlines(), wanted.splitlines()
    size = len(asked)
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2("\n".join(asked))
    best, best_ratio = 0, -1.0
    for start in range(max(1, len(lines) - size + 1)):
        matcher.set_seq1("\n".join(lines[start : start + size]))
        if matcher.real_quick_ratio() > best_ratio and matcher.quick_ratio() > best_ratio:
            ratio = matcher.ratio()
            if ratio > best_ratio:
                best, best_ratio = start, ratio
    found = lines[best : best + size]
    diff = difflib.unified_diff(asked, found, "asked for", f"nearest, line {best + 1}", lineterm="", n=2)
    return "\n".join(diff)


def edits_between(path: str, before: str, after: str) -> tuple[Edit, ...]:
    """Edits that turn `before` into `after`: each changed block with as many lines around it as make it unique."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if not before:
        return (Edit(path=path, old="", new=after),) if after else ()
    edits: list[Edit] = []
    current = before
    for i1, i2, j1, j2 in reversed(_changed_blocks(old, new)):  # from the end, so that earlier line numbers stay true
        lines = current.splitlines(keepends=True)
        low, high = i1, i2
        while True:
            block = "".join(lines[low:high])
            if block and _is_unique(current, block):
                break
            if low == 0 and high == len(lines):
                return (Edit(path=path, old="", new=after),)
            low, high = max(0, low - 1), min(len(lines), high + 1)
        replacement = "".join([*lines[low:i1], *new[j1:j2], *lines[i2:high]])
        edits.append(Edit(path=path, old=block, new=replacement))
        current = current.replace(block, replacement, 1)
    if current != after:
        raise AssertionError("edits_between lost a change")
    return tuple(edits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """What a patch does in one place, without its surroundings: wherever it is applied, it is the same change."""

    path: str
    removed: tuple[str, ...]  # lines without comments and layout, in order
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A constant of the top level that a patch gives another value."""

    name: str
    before: str
    after: str
    alone: bool  # whether the patch changes nothing else


_COMMENT = re.compile(r"(?:^|\s+)#(?=[^'\"]*$).*")
_SETTING = re.compile(r"([A-Za-z_]\w*) *(?:: *[^=]+?)?=(?!=) *(\S.*)")


def hunks(patch: Patch) -> tuple[Hunk, ...] | None:
    """The changed lines of a patch, sorted by place; None if it replaces whole files, whose old text it does not hold.
    Changes of layout and comments alone are left out."""
    if any(not edit.old for edit in patch.edits):
        return None
    bare = ((edit.path, _bare(old), _bare(new)) for edit in patch.edits for old, new in _blocks(edit))
    found = (Hunk(path=path, removed=old, added=new) for path, old, new in bare if old != new)
    return tuple(sorted(found, key=lambda hunk: (hunk.path, hunk.removed, hunk.added)))


def name_of_change(patch: Patch) -> str | None:
    """The same for patches that change the same lines into the same, wherever those lie (`git patch-id` without its
    context); None if there is nothing to go by."""
    found = hunks(patch)
    return hashlib.sha256(repr(found).encode("utf-8", "surrogateescape")).hexdigest()[:32] if found else None


def settings_in(patch: Patch) -> tuple[Setting, ...]:
    """The constants that a patch sets, in the order of its places."""
    pairs: list[tuple[str, str]] = []
    for edit in patch.edits if hunks(patch) else ():
        for old, new in _blocks(edit):
            pairs += zip(old, new, strict=True) if len(old) == len(new) else [("", "")]
    found = [pair for was, now in pairs if (pair := _setting(was, now)) is not None]
    return tuple(replace(setting, alone=len(pairs) == 1) for setting in found)


def _setting(was: str, now: str) -> Setting | None:
    """The constant that differs between two lines without indentation."""
    before, after = (_SETTING.fullmatch(_COMMENT.sub("", line).rstrip()) for line in (was, now))
    if not before or not after or before[1] != after[1] or before[2] == after[2]:
        return None
    return Setting(name=before[1], before=before[2], after=after[2], alone=True)


def _blocks(edit: Edit) -> Iterator[tuple[list[str], list[str]]]:
    """(old, new) lines of each place that an edit changes."""
    old, new = edit.old.splitlines(), edit.new.splitlines()
    for i1, i2, j1, j2 in _changed_blocks(old, new):
        yield old[i1:i2], new[j1:j2]


def _bare(lines: Sequence[str]) -> tuple[str, ...]:
    bare = (" ".join(_COMMENT.sub("", line).split()) for line in lines)
    return tuple(line for line in bare if line)


def check_syntax(sources: Sources) -> Failure | None:
    """A Failure of kind syntax for the first Python file that does not parse."""
    for file in sources:
        if not file.path.endswith(".py"):
            continue
        try:
            ast.parse(file.text)
        except (SyntaxError, ValueError) as error:  # ValueError: null bytes
            line = getattr(error, "lineno", None)
            where = f"{file.path}, line {line}" if line else file.path
            text = (getattr(error, "text", None) or "").strip()
            reason = getattr(error, "msg", None) or str(error)
            return Failure(kind=FailureKind.SYNTAX, message=f"{where}: {reason}", detail=text)
    return None


def count_lines(before: Sources, after: Sources) -> tuple[int, int]:
    """(added, removed) lines between two versions of the editable files."""
    old = {file.path: file.text for file in before}
    new = {file.path: file.text for file in after}
    added = removed = 0
    for path in old.keys() | new.keys():
        for i1, i2, j1, j2 in _changed_blocks(old.get(path, "").splitlines(), new.get(path, "").splitlines()):
            removed += i2 - i1
            added += j2 - j1
    return added, removed


def _changed_blocks(old: list[str], new: list[str]) -> list[tuple[int, int, int, int]]:
    """(i1, i2, j1, j2) of each block of lines old[i1:i2] that became new[j1:j2].

    Equal ends are cut off first: patches are small, and difflib is quadratic in repeated lines.
    """
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    matcher = difflib.SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    return [
        (i1 + head, i2 + head, j1 + head, j2 + head) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal"
    ]
