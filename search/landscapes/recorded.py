"""A landscape made of real training: the effects of single edits and of pairs, as they were measured once.

Source: `tests/bench/record_landscape.py` on the gpt-cpu task. What was not measured is taken to add up; two settings of
one knob do not add up, the worse one counts. Failures are ideas that lose a lot. The noise is that of the root's
trials, and what a pair does beyond its parts is shrunk by the share of noise in it: without that, a hundred pairs
measured once would be rugged ground made of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .ground import Floats
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
    noise = float(np.std(root, ddof=1)) * MBPB
    places = [(index[a], index[b]) for a, b, _ in pairs]
    beyond = np.array([(value - base) * MBPB for *_, value in pairs]) - [single[i] + single[j] for i, j in places]
    for (i, j), effect in zip(places, real_share(beyond, noise) * beyond, strict=True):
        meet[i, j] = meet[j, i] = effect
    return Quadratic(single=single, noise=noise, pairs=meet)


def real_share(beyond: Floats, noise: float) -> float:
    """The share of the spread of the pairs' interactions that noise does not explain, 0 to 1 (empirical Bayes): each is
    a difference of three trials that were measured once."""
    spread = float(np.mean(beyond**2)) if len(beyond) else 0.0
    return max(0.0, 1.0 - 3 * noise**2 / spread) if spread > 0 else 0.0
