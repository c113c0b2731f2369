"""A landscape made of real training: the effects of single edits and of pairs, as they were measured once.

Source: `tests/bench/record_landscape.py` on the gpt-cpu task. What was not measured is taken to add up; two settings of
one knob do not add up, the worse one counts. Failures are ideas that lose a lot. The noise is that of the root's
trials with different seeds; singles and pairs were all trained with one seed, whose luck cancels in their differences:
of half of the pairs that were measured, parts and whole agree within 2e-3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .quadratic import Quadratic

MBPB = 1e3
LOST = 300.0
"""What an edit that fails costs, mbpb: more than any that was scored."""


def recorded(
    root: Sequence[float], singles: Mapping[str, float | None], pairs: Sequence[tuple[str, str, float]], *, seed: int
) -> Quadratic:
    """The landscape of what was recorded, in the metric's unit; the seed only shuffles the order of ideas.

    root: scores of the unchanged script; singles: score by brief, None for a failure; pairs: two briefs and their
    score.
    """
    names = sorted(singles)
    order = np.random.default_rng([seed, 11]).permutation(len(names))
    index = {names[i]: place for place, i in enumerate(order.tolist())}
    base = float(np.mean(root))
    single = np.full(len(names), LOST)
    for name, value in singles.items():
        if value is not None:
            single[index[name]] = (value - base) * MBPB
    meet = np.zeros((len(names), len(names)))
    knobs = {name: name.split(" = ")[0] for name in names if " = " in name}
    for a in knobs:
        for b in knobs:
            if a != b and knobs[a] == knobs[b]:
                i, j = index[a], index[b]
                meet[i, j] = -min(single[i], single[j])
    for a, b, value in pairs:
        i, j = index[a], index[b]
        meet[i, j] = meet[j, i] = (value - base) * MBPB - single[i] - single[j]
    noise = float(np.std(root, ddof=1)) * MBPB
    return Quadratic(single=single, noise=noise, pairs=meet)
