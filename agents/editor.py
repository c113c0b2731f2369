"""The text-editor tool, in memory: a model looks at the editable files and changes them, and nothing else exists.

What it is told when an edit does not fit is the repair: the nearest block, as a diff. Pure.
"""

from __future__ import annotations

from typing import Any

from ..search.model import Edit, Failure, FailureKind, Patch, SourceFile, Sources
from ..search.patch import apply_patch, edits_between
from .fencing import one_line

TOOL = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}
LARGEST_FILE = 400_000  # characters


class Editor:
    """The files of one writing. begun: the same files, if part of the work is done already."""

    def __init__(self, sources: Sources, begun: Sources | None = None) -> None:
        self._before = sources
        self._now = begun or sources
        self.out_of_bounds: str | None = None  # what it tried to touch
        self.last_error = ""

    @property
    def editable(self) -> tuple[str, ...]:
        """Paths, as the files were given."""
        return tuple(file.path for file in self._before)

    @property
    def sources(self) -> Sources:
        """The files as they are now."""
        return self._now

    def patch(self) -> Patch | Failure:
        """Everything that was changed; a Failure of kind no-patch or out-of-bounds if nothing was."""
        before = {file.path: file.text for file in self._before}
        edits = tuple(
            edit for file in self._now for edit in edits_between(file.path, before.get(file.path, ""), file.text)
        )
        if edits:
            return Patch(edits=edits)
        if self.out_of_bounds is not None:
            message = f"the coder wanted to edit {self.out_of_bounds!r}; it may edit only: {', '.join(self.editable)}"
            return Failure(kind=FailureKind.OUT_OF_BOUNDS, message=message)
        return Failure(
            kind=FailureKind.NO_PATCH,
            message="the coder changed nothing" + (self.last_error and f": {self.last_error}"),
        )

    def use(self, command: Any) -> tuple[str, bool]:
        """(what the tool answers, whether that is an error) to one input of the tool."""
        if not isinstance(command, dict):
            return self._wrong("the input is not an object")
        path = str(command.get("path", "")).removeprefix("./").lstrip("/")
        file = next((file for file in self._now if file.path == path), None)
        name = command.get("command")
        if name == "view" and file is None:
            return "\n".join(self.editable), False  # the folder, or a file that it may not see
        if file is None:
            self.out_of_bounds = one_line(path, 100) or "."
            return self._wrong(f"{one_line(path, 100)!r} cannot be edited; you may edit: {', '.join(self.editable)}")
        match name:
            case "view":
                return _numbered(file.text, command.get("view_range")), False
            case "str_replace":
                old, new = command.get("old_str"), command.get("new_str", "")
                if not isinstance(old, str) or not isinstance(new, str) or not old:
                    return self._wrong("old_str must be the text to replace, and new_str what to put there")
                return self._edit(Edit(path=path, old=old, new=new))
            case "create":
                text = command.get("file_text")
                if not isinstance(text, str) or not text.strip():
                    return self._wrong("file_text must be the file's whole new text")
                return self._edit(Edit(path=path, old="", new=text))
            case "insert":
                return self._insert(file, command)
            case _:
                return self._wrong(
                    f"{one_line(str(name), 40)!r} is not known; there are view, str_replace, create, insert"
                )

    def _insert(self, file: SourceFile, command: dict[str, Any]) -> tuple[str, bool]:
        line, text = command.get("insert_line"), command.get("insert_text", command.get("new_str"))
        lines = file.text.splitlines(keepends=True)
        if not isinstance(line, int) or not 0 <= line <= len(lines) or not isinstance(text, str):
            return self._wrong(f"insert_line must be 0 to {len(lines)}, and insert_text the lines to put after it")
        text += "" if text.endswith("\n") or line == len(lines) else "\n"
        return self._edit(Edit(path=file.path, old="", new="".join([*lines[:line], text, *lines[line:]])))

    def _edit(self, edit: Edit) -> tuple[str, bool]:
        if any("\ud800" <= c <= "\udfff" for c in edit.new):
            return self._wrong("the text is not Unicode: it holds half a surrogate pair")
        if len(edit.new) > LARGEST_FILE:
            return self._wrong(f"the text has {len(edit.new):,} characters; at most {LARGEST_FILE:,} are taken")
        after = apply_patch(self._now, Patch(edits=(edit,)), editable=self.editable)
        if isinstance(after, Failure):
            return self._wrong(after.message, after.detail)
        if any(len(file.text) > LARGEST_FILE for file in after):
            return self._wrong(f"the file would have more than {LARGEST_FILE:,} characters")
        self._now, self.last_error = after, ""
        return "done", False

    def _wrong(self, message: str, detail: str = "") -> tuple[str, bool]:
        self.last_error = one_line(message)
        return (f"{message}\n{detail}" if detail else message), True


def _numbered(text: str, lines: Any) -> str:
    """With line numbers, as the tool's users know it; lines: [first, last], last -1 = the end."""
    every = text.splitlines()
    first, last = 1, len(every)
    if isinstance(lines, list) and len(lines) == 2 and all(isinstance(line, int) for line in lines):
        first, last = max(1, lines[0]), len(every) if lines[1] == -1 else min(lines[1], len(every))
    return "\n".join(f"{number:6}\t{every[number - 1]}" for number in range(first, last + 1))
