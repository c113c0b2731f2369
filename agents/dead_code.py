"""Write a name's value in where it is read, and remove the code that can then no longer run. Formatting stays.

This is the one place that needs libcst: branches change their indentation, comments move along, parentheses must fit.
Importing it costs 150 ms, so operators import this module when they first fold something.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import libcst as cst

Value = bool | int | float | str
Left = cst.CSTNode | cst.RemovalSentinel | cst.FlattenSentinel[Any]


class Unreadable(Exception):
    """libcst does not understand what Python does: syntax newer than itself."""


def folded(text: str, name: str, value_text: str) -> str:
    """The statements with `name` replaced by a literal and every test that this decides resolved."""
    try:
        module = cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise Unreadable(error.message) from error
    return module.visit(_Fold(name, cst.parse_expression(value_text))).code


class _Fold(cst.CSTTransformer):
    """Works from the leaves up: each node finds its parts already resolved."""

    def __init__(self, name: str, literal: cst.BaseExpression) -> None:
        super().__init__()
        self.name = name
        self.literal = literal
        self.elifs: set[cst.CSTNode] = set()  # resolved by the `if` they belong to

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.If) and isinstance(node.orelse, cst.If):
            self.elifs.add(node.orelse)
        return True

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:  # typed as loosely as libcst's own
        match original_node:
            case cst.Name():
                return _instead(self.literal, updated_node) if updated_node.value == self.name else updated_node
            case cst.Attribute():  # `x.NAME` is something else, and so is `f(NAME=...)`
                return updated_node.with_changes(attr=original_node.attr)
            case cst.Arg():
                return updated_node.with_changes(keyword=original_node.keyword)
            case cst.If():
                return _if(updated_node, resolve=original_node not in self.elifs)
            case _:
                rule = _RULES.get(type(original_node))
                return rule(updated_node) if rule else updated_node


def _known(node: cst.BaseExpression) -> Value | None:
    """The value of a literal; None for anything else."""
    if isinstance(node, cst.Name):
        return {"True": True, "False": False}.get(node.value)
    if isinstance(node, cst.Integer | cst.Float):
        return node.evaluated_value
    if isinstance(node, cst.SimpleString) and not node.prefix:
        return str(node.evaluated_value)
    return None


def _instead(chosen: cst.BaseExpression, of: cst.BaseExpression) -> cst.BaseExpression:
    """The chosen part, in the parentheses of the whole."""
    return chosen.with_changes(lpar=[*of.lpar, *chosen.lpar], rpar=[*chosen.rpar, *of.rpar])


def _call(node: cst.Call) -> cst.BaseExpression:
    """`dropout(x, 0.0, ...)` is x."""
    last = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
    off = len(node.args) > 1 and node.args[0].keyword is None and _known(node.args[1].value) == 0.0
    if not (isinstance(last, cst.Name) and last.value == "dropout" and off):
        return node
    kept = node.args[0].value
    if not isinstance(kept, cst.Name | cst.Call | cst.Attribute | cst.Subscript) and not kept.lpar:
        kept = kept.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return _instead(kept, node)


def _not(node: cst.UnaryOperation) -> cst.BaseExpression:
    outcome = _known(node.expression)
    if isinstance(node.operator, cst.Not) and isinstance(outcome, bool):
        return _instead(cst.Name(str(not outcome)), node)
    return node


_COMPARE: dict[type[cst.BaseCompOp], Callable[[Any, Any], bool]] = {
    cst.Equal: operator.eq,
    cst.NotEqual: operator.ne,
    cst.GreaterThan: operator.gt,
    cst.GreaterThanEqual: operator.ge,
    cst.LessThan: operator.lt,
    cst.LessThanEqual: operator.le,
}


def _comparison(node: cst.Comparison) -> cst.BaseExpression:
    target = node.comparisons[0]
    compare = _COMPARE.get(type(target.operator)) if len(node.comparisons) == 1 else None
    left, right = _known(node.left), _known(target.comparator)
    if compare is None or left is None or right is None or isinstance(left, str) != isinstance(right, str):
        return node
    return _instead(cst.Name(str(compare(left, right))), node)


def _and_or(node: cst.BooleanOperation) -> cst.BaseExpression:
    left, right = _known(node.left), _known(node.right)
    neutral = isinstance(node.operator, cst.And)  # `True and x` is x, `False or x` is x
    if isinstance(left, bool):
        return _instead(node.right if left is neutral else node.left, node)
    if isinstance(right, bool) and right is neutral:  # as true as the left side, which is what a test asks
        return _instead(node.left, node)
    return node


def _conditional(node: cst.IfExp) -> cst.BaseExpression:
    outcome = _known(node.test)
    return node if outcome is None else _instead(node.body if outcome else node.orelse, node)


_RULES: dict[type[cst.CSTNode], Callable[[Any], cst.BaseExpression]] = {
    cst.Call: _call,
    cst.UnaryOperation: _not,
    cst.Comparison: _comparison,
    cst.BooleanOperation: _and_or,
    cst.IfExp: _conditional,
}


def _if(node: cst.If, *, resolve: bool) -> Left:
    """The statement without dead branches; an `elif` is left to the `if` above it."""
    branch = node.orelse
    if isinstance(branch, cst.If) and (outcome := _known(branch.test)) is not None:
        taken = cst.Else(body=branch.body, leading_lines=branch.leading_lines) if outcome else branch.orelse
        node = node.with_changes(orelse=taken)
    if isinstance(node.orelse, cst.Else) and not node.orelse.body.body:  # what stood there has gone
        node = node.with_changes(orelse=None)
    outcome = _known(node.test) if resolve else None
    if outcome is None:
        return node
    if outcome:
        return _unindented(node, node.body)
    if isinstance(node.orelse, cst.If):
        return node.orelse.with_changes(leading_lines=node.leading_lines)
    return _unindented(node, node.orelse.body) if node.orelse else cst.RemoveFromParent()


def _unindented(node: cst.If, suite: cst.BaseSuite) -> Left:
    """The statements of a branch in place of the whole."""
    if isinstance(suite, cst.SimpleStatementSuite):  # `if x: y`
        return cst.SimpleStatementLine(body=suite.body, leading_lines=node.leading_lines)
    if not suite.body:
        return cst.RemoveFromParent()
    first, *rest = suite.body
    assert isinstance(first, cst.BaseCompoundStatement | cst.SimpleStatementLine)
    return cst.FlattenSentinel([first.with_changes(leading_lines=[*node.leading_lines, *first.leading_lines]), *rest])
