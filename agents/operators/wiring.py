"""Change how the parts of a model are connected: take a norm or a dropout out, put one in, run branches in parallel."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from ..meaning import words
from ..proposal import NotApplicable, Proposal, short
from ..source import MODULE, Call, Change, ParsedFile
from .deletion import orphans, removals

_REMOVABLE = {
    "norm": "A norm costs time and removes scale: perhaps this one is not needed.",
    "dropout": "Dropout slows learning when every text is seen about once; without it the line is shorter too.",
}
_WORDS = {"norm": "norm", "ln": "norm", "rmsnorm": "norm", "layernorm": "norm", "dropout": "dropout", "drop": "dropout"}


class Unwrap:
    """`unwrap CALL in FUNCTION`: `f(norm(x))` becomes `f(x)`."""

    verb = "unwrap"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every norm and every dropout inside an expression."""
        found = [
            Proposal(
                brief=f"unwrap {label}",
                title=short(f"take {kind} out: {label}"),
                hypothesis=_REMOVABLE[kind],
                mechanism=f"passes on what the {kind} would have changed",
                category="architecture" if kind == "norm" else "regularisation",
                weight=0.4,
                structural=True,
            )
            for label, kind, _ in _wrapped(file)
        ]
        return found or NotApplicable("no call of a norm or a dropout inside a model")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Leave the argument in place of the call."""
        wanted = brief.removeprefix("unwrap ")
        call = next((call for label, _, call in _wrapped(file) if label == wanted), None)
        if call is None:
            return NotApplicable(f"no such call of a norm or a dropout: {wanted[:80]!r}")
        argument = call.node.args[0]
        text = file.source(argument)
        if isinstance(argument, ast.BinOp | ast.UnaryOp | ast.IfExp | ast.BoolOp | ast.Compare) or "\n" in text:
            text = f"({text})"
        parts = removals(file, set(orphans(file, call.node.func)))
        return file.replaced([(file.span(call.node), text), *parts])


def _wrapped(file: ParsedFile) -> Iterator[tuple[str, str, Call]]:
    """Norms and dropouts in methods and functions, with their labels; a second one of the same text gets ` #2`."""
    seen: Counter[str] = Counter()
    for call in file.calls:
        kind = next((_WORDS[w] for w in words(call.callee) if w in _WORDS), None)
        arguments = call.node.args
        if kind is None or call.scope == MODULE or not arguments or call.name[0].isupper():  # a class is no call of it
            continue
        plain = isinstance(call.node.func, ast.Name) or call.callee.startswith("self.") or _is_functional(file, call)
        if not plain or not _is_tensor(arguments[0]) or _is_for_others(file, call):
            continue
        label = f"{ast.unparse(call.node)} in {call.scope}"
        seen[label] += 1
        yield (label if seen[label] == 1 else f"{label} #{seen[label]}"), kind, call


def _is_functional(file: ParsedFile, call: Call) -> bool:
    return call.callee.rpartition(".")[0] == file.imported("torch.nn.functional")


def _is_tensor(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Call | ast.BinOp | ast.Attribute | ast.Subscript) and not (
        isinstance(node, ast.Name) and node.id.isupper()
    )


def _is_for_others(file: ParsedFile, call: Call) -> bool:
    """Whether it is the norm's own code, or a whole statement: what other operators change."""
    if any(w in _WORDS for w in words(call.scope)):
        return True
    if any(isinstance(n, ast.Name) and n.id in file.falsy for n in call.node.args[1:]):
        return True  # dropout at zero: folding the constant removes it better
    parent = file.parents.get(call.node)
    own = isinstance(parent, ast.Assign) and any(
        isinstance(t, ast.Name) and isinstance(call.node.args[0], ast.Name) and t.id == call.node.args[0].id
        for t in parent.targets
    )
    return isinstance(parent, ast.Expr | ast.Tuple) or own


