"""Everything in a file that can be set to another value without touching the code around it, and the brief `set`.

A knob is a literal with an address: `MATRIX_LR`, `ADAM_BETAS[1]`, `GPTConfig.n_layer` (a field), `newton.steps` (a
parameter's default), `AdamW(lr)` (a keyword of the file's only call of that name), `--lr` (an argparse default). It
knows nothing of what its value means.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .proposal import NotApplicable
from .scales import Number, number_text
from .source import MODULE, Change, ParsedFile, Span

Value = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A literal that can be set."""

    address: str
    name: str  # the part that says what it means
    place: str  # what it shares with its neighbours: the module, a class, a function, a call
    value: Value
    span: Span
    text: str  # as it is written now
    read: bool  # whether the file reads it by this name


@lru_cache(maxsize=16)
def find_knobs(file: ParsedFile) -> dict[str, Knob]:
    """All knobs by address, in source order; an address that occurs twice is none."""
    found: dict[str, Knob] = {}
    doubled: set[str] = set()
    for knob in _candidates(file):
        if knob.address in found:
            doubled.add(knob.address)
        found[knob.address] = knob
    return {address: knob for address, knob in found.items() if address not in doubled}


def number_of(knob: Knob) -> Number | None:
    """The knob's value if it is a number; a bool is none."""
    return None if isinstance(knob.value, bool | str) else knob.value


def set_brief(settings: dict[str, Value]) -> str:
    """`set A = 1, B = 2`: the knobs by address, with their new values."""
    return "set " + ", ".join(f"{address} = {value_text(value)}" for address, value in settings.items())


def value_text(value: Value) -> str:
    """A value as it stands in a brief."""
    if isinstance(value, bool):
        return str(value)
    return json.dumps(value) if isinstance(value, str) else number_text(value)


_SETTING = re.compile(
    r"\s*(?P<address>(?:--)?[A-Za-z_][\w.-]*(?:\[\d+\]|\(\w+\))?) = "
    r'(?P<value>True|False|"[^"\\]*"|-?\d+(?:\.\d*)?(?:e-?\d+)?)\s*(?:,|$)'
)


def parse_set(brief: str) -> dict[str, Value] | NotApplicable:
    """The inverse of `set_brief`."""
    verb, _, rest = brief.partition(" ")
    settings: dict[str, Value] = {}
    at = 0
    while verb == "set" and at < len(rest):
        match = _SETTING.match(rest, at)
        if match is None:
            break
        settings[match["address"]] = ast.literal_eval(match["value"])
        at = match.end()
    if not settings or at < len(rest):
        return NotApplicable(f"not of the form 'set NAME = VALUE, ...': {brief[:80]!r}")
    return settings


def apply_set(file: ParsedFile, brief: str) -> str | NotApplicable:
    """Set every knob the brief names; all of them or none."""
    settings = parse_set(brief)
    if isinstance(settings, NotApplicable):
        return settings
    knobs = find_knobs(file)
    changes: list[Change] = []
    for address, value in settings.items():
        knob = knobs.get(address)
        if knob is None:
            return NotApplicable(f"the file has no {address} that can be set")
        if isinstance(value, str) != isinstance(knob.value, str):
            return NotApplicable(f"{address} is {knob.text}: it cannot become {value_text(value)}")
        if value != knob.value or isinstance(value, bool) != isinstance(knob.value, bool):
            changes.append((knob.span, _written(value, knob.text)))
    if not changes:
        return NotApplicable("every value is set like that already: " + brief.removeprefix("set "))
    return file.replaced(changes)


