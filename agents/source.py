"""A Python file as the operators see it: its text, its syntax tree, and one index over both.

Everything is found with `ast` (a few milliseconds for 500 lines) and changed by splicing bytes, so that what an edit
does not touch stays byte-identical. Positions are byte offsets, because that is what `ast` counts in.
"""

from __future__ import annotations

import ast
import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

MODULE = "module"
"""The scope of what stands outside every function and class."""

Span = tuple[int, int]
"""Byte offsets of the first byte and of the one behind the last."""

Change = tuple[Span, str]
"""Replace the bytes of the span by the text."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call, with where it stands."""

    node: ast.Call
    scope: str  # "MLP.forward"
    callee: str  # "F.relu"; what is no plain dotted name shows as "?": "?.square"

    @property
    def name(self) -> str:
        """The last part of the callee: `relu`."""
        return self.callee.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, with where it stands."""

    node: ast.stmt
    scope: str
    body: list[ast.stmt]  # the block it belongs to
    index: int  # in that block


@dataclass(slots=True, eq=False)
class ParsedFile:
    """A file and what one walk over its tree found out. Compared by identity, so that caches can be keyed by it."""

    text: str
    data: bytes
    tree: ast.Module
    line_starts: list[int]
    calls: list[Call] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    loads: Counter[str] = field(default_factory=Counter)  # how often each name is read, in any scope
    stores: Counter[str] = field(default_factory=Counter)  # how often each name is bound, in any scope
    module_stores: Counter[str] = field(default_factory=Counter)  # outside every function and class
    attributes: Counter[str] = field(default_factory=Counter)  # how often each attribute is read
    tested: set[str] = field(default_factory=set)  # names that decide something: tests and comparisons
    deciding: set[str] = field(default_factory=set)  # of them, those whose value alone can settle (part of) a test
    compared: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # name -> strings it is compared to
    strings: set[str] = field(default_factory=set)  # every string in it
    falsy: set[str] = field(default_factory=set)  # constants of the module that are False or zero
    imports: dict[str, str] = field(default_factory=dict)  # full name -> name in the module's scope
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    dynamic: bool = False  # exec, eval or globals(): names may be used in ways that cannot be seen

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> Span:
        """Where the node stands; decorators not included."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        starts = self.line_starts
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    def lines_of(self, node: ast.stmt) -> Span:
        """The whole lines of a statement, decorators and the line's end included."""
        assert node.end_lineno is not None
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        return self.line_starts[first - 1], self.line_starts[node.end_lineno]

    def removal(self, node: ast.stmt) -> Span:
        """What goes when the statement goes: its lines, comments above that belong to it alone, one of two gaps."""
        start, end = self.lines_of(node)
        lines = self.line_starts

        def line(number: int) -> bytes:
            return self.data[lines[number] : lines[number + 1]].strip() if 0 <= number < len(lines) - 1 else b""

        first, after = bisect.bisect_left(lines, start), bisect.bisect_left(lines, end)
        above = first
        while line(above - 1).startswith(b"#"):
            above -= 1
        if not line(above - 1) and not line(after):  # it stands in a paragraph of its own
            start = lines[above]
            while after < len(lines) - 1 and not line(after):
                after += 1
            end = lines[after]
        return start, end

    def source(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> str:
        """The node's own text."""
        start, end = self.span(node)
        return self.data[start:end].decode("utf-8", "surrogateescape")

    def replaced(self, changes: Iterable[Change]) -> str:
        """The file's text with the changes made; they must not overlap."""
        parts: list[bytes] = []
        done = 0
        for (start, end), new in sorted(changes):
            parts += [self.data[done:start], new.encode()]
            done = end
        return b"".join([*parts, self.data[done:]]).decode("utf-8", "surrogateescape")

    def imported(self, module: str) -> str | None:
        """The name under which a module can be used: `F` after `import torch.nn.functional as F`."""
        if module in self.imports:
            return self.imports[module]
        package, _, last = module.rpartition(".")
        outer = self.imported(package) if package else None
        return f"{outer}.{last}" if outer else None

    def is_alone_on_its_lines(self, node: ast.stmt) -> bool:
        """Whether the statement shares its lines with no other (`a; b`, `if c: a`)."""
        start, end = self.lines_of(node)
        first, last = self.span(node)
        if getattr(node, "decorator_list", []):
            first = start
        before, after = self.data[start:first].strip(), self.data[last:end].strip()
        return not before and (not after or after.startswith(b"#"))


def dotted(node: ast.expr) -> str:
    """`a.b.c` for plain names and attributes; a leading "?" stands for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "?")
    return ".".join(reversed(parts))


@lru_cache(maxsize=16)
def parse(text: str) -> ParsedFile | None:
    """The file, or None if it is no valid Python. The last few are kept: planner and coder ask for the same ones."""
    try:
        data = text.encode()
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: null bytes, lone surrogates
        return None
    starts = [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", data))]
    if starts[-1] != len(data):
        starts.append(len(data))
    file = ParsedFile(text=text, data=data, tree=tree, line_starts=starts)
    _index(file)
    return file


def _index(file: ParsedFile) -> None:
    """One walk in source order, without recursion."""
    stack: list[tuple[ast.AST, str]] = [(file.tree, MODULE)]
    while stack:
        node, scope = stack.pop()
        kind = type(node)
        if kind in _NOTED:
            _note(file, node, scope)
        inner = _inner_scope(file, node, scope) if kind in _SCOPES else scope
        children: list[tuple[ast.AST, str]] = []
        for name in node._fields:
            value = getattr(node, name, None)
            if type(value) is list:
                if name in _BLOCKS:
                    file.statements += [Statement(s, inner, value, i) for i, s in enumerate(value)]
                children += [(child, inner) for child in value if isinstance(child, ast.AST)]
            elif isinstance(value, ast.AST) and value._fields:  # what has no fields is an operator or a context
                children.append((value, inner))
        for child, _ in children:
            file.parents[child] = node
        stack += reversed(children)


_BLOCKS = frozenset({"body", "orelse", "finalbody"})
_SCOPES = frozenset({ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef})
_NOTED = frozenset(
    {ast.Name, ast.arg, ast.Attribute, ast.Global, ast.Nonlocal, ast.If, ast.IfExp, ast.While, ast.Compare}
    | {ast.Assign, ast.Import, ast.ImportFrom, ast.Call, ast.Constant}
)


def _inner_scope(file: ParsedFile, node: ast.AST, scope: str) -> str:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    inner = node.name if scope == MODULE else f"{scope}.{node.name}"
    if isinstance(node, ast.ClassDef):
        file.classes[inner] = node
    else:
        file.functions[inner] = node
    return inner


def _note(file: ParsedFile, node: ast.AST, scope: str) -> None:
    match node:
        case ast.Name(ctx=ast.Load()):
            file.loads[node.id] += 1
        case ast.Name():
            file.stores[node.id] += 1
            file.module_stores[node.id] += scope == MODULE
        case ast.arg():
            file.stores[node.arg] += 1
        case ast.Constant(value=str() as string):
            file.strings.add(string)
        case ast.Attribute(ctx=ast.Load()):
            file.attributes[node.attr] += 1
        case ast.Global() | ast.Nonlocal():
            file.module_stores.update(node.names)
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)) if scope == MODULE and not value:
            file.falsy.add(name)
        case ast.Import() if scope == MODULE:
            file.imports |= {a.name: a.asname or a.name for a in node.names}
        case ast.ImportFrom(level=0) if scope == MODULE:
            file.imports |= {f"{node.module}.{a.name}": a.asname or a.name for a in node.names}
        case ast.Call():
            call = Call(node, scope, dotted(node.func))
            file.calls.append(call)
            file.dynamic |= call.callee in ("exec", "eval", "globals", "vars")
            if call.name == "dropout" and len(node.args) > 1:  # dropout at zero does nothing
                file.deciding.update(_deciding(node.args[1]))
        case ast.If() | ast.IfExp():
            file.tested.update(_names(node.test))
            file.deciding.update(_deciding(node.test))
        case ast.Compare():
            file.tested.update(_names(node))
            _note_comparison(file, node)
        case _:
            pass


def _note_comparison(file: ParsedFile, node: ast.Compare) -> None:
    if isinstance(node.left, ast.Name):
        for side in node.comparators:
            items = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
            file.compared[node.left.id].update(
                item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)
            )


def _deciding(test: ast.expr) -> Iterator[str]:
    match test:
        case ast.Name(id=name):
            yield name
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _deciding(operand)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _deciding(value)
        case ast.Compare(left=left, comparators=[right]):
            if isinstance(left, ast.Name) and isinstance(right, ast.Constant):
                yield left.id
            elif isinstance(right, ast.Name) and isinstance(left, ast.Constant):
                yield right.id
        case _:
            pass


def _names(node: ast.expr) -> Iterator[str]:
    return (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
