"""Move numbers together that belong together: moving only one of them would fail for a reason that is known."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from ..families import Family
from ..knobs import Knob, Value, apply_set, number_of, set_brief
from ..proposal import NotApplicable, Proposal
from ..scales import Company, Number, Width, number_text
from ..source import ParsedFile
from .constants import company_of, numbers

Group = dict[str, list[tuple[Knob, Family, Number]]]
"""The numbers of one place by family."""


class Coupled:
    """`set A = V, B = W`: batch with learning rates, width with heads, depth with width, rows with their length."""

    verb = "set"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """All couplings whose members stand in the same place."""
        groups: dict[str, Group] = defaultdict(lambda: defaultdict(list))
        for knob, family in numbers(file):
            value = number_of(knob)
            if value is not None and value > 0:
                groups[knob.place][family.name].append((knob, family, value))
        found = [p for group in groups.values() for couple in _COUPLINGS for p in couple(file, group)]
        return found or NotApplicable("no two numbers that belong together (batch and learning rate, width and heads)")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Write all the new values, or none."""
        return apply_set(file, brief)


def _batch_and_rates(file: ParsedFile, group: Group) -> Iterator[Proposal]:
    """The learning rate that suits a batch grows with about its square root (adaptive methods)."""
    if len(group["batch size"]) != 1 or not group["learning rate"]:
        return
    batch, family, rows = group["batch size"][0]
    for new in family.scale.around(rows, Company()):
        settings: dict[str, Value] = {batch.address: new}
        settings |= _scaled(group, math.sqrt(new / rows))
        word, factor = "larger" if new > rows else "smaller", f"{math.sqrt(new / rows):.2g}"
        yield Proposal(
            brief=set_brief(settings),
            title=f"{batch.address} {number_text(rows)} → {number_text(new)}, learning rates × {factor}",
            hypothesis=f"A {word} batch wants {word} steps: alone, either change meets rates that no longer fit.",
            mechanism="moves the batch, and the learning rates by the square root of its change",
            category="batch",
            weight=1.0,
            knob=f"{batch.address} with rates",
            step=math.log(new / rows),
        )


def _all_rates(file: ParsedFile, group: Group) -> Iterator[Proposal]:
    """All learning rates by the same factor: the one direction that single moves cannot take."""
    if len(group["learning rate"]) < 2:
        return
    for factor in (0.7, 1.4):
        yield Proposal(
            brief=set_brief(_scaled(group, factor)),
            title=f"all learning rates × {factor}",
            hypothesis="The rates may be balanced against each other and still all be "
            + ("too small for a run this short." if factor > 1 else "too large to settle."),
            mechanism="scales every update of every parameter",
            category="optimizer",
            weight=1.5,
            knob="all learning rates",
            step=math.log(factor),
        )


def _width_and_heads(file: ParsedFile, group: Group) -> Iterator[Proposal]:
    """Heads of the same size, more or fewer of them."""
    if not len(group["width"]) == len(group["heads"]) == 1:
        return
    (width, wide, channels), (heads, _, count) = group["width"][0], group["heads"][0]
    size = int(channels) // int(count)
    keys = company_of(file, heads).key_heads or 1
    for new in (int(count) - keys, int(count) + keys):
        if new < 1 or not wide.scale.allows(size * new, Company(heads=new)):
            continue
        yield Proposal(
            brief=set_brief({width.address: size * new, heads.address: new}),
            title=f"{width.address} {channels} → {size * new} with {heads.address} {count} → {new}",
            hypothesis="Width and heads grow together: " + (wide.raising if new > count else wide.lowering),
            mechanism="changes the width by whole heads of the same size",
            category="architecture",
            weight=1.2,
            knob="width with heads",
            step=math.log(new / count),
            structural=True,
        )


def _depth_and_width(file: ParsedFile, group: Group) -> Iterator[Proposal]:
    """At equal parameters depth x width² stays the same."""
    if not len(group["depth"]) == len(group["width"]) == 1:
        return
    (depth, family, layers), (width, wide, channels) = group["depth"][0], group["width"][0]
    scale, company = wide.scale, company_of(file, width)
    for new in family.scale.around(layers, Company()):
        target = channels * math.sqrt(layers / new)
        near = Width(factors=(target / channels,)).around(channels, company)
        for channels_after in (w for w in near if scale.allows(w, company) and abs(w / target - 1) < 0.1):
            deeper = new > layers
            yield Proposal(
                brief=set_brief({depth.address: new, width.address: channels_after}),
                title=f"{depth.address} {layers} → {new}, {width.address} {channels} → {channels_after}: equal size",
                hypothesis="The same parameters may do more "
                + ("in more, narrower layers." if deeper else "in fewer, wider layers, which also run faster."),
                mechanism="trades depth against width at about the same number of parameters",
                category="architecture",
                weight=0.8,
                knob="depth against width",
                step=math.log(new / layers),
                structural=True,
            )


def _rows_and_length(file: ParsedFile, group: Group) -> Iterator[Proposal]:
    """The same tokens in a step, cut differently."""
    if not len(group["sequence length"]) == len(group["batch size"]) == 1:
        return
    (length, long, tokens), (batch, many, rows) = group["sequence length"][0], group["batch size"][0]
    shorter, more = tokens // 2, rows * 2
    if tokens % 2 == 0 and long.scale.allows(shorter, Company()) and many.scale.allows(more, Company()):
        yield Proposal(
            brief=set_brief({length.address: shorter, batch.address: more}),
            title=f"{length.address} {tokens} → {shorter} with {batch.address} {rows} → {more}",
            hypothesis="Twice as many rows of half the length are more varied, and attention over them is cheaper.",
            mechanism="keeps the tokens in a step and shortens the rows",
            category="batch",
            weight=0.8,
            knob="rows against length",
            step=-math.log(2),
        )


def _rate_and_decay(file: ParsedFile, group: Group) -> Iterator[Proposal]:
    """What decay removes in a step is about learning rate x decay: keep the product, change the pace."""
    if not len(group["weight decay"]) == len(group["learning rate"]) == 1:
        return
    (rate, fast, lr), (decay, slow, wd) = group["learning rate"][0], group["weight decay"][0]
    for factor in (0.5, 2.0):
        new_lr, new_wd = _rounded(lr * factor), _rounded(wd / factor)
        if fast.scale.allows(new_lr, Company()) and slow.scale.allows(new_wd, Company()):
            yield Proposal(
                brief=set_brief({rate.address: new_lr, decay.address: new_wd}),
                title=f"{rate.address} × {factor:g} with {decay.address} × {1 / factor:g}",
                hypothesis="The learning rate can move further if the pull of weight decay per step stays the same.",
                mechanism="keeps the product of learning rate and weight decay",
                category="optimizer",
                weight=0.6,
                knob="rate against decay",
                step=math.log(factor),
            )


_COUPLINGS = (_batch_and_rates, _all_rates, _width_and_heads, _depth_and_width, _rows_and_length, _rate_and_decay)


def _scaled(group: Group, factor: float) -> dict[str, Value]:
    """Every learning rate times the factor, where the bounds allow it."""
    settings: dict[str, Value] = {}
    for knob, family, value in group["learning rate"]:
        new = _rounded(value * factor)
        if family.scale.allows(new, Company()):
            settings[knob.address] = new
    return settings


def _rounded(value: float) -> float:
    """Two digits: enough for a coupled move."""
    return float(f"{value:.2g}")
