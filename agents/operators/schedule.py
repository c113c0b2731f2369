"""Change the shape of the learning rate's decay where the file computes it: linear, cosine, square root, square."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..meaning import words
from ..proposal import NotApplicable, Proposal
from ..source import ParsedFile, Span, dotted

SHAPES = {
    "linear": "A straight line to the end is hard to beat when the budget is fixed.",
    "cosine": "A cosine stays high for longer, then falls fast, and lands softly.",
    "root": "A root keeps the rate high until late, which leaves more time for learning before it settles.",
    "square": "A square falls fast at first and spends the end at small rates, where noise averages out.",
}
"""Ways to fall from 1 to 0, with why each may help."""

_WORDS = frozenset({"lr", "schedule", "multiplier", "mult", "scale", "decay", "anneal", "cooldown", "rate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """A place where something falls linearly (or in another shape) from 1 to 0."""

    scope: str
    shape: str
    span: Span
    others: str  # factors that stand in the same product: "(1 - FINAL_LR) * ", or empty
    fall: str  # the linear fall itself, as an expression


class Schedule:
    """`reshape decay to SHAPE in FUNCTION`."""

    verb = "reshape"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every other shape for every decay."""
        found = [
            Proposal(
                brief=f"reshape decay to {shape} in {decay.scope}",
                title=f"{decay.shape} → {shape} decay in {decay.scope}",
                hypothesis=why,
                mechanism="changes how the learning rate falls, not when or how far",
                category="schedule",
                weight=0.8,
                structural=True,
            )
            for decay in _decays(file)
            for shape, why in SHAPES.items()
            if shape != decay.shape and (shape != "cosine" or file.imported("math"))
        ]
        return found or NotApplicable("no function that computes a falling learning rate in a form it knows")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Rewrite the decay in the function."""
        match = re.fullmatch(r"reshape decay to (\w+) in ([\w.]+)", brief)
        if match is None or match[1] not in SHAPES:
            return NotApplicable(f"not of the form 'reshape decay to {'|'.join(SHAPES)} in FUNCTION': {brief[:80]!r}")
        shape, scope = match.groups()
        math = file.imported("math")
        if shape == "cosine" and math is None:
            return NotApplicable("a cosine needs `import math`")
        decay = next((d for d in _decays(file) if d.scope == scope and d.shape != shape), None)
        if decay is None:
            return NotApplicable(f"no decay in {scope} that can become {shape}")
        return file.replaced([(decay.span, _written(decay, shape, math or ""))])


def _written(decay: Decay, shape: str, math: str) -> str:
    fall = decay.fall
    match shape:
        case "cosine":
            shaped = f"(0.5 - 0.5 * {math}.cos({math}.pi * {_grouped(fall)}))"
        case "root":
            shaped = f"max({fall}, 0.0) ** 0.5"
        case "square":
            shaped = f"({fall}) ** 2"
        case _:
            shaped = f"({fall})" if decay.others else fall
    return decay.others + shaped


def _grouped(text: str) -> str:
    return text if re.fullmatch(r"[\w.]+|\([^()]*\)", text) else f"({text})"


def _decays(file: ParsedFile) -> Iterator[Decay]:
    """At most one for each function whose name or parameters speak of a schedule."""
    for scope, function in file.functions.items():
        if _WORDS.isdisjoint(words(function.name)):
            continue
        moving = {a.arg for a in [*function.args.posonlyargs, *function.args.args] if a.arg != "self"}
        moving |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        expressions = (s.value for s in ast.walk(function) if isinstance(s, ast.Return | ast.Assign) and s.value)
        found = next((d for e in expressions for d in _in_expression(file, e, scope, moving)), None)
        if found is not None:
            yield found


def _in_expression(file: ParsedFile, node: ast.expr, scope: str, moving: set[str]) -> Iterator[Decay]:
    """Look at the sum's terms and the product's factors, from the outside in."""
    if isinstance(node, ast.IfExp):
        yield from _in_expression(file, node.body, scope, moving)
        yield from _in_expression(file, node.orelse, scope, moving)
        return
    decay = _cosine(file, node, scope, moving) or _product(file, node, scope, moving)
    if decay is not None:
        yield decay
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        yield from _in_expression(file, node.left, scope, moving)
        yield from _in_expression(file, node.right, scope, moving)
    elif isinstance(node, ast.Call) and dotted(node.func) in ("max", "min"):
        for argument in node.args:
            yield from _in_expression(file, argument, scope, moving)


def _product(file: ParsedFile, node: ast.expr, scope: str, moving: set[str]) -> Decay | None:
    """`k * (1 - t) / w`, `1 - t`, `(end - t) / w`, and what this operator makes of them."""
    factors, divisors = _factors(node)
    for i, factor in enumerate(factors):
        shape, inner = _unshaped(factor)
        inside, under = _factors(inner)
        under = under if shape else under + divisors
        falling = [f for f in inside if _falls(f, moving, divided=bool(under))]
        if len(falling) != 1 or (shape and divisors) or (not shape and len(inside) > 1):
            continue
        fall = f"({file.source(falling[0])})" if under or len(inside) > 1 else file.source(falling[0])
        fall = " * ".join([*(_factor(file, f) for f in inside if f is not falling[0]), fall])
        fall += "".join(f" / {_factor(file, d)}" for d in under)
        others = "".join(f"{_factor(file, f)} * " for j, f in enumerate(factors) if j != i)
        return Decay(scope=scope, shape=shape or "linear", span=file.span(node), others=others, fall=fall)
    return None


def _unshaped(node: ast.expr) -> tuple[str, ast.expr]:
    """The shape that was put on a fall, and the fall under it; no shape for the fall itself."""
    match node:
        case ast.BinOp(
            left=ast.Call(func=ast.Name(id="max"), args=[inner, ast.Constant()]),
            op=ast.Pow(),
            right=ast.Constant(value=0.5),
        ):
            return "root", inner
        case ast.BinOp(left=inner, op=ast.Pow(), right=ast.Constant(value=2)):
            return "square", inner
        case ast.BinOp(
            left=ast.Constant(value=0.5),
            op=ast.Sub(),
            right=ast.BinOp(left=ast.Constant(value=0.5), op=ast.Mult(), right=ast.Call(args=[angle]) as call),
        ) if dotted(call.func).endswith("cos") and isinstance(angle, ast.BinOp):
            return "cosine", angle.right
        case _:
            return "", node


def _cosine(file: ParsedFile, node: ast.expr, scope: str, moving: set[str]) -> Decay | None:
    """`k * 0.5 * (1 + math.cos(math.pi * t))`, the field's usual way to write it: 1 - t falls."""
    factors, divisors = _factors(node)
    halves = [f for f in factors if isinstance(f, ast.Constant) and f.value == 0.5]
    for factor in factors if len(halves) == 1 and not divisors else []:
        match factor:
            case ast.BinOp(left=ast.Constant(value=1), op=ast.Add(), right=ast.Call(args=[angle]) as call) if dotted(
                call.func
            ).endswith("cos"):
                inside, under = _factors(angle)
                rest = [f for f in inside if not dotted(f).endswith("pi")]
                if len(rest) == len(inside) - 1 == 1:
                    others = "".join(f"{_factor(file, f)} * " for f in factors if f not in (factor, halves[0]))
                    fall = "1 - " + _factor(file, rest[0]) + "".join(f" / {_factor(file, d)}" for d in under)
                    return Decay(scope=scope, shape="cosine", span=file.span(node), others=others, fall=fall)
            case _:
                pass
    return None


def _factors(node: ast.expr) -> tuple[list[ast.expr], list[ast.expr]]:
    """(a, b), (c,) for `a * b / c`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        left, left_under = _factors(node.left)
        right, right_under = _factors(node.right) if isinstance(node.op, ast.Mult) else ([], [node.right])
        return left + right, left_under + right_under
    return [node], []


def _falls(node: ast.expr, moving: set[str], *, divided: bool) -> bool:
    """`1 - t` and, over something, `end - t`: what is subtracted moves, what it is subtracted from does not."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
        return False
    names = {n.id for n in ast.walk(node.right) if isinstance(n, ast.Name)}
    fixed = {n.id for n in ast.walk(node.left) if isinstance(n, ast.Name)}
    one = isinstance(node.left, ast.Constant) and node.left.value == 1
    return bool(names & moving) and not fixed & moving and (one or divided)


def _factor(file: ParsedFile, node: ast.expr) -> str:
    """The expression's text, in parentheses if a product needs them."""
    text = file.source(node)
    return f"({text})" if isinstance(node, ast.BinOp | ast.UnaryOp | ast.IfExp | ast.BoolOp | ast.Compare) else text
