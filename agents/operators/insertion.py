"""Add a line or a keyword that many training scripts have and this one lacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..proposal import NotApplicable, Proposal
from ..source import Call, ParsedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A keyword that a function takes and that may help."""

    function: str  # its last name
    keyword: str
    values: tuple[str, ...]
    category: str
    weight: float
    hypothesis: str
    mechanism: str


ADDITIONS = (
    Addition(
        function="cross_entropy",
        keyword="label_smoothing",
        values=("0.02", "0.05"),
        category="regularisation",
        weight=0.3,
        hypothesis="Softer targets keep the logits from growing without need early in training.",
        mechanism="mixes the target with a uniform distribution",
    ),
    Addition(
        function="scaled_dot_product_attention",
        keyword="scale",
        values=("0.1", "0.15", "0.25"),
        category="architecture",
        weight=0.6,
        hypothesis="The default scale assumes queries and keys of unit variance; here they may be normalised or large.",
        mechanism="sets how sharply attention picks",
    ),
    Addition(
        function="AdamW",
        keyword="betas",
        values=("(0.9, 0.95)", "(0.9, 0.98)", "(0.8, 0.95)"),
        category="optimizer",
        weight=1.2,
        hypothesis="The default second-moment memory of 1000 steps is long for a short run.",
        mechanism="sets how many past gradients Adam remembers",
    ),
    Addition(
        function="AdamW",
        keyword="weight_decay",
        values=("0.0", "0.1"),
        category="regularisation",
        weight=0.6,
        hypothesis="The default decay of 0.01 is nobody's choice for this model.",
        mechanism="pulls the weights towards zero at every step",
    ),
    Addition(
        function="SGD",
        keyword="nesterov",
        values=("True",),
        category="optimizer",
        weight=0.5,
        hypothesis="Looking ahead along the momentum corrects an update before it is made.",
        mechanism="evaluates the momentum one step ahead",
    ),
)


class AddKeyword:
    """`add KEYWORD=VALUE to FUNCTION in SCOPE`."""

    verb = "add"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every known keyword that a call does not pass."""
        found = [
            Proposal(
                brief=f"add {addition.keyword}={value} to {call.name} in {call.scope}",
                title=f"{call.name}({addition.keyword}={value}) in {call.scope}",
                hypothesis=addition.hypothesis,
                mechanism=addition.mechanism,
                category=addition.category,
                weight=addition.weight / len(addition.values),
                knob=f"{call.name}({addition.keyword})",
            )
            for addition in ADDITIONS
            for call in _lacking(file, addition.function, addition.keyword)
            for value in addition.values
        ]
        return found or NotApplicable("no call that lacks a keyword it knows a value for")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Write the keyword behind the last argument."""
        match = re.fullmatch(r"add (\w+)=(.+) to (\w+) in ([\w.]+)", brief)
        if match is None:
            return NotApplicable(f"not of the form 'add KEYWORD=VALUE to FUNCTION in SCOPE': {brief[:80]!r}")
        keyword, value, function, scope = match.groups()
        known = any((a.function, a.keyword) == (function, keyword) and value in a.values for a in ADDITIONS)
        call = next((c for c in _lacking(file, function, keyword) if c.scope == scope), None)
        if call is None or not known:
            return NotApplicable(f"no call of {function} in {scope} that could be given {keyword}={value[:40]}")
        arguments: list[ast.expr | ast.keyword] = [*call.node.args, *call.node.keywords]
        last = max(file.span(argument)[1] for argument in arguments)
        return file.replaced([((last, last), f", {keyword}={value}")])


def _lacking(file: ParsedFile, function: str, keyword: str) -> Iterator[Call]:
    """Calls of the function without the keyword; the only one of its scope, and not one that hides its arguments."""
    calls = [call for call in file.calls if call.name == function]
    scopes = [call.scope for call in calls]
    for call in calls:
        given = {k.arg for k in call.node.keywords}
        hidden = None in given or any(isinstance(a, ast.Starred) for a in call.node.args)
        momentum = keyword != "nesterov" or "momentum" in given
        if scopes.count(call.scope) == 1 and call.node.args and keyword not in given and not hidden and momentum:
            yield call


class ClipGradients:
    """`clip gradients at NORM in FUNCTION`, before the optimizer's step, where nothing clips them."""

    verb = "clip"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Two bounds for every training loop without one."""
        found = [
            Proposal(
                brief=f"clip gradients at {bound} in {scope}",
                title=f"clip gradients at {bound}",
                hypothesis="Single bad batches can undo many steps; a bound on the gradient's norm limits the damage.",
                mechanism="scales gradients down whose norm exceeds the bound",
                category="optimizer",
                weight=0.4,
                knob="clipping",
            )
            for scope, _, _ in _unclipped(file)
            for bound in ("0.5", "1.0")
        ]
        return found or NotApplicable("gradients are clipped already, or no plain loop with `backward` and `model`")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Insert the line after the backward pass."""
        match = re.fullmatch(r"clip gradients at (0\.5|1\.0) in ([\w.]+)", brief)
        found = [u for u in _unclipped(file) if match is not None and u[0] == match[2]]
        if match is None or not found:
            return NotApplicable(f"no loop without gradient clipping for {brief[:80]!r}")
        _, backward, utils = found[0]
        start, end = file.lines_of(backward)
        indent = re.match(rb"[ \t]*", file.data[start:end])
        line_end = "\r\n" if file.data[start:end].endswith(b"\r\n") else "\n"
        margin = indent[0].decode() if indent else ""
        break_before = "" if file.data[start:end].endswith(b"\n") else line_end
        line = f"{break_before}{margin}{utils}.clip_grad_norm_(model.parameters(), {match[1]}){line_end}"
        return file.replaced([((end, end), line)])


def _unclipped(file: ParsedFile) -> Iterator[tuple[str, ast.stmt, str]]:
    """(scope, the backward statement, the name of torch.nn.utils) of loops without clipping."""
    utils = file.imported("torch.nn.utils")
    if utils is None or "clip_grad" in file.text:
        return
    models = {s.scope for s in file.statements if isinstance(s.node, ast.Assign) and _binds_model(s.node)}
    for statement in file.statements:
        match statement.node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="backward"))):
                if statement.scope in models and file.is_alone_on_its_lines(statement.node):
                    yield statement.scope, statement.node, utils
            case _:
                pass


def _binds_model(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "model" for target in node.targets)
