"""Exchange one function for a related one: activations, norms, optimizers, initialisers.

A brief names what is exchanged and the function it stands in, `swap activation relu -> gelu in MLP.forward`: all
places of that kind in that function change together.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..proposal import NotApplicable, Proposal
from ..source import Call, Change, ParsedFile, Span

FUNCTIONAL = "torch.nn.functional"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Something that can be exchanged, and how each of its alternatives would be written there."""

    kind: str  # "activation"
    now: str  # "relu"
    scope: str
    span: Span
    others: dict[str, str]  # alternative -> new text


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is known of a kind of exchange."""

    category: str
    weight: float
    mechanism: str
    reasons: dict[str, str]  # alternative -> why it may help


KINDS = {
    "activation": Kind(
        category="architecture",
        weight=1.0,
        mechanism="changes the non-linearity and nothing else",
        reasons={
            "relu": "ReLU is the cheapest non-linearity and makes activations sparse.",
            "relu2": "Squaring the ReLU makes large activations count more; it did well in speed runs of small GPTs.",
            "gelu": "GELU is smooth around zero and passes gradients for slightly negative inputs.",
            "silu": "SiLU is smooth, does not saturate, and is a little cheaper than GELU.",
            "leaky_relu": "A leak for negative inputs keeps units from dying.",
            "mish": "Mish is smoother still, which can help shallow models.",
        },
    ),
    "norm": Kind(
        category="architecture",
        weight=0.5,
        mechanism="changes how activations are normalised",
        reasons={
            "rms_norm": "RMS norm leaves the mean alone and is cheaper than layer norm.",
            "layer_norm": "Layer norm also removes the mean, which can steady small models.",
        },
    ),
    "optimizer": Kind(
        category="optimizer",
        weight=1.0,
        mechanism="changes how gradients become updates; learning rate and schedule stay",
        reasons={
            "AdamW": "Decoupled decay keeps regularisation independent of the gradients' size.",
            "NAdam": "Nesterov momentum inside Adam looks ahead, which helps when steps are few.",
            "RAdam": "Rectified Adam distrusts second moments that rest on few steps, a warm-up of its own.",
            "Adamax": "The infinity norm in Adamax ignores small gradients, which suits embeddings.",
        },
    ),
    "init": Kind(
        category="initialisation",
        weight=0.6,
        mechanism="changes the weights before the first step",
        reasons={
            "normal": "Small random weights instead of zeros let gradients reach the layers before at once.",
            "zeros": "Starting at zero makes the layer silent until it has learnt something.",
            "uniform": "A uniform distribution of the same spread has no outliers to unlearn.",
        },
    ),
}


class Swap:
    """`swap KIND OLD -> NEW in SCOPE`."""

    verb = "swap"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every exchange once per function."""
        found: dict[str, Proposal] = {}
        for place in _places(file):
            kind = KINDS[place.kind]
            for other in place.others:
                brief = f"swap {place.kind} {place.now} -> {other} in {place.scope}"
                found[brief] = Proposal(
                    brief=brief,
                    title=f"{place.kind} {place.now} → {other} in {place.scope}",
                    hypothesis=kind.reasons[other],
                    mechanism=kind.mechanism,
                    category=kind.category,
                    weight=kind.weight * 1.5 / len(place.others),
                    structural=True,
                )
        return list(found.values()) or NotApplicable("no activation, norm, torch optimizer or initialiser it knows")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Exchange every such place in the function."""
        match = re.fullmatch(r"swap (\w+) (\w+) -> (\w+) in ([\w.]+)", brief)
        if match is None:
            return NotApplicable(f"not of the form 'swap KIND OLD -> NEW in FUNCTION': {brief[:80]!r}")
        kind, old, new, scope = match.groups()
        changes: list[Change] = [
            (place.span, place.others[new])
            for place in _places(file)
            if (place.kind, place.now, place.scope) == (kind, old, scope) and new in place.others
        ]
        if not changes:
            return NotApplicable(f"no {kind} {old} in {scope} that can become {new}")
        return file.replaced(_outermost(changes))


def _outermost(changes: list[Change]) -> list[Change]:
    """Without changes that lie inside others: nested places change one at a time."""
    kept: list[Change] = []
    for (start, end), text in sorted(changes, key=lambda change: (change[0][0], -change[0][1])):
        if not kept or start >= kept[-1][0][1]:
            kept.append(((start, end), text))
    return kept


def _places(file: ParsedFile) -> Iterator[Place]:
    functional = file.imported(FUNCTIONAL)
    for call in file.calls:
        yield from _activation(file, call, functional)
        yield from _module(file, call)
        yield from _norm(file, call, functional)
        yield from _optimizer(file, call)
        yield from _initialiser(file, call)


_ACTIVATIONS = ("relu", "gelu", "silu", "leaky_relu", "mish")


def _activation(file: ParsedFile, call: Call, functional: str | None) -> Iterator[Place]:
    """`F.relu(x)`, `torch.relu(x)`, `x.relu()`, each perhaps squared."""
    if functional is None or call.name not in _ACTIVATIONS:
        return
    base = call.callee.rpartition(".")[0]
    if base in (functional, "torch", FUNCTIONAL) and call.node.args:
        argument = call.node.args[0]
    elif isinstance(call.node.func, ast.Attribute) and not call.node.args and not call.node.keywords:
        argument = call.node.func.value
    else:
        return
    squared = _squared(file, call.node) if call.name == "relu" else None
    node: ast.expr = squared or call.node
    now, text = "relu2" if squared else call.name, file.source(argument)
    others = {name: f"{functional}.{name}({text})" for name in _ACTIVATIONS if name != now}
    if now != "relu2":
        others["relu2"] = f"{functional}.relu({text}).square()"
    yield Place(kind="activation", now=now, scope=call.scope, span=file.span(node), others=others)


def _squared(file: ParsedFile, node: ast.Call) -> ast.expr | None:
    """The expression that squares the call, if there is one."""
    outer = file.parents.get(node)
    if isinstance(outer, ast.BinOp) and isinstance(outer.op, ast.Pow) and outer.left is node:
        return outer if isinstance(outer.right, ast.Constant) and outer.right.value == 2 else None
    if isinstance(outer, ast.Attribute) and outer.attr in ("square", "pow"):
        power = file.parents.get(outer)
        if isinstance(power, ast.Call) and power.func is outer:
            exponent = [a.value for a in power.args if isinstance(a, ast.Constant)]
            if exponent == ([] if outer.attr == "square" else [2]):
                return power
    return None


_MODULES = {"ReLU": "relu", "GELU": "gelu", "SiLU": "silu", "LeakyReLU": "leaky_relu", "Mish": "mish"}


def _module(file: ParsedFile, call: Call) -> Iterator[Place]:
    """`nn.ReLU()` and its like."""
    base, _, name = call.callee.rpartition(".")
    if name in _MODULES and base in (file.imported("torch.nn"), "torch.nn"):
        others = {kind: f"{base}.{module}()" for module, kind in _MODULES.items() if module != name}
        now = _MODULES[name]
        yield Place(kind="activation", now=now, scope=call.scope, span=file.span(call.node), others=others)


def _norm(file: ParsedFile, call: Call, functional: str | None) -> Iterator[Place]:
    """`F.rms_norm(x, shape)` and `F.layer_norm(x, shape)`, `nn.RMSNorm(n)` and `nn.LayerNorm(n)`."""
    base, _, name = call.callee.rpartition(".")
    func = file.span(call.node.func)
    plain = not any(keyword.arg in ("bias", None) for keyword in call.node.keywords)
    if functional is not None and base == functional and name in ("rms_norm", "layer_norm"):
        other = "layer_norm" if name == "rms_norm" else "rms_norm"
        if len(call.node.args) == 2 and not call.node.keywords:
            yield Place(kind="norm", now=name, scope=call.scope, span=func, others={other: f"{base}.{other}"})
    elif base == file.imported("torch.nn") and name in ("RMSNorm", "LayerNorm") and plain:
        now, other, module = (
            ("rms_norm", "layer_norm", "LayerNorm") if name == "RMSNorm" else ("layer_norm", "rms_norm", "RMSNorm")
        )
        yield Place(kind="norm", now=now, scope=call.scope, span=func, others={other: f"{base}.{module}"})


_OPTIMIZERS = ("AdamW", "NAdam", "RAdam", "Adamax")


def _optimizer(file: ParsedFile, call: Call) -> Iterator[Place]:
    """`torch.optim.AdamW(...)` with no other keywords than all of them take."""
    base, _, name = call.callee.rpartition(".")
    if name not in _OPTIMIZERS or not base or base != file.imported("torch.optim"):
        return
    if all(k.arg in ("lr", "betas", "eps", "weight_decay", "params") for k in call.node.keywords):
        others = {other: f"{base}.{other}" for other in _OPTIMIZERS if other != name}
        span = file.span(call.node.func)
        yield Place(kind="optimizer", now=name, scope=call.scope, span=span, others=others)


def _initialiser(file: ParsedFile, call: Call) -> Iterator[Place]:
    """`nn.init.zeros_(w)` and `nn.init.normal_(w, std=...)`."""
    base, _, name = call.callee.rpartition(".")
    if base != file.imported("torch.nn.init") or len(call.node.args) != 1:
        return
    weight, keywords = file.source(call.node.args[0]), {k.arg: file.source(k.value) for k in call.node.keywords}
    span = file.span(call.node)
    if name == "zeros_" and not keywords and "bias" not in weight:
        others = {"normal": f"{base}.normal_({weight}, std=0.02)"}
        yield Place(kind="init", now="zeros", scope=call.scope, span=span, others=others)
    elif name == "normal_" and keywords.keys() == {"std"}:
        half = f"3**0.5 * ({keywords['std']})"
        others = {"uniform": f"{base}.uniform_({weight}, -({half}), {half})"}
        yield Place(kind="init", now="normal", scope=call.scope, span=span, others=others)