class Normalise:
    """`normalise queries and keys in FUNCTION`: where a norm is at hand and attention has none."""

    verb = "normalise"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every attention whose queries and keys are plain."""
        found = [
            Proposal(
                brief=f"normalise queries and keys in {call.scope}",
                title=f"normalise queries and keys in {call.scope}",
                hypothesis="Normalised queries and keys keep attention from saturating, which steadies training.",
                mechanism="puts the file's own norm around both before they meet",
                category="architecture",
                weight=0.8,
                structural=True,
            )
            for call in _attentions(file)
        ]
        return found or NotApplicable("no attention on plain queries and keys, or no norm function to put around them")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Wrap the first two arguments of the attention."""
        scope = brief.removeprefix("normalise queries and keys in ")
        call = next((call for call in _attentions(file) if call.scope == scope), None)
        if call is None:
            return NotApplicable(f"no attention on plain queries and keys in {scope[:80]!r}")
        changes: list[Change] = [(file.span(a), f"norm({file.source(a)})") for a in call.node.args[:2]]
        return file.replaced(changes)


def _attentions(file: ParsedFile) -> Iterator[Call]:
    function = file.functions.get("norm")
    if function is None or len(function.args.args) != 1 or re.search(r"\bqk_?norm", file.text, re.IGNORECASE):
        return
    for call in file.calls:
        arguments = call.node.args[:2]
        if call.name != "scaled_dot_product_attention" or len(arguments) != 2:
            continue
        if not any(isinstance(a, ast.Call) and "norm" in words(ast.unparse(a.func)) for a in arguments):
            yield call


class Parallel:
    """`parallel branches in FUNCTION`: `x = x + a(x)`, then `x + b(x)`, become `x + a(x) + b(x)`."""

    verb = "parallel"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every pair of residual branches that follow one another."""
        found = [
            Proposal(
                brief=f"parallel branches in {scope}",
                title=f"run the branches in {scope} in parallel",
                hypothesis="Branches that do not wait for each other can share work, at little loss in deep models.",
                mechanism="both branches read the stream before either has written to it",
                category="architecture",
                weight=0.4,
                structural=True,
            )
            for scope, _ in _pairs(file)
        ]
        return found or NotApplicable("no two residual branches that follow one another")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Add both branches to the stream at once."""
        scope = brief.removeprefix("parallel branches in ")
        pair = next((pair for place, pair in _pairs(file) if place == scope), None)
        if pair is None:
            return NotApplicable(f"no two residual branches that follow one another in {scope[:80]!r}")
        (first, a), (_, b) = pair
        start, _ = file.span(b)
        return file.replaced([(file.removal(first), ""), ((start, start), f"{file.source(a)} + ")])


Branch = tuple[ast.stmt, ast.expr]
"""A statement that adds an expression to the stream, and that expression."""


def _pairs(file: ParsedFile) -> Iterator[tuple[str, tuple[Branch, Branch]]]:
    done: set[str] = set()
    for statement in file.statements:
        if statement.index == 0 or statement.scope in done or statement.scope == MODULE:
            continue
        before = statement.body[statement.index - 1]
        first, second = _residual(before), _residual(statement.node)
        if first is None or second is None or first[0] != second[0] or isinstance(before, ast.Return):
            continue
        if file.is_alone_on_its_lines(before) and _calls(first[1]) and _calls(second[1]):
            done.add(statement.scope)
            yield statement.scope, ((before, first[1]), (statement.node, second[1]))


def _residual(node: ast.stmt) -> tuple[str, ast.expr] | None:
    """(x, f(x)) for `x = x + f(x)`, `x += f(x)` and `return x + f(x)`."""
    match node:
        case ast.Assign(targets=[ast.Name(id=to)], value=ast.BinOp(left=ast.Name(id=name), op=ast.Add(), right=branch)):
            return (name, branch) if to == name else None
        case ast.Return(value=ast.BinOp(left=ast.Name(id=name), op=ast.Add(), right=branch)):
            return name, branch
        case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=branch):
            return name, branch
        case _:
            return None


def _calls(node: ast.expr) -> bool:
    return isinstance(node, ast.Call | ast.BinOp) and any(isinstance(n, ast.Call) for n in ast.walk(node))
