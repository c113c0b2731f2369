"""Switch a feature that the file knows on or off: booleans, numbers that are off at zero, named choices."""

from __future__ import annotations

from collections.abc import Iterator

from ..knobs import Knob, apply_set, find_knobs, number_of, set_brief, value_text
from ..meaning import family_of, is_protected, words
from ..proposal import NotApplicable, Proposal
from ..source import MODULE, ParsedFile

REASONS: dict[str, tuple[str, str, str]] = {
    # word of the name: category, why on, why off
    "tie": (
        "architecture",
        "One table for embedding and head saves parameters, and both learn from every gradient.",
        "Two tables let reading and predicting differ, which a small vocabulary can afford.",
    ),
    "qk": (
        "architecture",
        "Normalised queries and keys keep attention from saturating, which allows larger learning rates.",
        "Free norms let a head choose how sharply it attends, and save a little time.",
    ),
    "embeddings": (
        "architecture",
        "A direct path from token to values gives attention something to carry that costs almost no compute.",
        "Without the extra tables every step is cheaper and their memory traffic is gone.",
    ),
    "residual": (
        "architecture",
        "Learned weights on the residual paths let the model choose its own effective depth.",
        "Plain residual paths have nothing to mistune and run faster.",
    ),
    "bias": (
        "architecture",
        "Biases let a layer shift its working point.",
        "Layers in front of a norm hardly need biases, and every step gets a little cheaper.",
    ),
    "nesterov": (
        "optimizer",
        "Looking ahead along the momentum corrects an update before it is made.",
        "Plain momentum is simpler and sometimes steadier.",
    ),
    "amsgrad": (
        "optimizer",
        "Never forgetting the largest second moment keeps steps from growing again.",
        "Forgetting old second moments lets steps grow back.",
    ),
    "rope": (
        "architecture",
        "Rotary positions let attention compare places by distance.",
        "Without positions in attention the model may generalise over places.",
    ),
    "parallel": (
        "architecture",
        "Attention and MLP side by side need one norm less and overlap better.",
        "One after the other, the MLP can work on what attention found.",
    ),
}
"""What is known of features by a word of their name; lower-case booleans without such a word are left alone."""

_ANY = (
    "feature",
    "The feature was written because somebody expected it to help; in this setting it may.",
    "The feature may not pay for itself in this setting.",
)


class Features:
    """`set NAME = True`, `set NAME = 0.0`, `set NAME = "choice"`."""

    verb = "set"

    def proposals(self, file: ParsedFile) -> list[Proposal] | NotApplicable:
        """Every switch turned, every other choice taken."""
        found: list[Proposal] = []
        for knob in find_knobs(file).values():
            if not knob.read or is_protected(knob.name):
                continue
            if isinstance(knob.value, bool):
                found += _turn(knob, knob.value)
            elif isinstance(knob.value, str):
                found += _choose(file, knob)
            else:
                found += _on_or_off(file, knob)
        return found or NotApplicable("no switch: no boolean, no number that is off at zero, no named choice")

    def apply(self, file: ParsedFile, brief: str) -> str | NotApplicable:
        """Write the new value in place of the old one."""
        return apply_set(file, brief)


def _turn(knob: Knob, on: bool) -> Iterator[Proposal]:
    known = next((REASONS[word] for word in words(knob.name) if word in REASONS), None)
    if known is None and not (knob.place == MODULE and knob.name.isupper()):
        return
    category, why_on, why_off = known or _ANY
    yield Proposal(
        brief=set_brief({knob.address: not on}),
        title=f"switch {'off' if on else 'on'} {knob.address}",
        hypothesis=why_off if on else why_on,
        mechanism="turns a switch that the code knows",
        category=category,
        weight=1.5,
        structural=True,
    )


def _choose(file: ParsedFile, knob: Knob) -> Iterator[Proposal]:
    """A string that the file compares with others is a choice among them."""
    known = file.compared.get(knob.name, set())
    if knob.place != MODULE or not knob.name.isupper():
        return
    for other in sorted(known - {knob.value}):
        if other and other.isprintable() and not set('"\\') & set(other):
            yield Proposal(
                brief=set_brief({knob.address: other}),
                title=f"{knob.address} {value_text(knob.value)} → {value_text(other)}",
                hypothesis="The code knows this choice; it may suit this setting better than the present one.",
                mechanism="takes another branch that the code has",
                category="feature",
                weight=1.0,
                structural=True,
            )


def _on_or_off(file: ParsedFile, knob: Knob) -> Iterator[Proposal]:
    value = number_of(knob)
    family = family_of(knob.name, value) if value is not None else None
    if family is None or value is None or not (family.off or family.on):
        return
    if value == 0:
        levels = family.on or (0.05,)
        for level in levels:
            yield Proposal(
                brief=set_brief({knob.address: level}),
                title=f"switch on {knob.address}: 0 → {value_text(level)}",
                hypothesis=family.raising,
                mechanism=family.mechanism,
                category=family.category,
                weight=family.weight / len(levels),
                knob=knob.address,
                step=float(level),
                structural=not family.off,
            )
    elif value > 0 and (family.off or (family.on and knob.name in file.tested)):
        yield Proposal(
            brief=set_brief({knob.address: 0.0 if isinstance(value, float) else 0}),
            title=f"switch off {knob.address}: {value_text(value)} → 0",
            hypothesis=family.lowering,
            mechanism=f"{family.mechanism}; at zero it does nothing",
            category=family.category,
            weight=0.7 * family.weight,
            structural=not family.off,
        )
