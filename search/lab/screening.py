"""An early screen of catastrophes: a trial that is far worse than its parent part of the way through is ended there.

It is no policy: learning curves cross, and an investment looks worst early on, so nothing that merely lags may be ended
(asynchronous successive halving would, Li et al. 2020), and an announced setback never is. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOOKS = 2  # in a row that must all be hopeless


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """When a first trial is ended early. The lab takes a look for the final difference to the parent, blurred."""

    at: float = 0.3  # share of the trial that is trained by the last look, and so paid for
    limit: float = 5.0  # noises between trials by which every look must be worse than the parent
    blur: float = 2.0  # noise of a look, in noises between finished trials

    def ends(self, *, worse: float, noise: float, luck: Sequence[float], announced: bool) -> bool:
        """Whether the trial is ended. worse: the true difference to the parent, positive = worse, in the unit of
        `noise`; luck: a standard normal number per look; announced: it opens or goes on with a contract."""
        if announced:
            return False
        return all(worse + self.blur * noise * z > self.limit * noise for z in luck)
