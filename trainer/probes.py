"""What a score is checked for: answers may depend on earlier tokens of the same row and on nothing else. Pure.

A decoy is a row whose tokens after a cut are replaced by those of another row. Up to the cut a model that keeps the
rules must answer as it does for the true row; the target at the cut is the first token that was replaced, so a model
that looks ahead answers worse there. Decoys are asked first, in a process of their own: a model that remembers rows has
not seen the true ones yet. Source: our own study, after the fakes reported in karpathy/nanochat#845.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Nats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoys:
    """What is asked in the first process. Row i of `ids` is row `rows[i]` of the held-out part up to `cuts[i]`."""

    ids: Ids  # [N, T + 1]
    rows: Ids  # [N]
    cuts: Ids  # [N]; T for rows that were left whole, to see whether batch-mates matter


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The largest change of an answer that was seen, nats, by what was changed."""

    look_ahead: float  # tokens after the place
    look_ahead_gain: float  # mean over the cuts: nats that knowing the next token saved
    row_mixing: float  # the other rows of the batch
    stateful: float  # nothing: the same question again
    cuts: int

    @property
    def leak(self) -> float:
        """The largest of all."""
        return max(self.look_ahead, self.row_mixing, self.stateful)

    def complaint(self, tolerance: float) -> str | None:
        """What is wrong, in one line that begins with the kind of failure; None if nothing is."""
        if self.stateful > tolerance:
            return f"stateful: the same question twice gives answers that differ by up to {self.stateful:.4f} nats"
        if self.row_mixing > tolerance:
            return f"row-mixing: answers change by up to {self.row_mixing:.4f} nats with the other rows of the batch"
        if self.look_ahead > tolerance:
            return (
                f"look-ahead: answers change by up to {self.look_ahead:.4f} nats when later tokens are replaced, "
                f"by {self.look_ahead_gain:.4f} on average over {self.cuts} places"
            )
        return None


def decoys(rows: Ids, cuts: int, batch: int, rng: np.random.Generator) -> Decoys:
    """Whole batches of decoys, a share of one in eight left whole; different rows as long as there are any."""
    length = rows.shape[1] - 1
    count = -(-max(cuts, 1) * 8 // 7 // batch) * batch
    chosen = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-count // len(rows)))])[:count]
    other = (chosen + rng.integers(1, len(rows), count)) % len(rows)
    at = rng.integers(0, length - 1, count)
    at[rng.permutation(count)[: count // 8]] = length
    ids = np.where(np.arange(length + 1)[None, :] <= at[:, None], rows[chosen], rows[other])
    return Decoys(ids=ids, rows=chosen, cuts=at)


def compare(
    asked: Decoys, answers: Nats, true: Nats, *, repeated: tuple[Ids, Nats], moved: tuple[Ids, Nats]
) -> Findings:
    """What the answers say. answers [N, T]: nats of the TRUE targets for each decoy; true [R, T]: of all rows as they
    are; repeated and moved: (rows, nats) of those that were asked again in the very same batch, and in another one."""
    ahead, mixed, gains = 0.0, _largest(moved, true), []
    for row, cut, answer in zip(asked.rows.tolist(), asked.cuts.tolist(), answers, strict=True):
        change = answer[: cut + 1] - true[row][: cut + 1]
        if cut >= len(answer):
            mixed = max(mixed, float(np.abs(change).max()))
            continue
        ahead = max(ahead, float(np.abs(change).max()))
        gains.append(float(change[cut]))
    return Findings(
        look_ahead=ahead,
        look_ahead_gain=float(np.mean(gains)) if gains else 0.0,
        row_mixing=mixed,
        stateful=_largest(repeated, true),
        cuts=len(gains),
    )


def _largest(asked: tuple[Ids, Nats], true: Nats) -> float:
    rows, nats = asked
    return float(np.abs(nats - true[rows]).max()) if len(rows) else 0.0
