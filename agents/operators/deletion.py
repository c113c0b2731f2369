"""Remove a statement and see whether anything was lost: ablations, and names that nothing uses.

Only statements are offered whose removal leaves a program that can still run: an extra effect (clipping, an
initialiser), a value updated from itself (`x = norm(x)`), or a block of such under one condition.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator

from ..meaning import words
from ..proposal import NotApplicable, Proposal, short
from ..source import Change, ParsedFile, Statement, dotted

_KEPT = frozenset({"build_model", "main", "forward", "__all__"})
"""Names that others look for in a training script."""

_MAPS = frozenset({"norm", "ln", "rmsnorm", "layernorm", "dropout", "drop", "rope", "rotary", "rotate", "softcap"})
"""Words of functions that map a tensor to one of the same shape."""


class Drop:
    """`drop STATEMENT in FUNCTION`."""

    verb = "drop"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every statement that can go."""
        found = [
            Proposal(
                brief=f"drop {label}",
                title=short(f"drop {label}"),
                hypothesis="Every part should earn its place: if the score holds without this one, the file is shorter "
                "and each step a little cheaper.",
                mechanism="removes a statement; what follows sees the value before it",
                category="simplify",
                weight=0.3,
                structural=True,
            )
            for label, _ in droppable(file)
        ]
        return found or NotApplicable("no statement whose removal leaves a program that can run")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Remove the lines of the statement."""
        wanted = brief.removeprefix("drop ")
        found = next((statement for label, statement in droppable(file) if label == wanted), None)
        if found is None:
            return NotApplicable(f"no such statement that can go: {wanted[:80]!r}")
        return file.replaced(removals(file, {found, *orphans(file, found)}))


class DropUnused:
    """`prune NAME`: a function, class, constant or import that nothing in the file uses."""

    verb = "prune"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every unused name of the module."""
        found = [
            Proposal(
                brief=f"prune {name}",
                title=f"remove unused {name}",
                hypothesis="Nothing in the file uses it: the same model in fewer lines.",
                mechanism="removes code that never runs",
                category="simplify",
                weight=1.0,
            )
            for name in unused(file)
        ]
        return found or NotApplicable("every function, class, constant and import is used, or may be from outside")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Remove its definition, or its name from the import."""
        name = brief.removeprefix("prune ")
        statement = unused(file).get(name)
        if statement is None:
            return NotApplicable(f"{name[:80]!r} is not an unused name of this file")
        if isinstance(statement, ast.Import | ast.ImportFrom) and len(statement.names) > 1:
            others = [alias for alias in statement.names if (alias.asname or alias.name) != name]
            rest = ast.Import(others)
            if isinstance(statement, ast.ImportFrom):
                return file.replaced([(file.span(statement), _import_from(statement, others))])
            return file.replaced([(file.span(statement), ast.unparse(rest))])
        return file.replaced(removals(file, {statement}))


def _import_from(statement: ast.ImportFrom, names: list[ast.alias]) -> str:
    return ast.unparse(ast.ImportFrom(module=statement.module, names=names, level=statement.level))


def orphans(file: ParsedFile, gone: ast.AST) -> Iterator[ast.stmt]:
    """Parts of modules (`self.x = ...`) that only the removed code has used: parameters without a gradient would be
    left over, which many optimizers do not bear."""
    used = Counter(n.attr for n in ast.walk(gone) if isinstance(n, ast.Attribute) and dotted(n) == f"self.{n.attr}")
    only_here = {name for name, count in used.items() if count == file.attributes[name]}
    for statement in file.statements:
        match statement.node:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attr)]) if attr in only_here:
                if file.is_alone_on_its_lines(statement.node):
                    yield statement.node
            case _:
                pass


def removals(file: ParsedFile, nodes: set[ast.stmt]) -> list[Change]:
    """Changes that remove the statements; an `if` that is left empty goes too, any other empty block gets a `pass`."""
    going, passing = set(nodes), set[ast.stmt]()
    for statement in reversed(file.statements):  # inner blocks first
        if statement.index == 0 and going.issuperset(statement.body):
            parent = file.parents[statement.node]
            if isinstance(parent, ast.If) and statement.body is parent.body and not parent.orelse:
                going.add(parent)
            else:
                passing.add(statement.node)
    changes: list[Change] = []
    for node in sorted(going, key=lambda n: (n.lineno, -(n.end_lineno or 0))):
        change = (file.span(node), "pass") if node in passing else (file.removal(node), "")
        if not changes or change[0][0] >= changes[-1][0][1]:  # what lies inside another goes with it
            changes.append(change)
    return changes


def droppable(file: ParsedFile) -> Iterator[tuple[str, ast.stmt]]:
    """Every statement that can go, with its label: `x = norm(x) in Block.forward`, a second one with ` #2`."""
    seen: Counter[str] = Counter()
    for statement in file.statements:
        if statement.scope not in file.functions or not _can_go(file, statement):
            continue
        label = f"{_label(statement.node)} in {statement.scope}"
        seen[label] += 1
        yield (label if seen[label] == 1 else f"{label} #{seen[label]}"), statement.node


def _can_go(file: ParsedFile, statement: Statement) -> bool:
    node = statement.node
    if len(statement.body) == 1 or not file.is_alone_on_its_lines(node):
        return False
    rule = _rule(file, statement)
    if not isinstance(node, ast.If):
        return rule(node)
    names = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
    if node.orelse or names & file.falsy:  # what is switched off is removed better by folding the switch
        return False
    return all(rule(inner) for inner in node.body)


def _rule(file: ParsedFile, statement: Statement) -> Callable[[ast.stmt], bool]:
    """What can go here: in a module's `forward` whatever keeps shapes, in its other methods initialisers, elsewhere
    clipping only, because optimizers, counters and loops update values for other reasons."""
    place, _, method = statement.scope.rpartition(".")
    owner = file.classes.get(place)
    if owner is None or not any(dotted(base).endswith("Module") for base in owner.bases):
        return _is_clipping
    if method.startswith("forward"):
        return _is_map
    return _is_clipping if "empty" in file.text else _is_initialiser  # without them, empty memory stays as it is


def _is_clipping(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=func)):
            return dotted(func).rpartition(".")[2] in ("clip_grad_norm_", "clip_grad_value_")
        case _:
            return False


def _is_initialiser(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=func)):
            return re.search(r"(^|\.)(init\.\w+_|zero_|normal_|uniform_)$|^self\.apply$", dotted(func)) is not None
        case _:
            return False


def _is_map(node: ast.stmt) -> bool:
    """Whether the statement maps a value to one of the same shape."""
    match node:
        case ast.AugAssign(target=ast.Name(), op=ast.Add() | ast.Mult(), value=value):
            return not _is_whole(value)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return _updates(name, value)
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
            return all(
                isinstance(n, ast.Name) and isinstance(v, ast.Call) and _updates(n.id, v)
                for n, v in zip(names, values, strict=True)
            )
        case _:
            return False


def _updates(name: str, value: ast.expr) -> bool:
    """Whether the value is the name's own value, scaled, added to, or mapped."""
    if not any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value)):
        return False
    if isinstance(value, ast.BinOp):
        return isinstance(value.op, ast.Add | ast.Mult) and not _is_whole(value.left) and not _is_whole(value.right)
    if isinstance(value, ast.Call) and value.args:
        first = value.args[0]
        return isinstance(first, ast.Name) and first.id == name and not _MAPS.isdisjoint(words(dotted(value.func)))
    return False


def _is_whole(node: ast.expr) -> bool:
    """A whole number: what it is added to or multiplied with is a count, not an activation."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _label(node: ast.stmt) -> str:
    return ast.unparse(node).split("\n", 1)[0]


def unused(file: ParsedFile) -> dict[str, ast.stmt]:
    """Names of the module that are bound once and read nowhere, with the statement that binds them."""
    if file.dynamic:
        return {}
    found: dict[str, ast.stmt] = {}
    for statement in file.tree.body:
        if not file.is_alone_on_its_lines(statement):
            continue
        for name in _bound(statement):
            used = file.loads[name] or file.attributes[name] or name in file.strings or name in _KEPT
            bound_once = file.stores[name] == file.module_stores[name] <= 1  # functions and imports count as no store
            if bound_once and not used and not name.startswith("__"):
                found[name] = statement
    return found


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            if not statement.decorator_list:
                yield statement.name
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant() | ast.Tuple()):
            yield name
        case ast.Import() | ast.ImportFrom():
            future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
            yield from (a.asname or a.name.partition(".")[0] for a in statement.names if a.name != "*" and not future)
        case _:
            pass
