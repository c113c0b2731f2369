"""Values of a Python file by the names they are given: assignments, keyword arguments and defaults, in any scope. Pure.

Most patches of a search give a value another one. By its name such a change finds its place in any version of the file,
where the lines around it have long been others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

Name = tuple[str, ...]
"""Scopes from the outside in, then what is given a value: ("GPT", "__init__", "self.scale"), ("AdamW(", "lr")."""


def carried(*, base: str, theirs: str, ours: str) -> tuple[str, str]:
    """`base` and `ours`, both with every value that `theirs` changed and that can be told by its name alone.

    Where `ours` changed the same value, theirs is taken if both are literals, such as two learning rates; two other
    expressions are a conflict, and are left as they are. What the first result lacks of `theirs` is left to do.
    """
    was, now, here = (_values(text) for text in (base, theirs, ours))
    wanted: dict[Name, str] = {}
    for name in was.keys() & now.keys() & here.keys():
        old, new, own = _text(base, was[name]), _text(theirs, now[name]), _text(ours, here[name])
        if old != new and (own == old or (_is_literal(new) and _is_literal(own))):
            wanted[name] = new
    names = _innermost(was, wanted)
    if names != _innermost(here, wanted):  # nested otherwise: not what was thought
        return base, ours
    new_base = _replaced(base, {was[name]: wanted[name] for name in names})
    return new_base, _replaced(ours, {here[name]: wanted[name] for name in names})


Span = tuple[int, int]
"""Offsets in the UTF-8 bytes of a text."""


def _innermost(places: dict[Name, Span], wanted: Iterable[Name]) -> set[Name]:
    """Those of the names whose values hold no other's: a keyword's new value is part of that of the assignment around
    it."""
    found: dict[Span, Name] = {}
    for name in sorted(wanted, key=lambda name: places[name][1] - places[name][0]):
        start, end = places[name]
        if all(end <= a or b <= start for a, b in found):
            found[start, end] = name
    return set(found.values())


def _replaced(text: str, news: dict[Span, str]) -> str:
    data = text.encode("utf-8", "surrogateescape")
    for (start, end), new in sorted(news.items(), reverse=True):
        data = data[:start] + new.encode("utf-8", "surrogateescape") + data[end:]
    return data.decode("utf-8", "surrogateescape")


def _text(text: str, span: Span) -> str:
    return text.encode("utf-8", "surrogateescape")[span[0] : span[1]].decode("utf-8", "surrogateescape")


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _values(text: str) -> dict[Name, Span]:
    """Where the values stand whose names are given once only; empty for what does not parse."""
    if "\r" in text or "\f" in text:  # line ends that Python counts otherwise
        return {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    starts = [0]
    for line in text.encode("utf-8", "surrogateescape").split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    found: dict[Name, Span] = {}
    twice: set[Name] = set()
    for name, value in _named(tree):
        twice |= {name} & found.keys()
        assert value.end_lineno is not None and value.end_col_offset is not None
        begin, end = starts[value.lineno - 1] + value.col_offset, starts[value.end_lineno - 1] + value.end_col_offset
        found[name] = (begin, end)
    return {name: span for name, span in found.items() if name not in twice}


def _named(tree: ast.Module) -> Iterator[tuple[Name, ast.expr]]:
    todo: list[tuple[Name, ast.AST]] = [((), tree)]
    while todo:
        scope, node = todo.pop()
        match node:
            case ast.Assign(targets=[ast.Name() | ast.Attribute() as target], value=value):
                yield (*scope, ast.unparse(target)), value
            case ast.AnnAssign(target=ast.Name() | ast.Attribute() as target, value=ast.expr() as value):
                yield (*scope, ast.unparse(target)), value
            case ast.Call(func=ast.Name() | ast.Attribute() as function, keywords=keywords):
                call = f"{ast.unparse(function)}("
                yield from (((*scope, call, word.arg), word.value) for word in keywords if word.arg)
            case ast.ClassDef():
                scope = (*scope, node.name)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                scope = (*scope, node.name)
                yield from (((*scope, f"{name}="), value) for name, value in _defaults(node.args))
        todo += [(scope, child) for child in ast.iter_child_nodes(node)]


def _defaults(arguments: ast.arguments) -> Iterable[tuple[str, ast.expr]]:
    placed = [*arguments.posonlyargs, *arguments.args]
    yield from zip((a.arg for a in placed[len(placed) - len(arguments.defaults) :]), arguments.defaults, strict=True)
    yield from ((a.arg, v) for a, v in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if v is not None)