def _written(value: Value, like: str) -> str:
    """The value in the style of the literal it replaces: `2**18` for `2**19`, `1_000` for `2_000`."""
    if isinstance(value, str):
        return repr(value) if like.startswith("'") else json.dumps(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if "**" in like and value.bit_count() == 1:
            return f"2{' ** ' if ' **' in like else '**'}{value.bit_length() - 1}"
        if "_" in like:
            return f"{value:_}"
    return value_text(value)


def _candidates(file: ParsedFile) -> Iterator[Knob]:
    calls: dict[str, list[ast.Call]] = defaultdict(list)
    for call in file.calls:
        calls[call.name].append(call.node)
    for statement in file.tree.body:
        for target, value in _assignments(statement):
            if file.module_stores[target] == 1:
                yield from _literals(file, value, target, target, MODULE, file.loads[target] > 0)
    for name, node in file.classes.items():
        fields = [pair for statement in node.body for pair in _assignments(statement)]
        for position, (target, value) in enumerate(fields):
            used = file.attributes[target] > 0 or file.loads[target] > 0
            read = used and not _is_always_given(calls[node.name], target, position)
            yield from _literals(file, value, f"{name}.{target}", target, name, read)
    for name, function in file.functions.items():
        called = name.split(".")[-2] if name.endswith(".__init__") else function.name
        for position, (argument, default) in enumerate(_parameters(function.args)):
            if default is not None:
                read = not _is_always_given(calls[called], argument, position)
                yield from _literals(file, default, f"{name}.{argument}", argument, name, read)
    yield from _call_keywords(file)


def _parameters(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    """Every parameter with its default, without self."""
    positional = [*arguments.posonlyargs, *arguments.args]
    bare: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    for argument, default in zip(positional, bare + list(arguments.defaults), strict=True):
        if argument.arg not in ("self", "cls"):
            yield argument.arg, default
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield argument.arg, default


def _is_always_given(calls: list[ast.Call], argument: str, position: int) -> bool:
    """Whether no call of the file leaves the argument at its default, so that changing the default does nothing."""
    return bool(calls) and all(
        len(call.args) > position
        or any(keyword.arg in (argument, None) for keyword in call.keywords)
        or any(isinstance(a, ast.Starred) for a in call.args)
        for call in calls
    )


def _call_keywords(file: ParsedFile) -> Iterator[Knob]:
    for call in file.calls:
        option = call.node.args[0] if call.node.args else None
        for keyword in call.node.keywords:
            if call.name == "add_argument":
                if isinstance(option, ast.Constant) and keyword.arg == "default":
                    address = str(option.value)
                    if re.fullmatch(r"--[A-Za-z_][\w-]*", address):
                        yield from _literals(file, keyword.value, address, address[2:], "options", True)
            elif keyword.arg is not None and call.name.isidentifier():
                address = f"{call.name}({keyword.arg})"
                yield from _literals(file, keyword.value, address, keyword.arg, f"{call.name}()", True)


def _assignments(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
        case _:
            pass


def _literals(file: ParsedFile, node: ast.expr, address: str, name: str, place: str, read: bool) -> Iterator[Knob]:
    if isinstance(node, ast.Tuple | ast.List):
        if 1 <= len(node.elts) <= 4:
            for i, element in enumerate(node.elts):
                if not isinstance(element, ast.Tuple | ast.List) and not address.endswith(")"):
                    yield from _literals(file, element, f"{address}[{i}]", name, place, read)
        return
    value = node.value if isinstance(node, ast.Constant) else _arithmetic(node)
    if isinstance(value, bool | int | float | str) and not (isinstance(value, str) and re.search(r'["\\\n]', value)):
        text = file.source(node)
        yield Knob(address=address, name=name, place=place, value=value, span=file.span(node), text=text, read=read)


def _arithmetic(node: ast.expr) -> Number | None:
    """The value of `-1e-3`, `2**19` or `8 * 1024`; None for what is not plain arithmetic on literals."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = _arithmetic(operand)
            return None if negated is None else -negated
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _arithmetic(left), _arithmetic(right)
            if a is None or b is None:
                return None
            if isinstance(op, ast.Mult):
                return a * b
            if isinstance(op, ast.Pow) and isinstance(a, int) and isinstance(b, int) and 0 <= b <= 64 and abs(a) <= 64:
                return int(a**b)
    return None
