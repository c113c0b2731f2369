"""The words of ratchetree as values: what an idea, a patch, a score and a failure are.

Everything here is frozen and free of effects. Alternatives are unions (`Score | Failure`), never a sentinel number.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

NodeId = int
"""The number of the experiment that created the node; the root is 0."""

Direction = Literal["min", "max"]


class Verdict(StrEnum):
    """What became of an experiment."""

    KEPT = "kept"  # main moved here
    PARKED = "parked"  # scored, did not move main
    FAILED = "failed"  # no score


class FailureKind(StrEnum):
    """Why an experiment has no score, in the order in which the steps can fail."""

    NO_IDEA = "no-idea"  # the planner had nothing (left) to propose
    NO_PATCH = "no-patch"  # the coder's reply is no patch, does not apply, or changes nothing
    OUT_OF_BOUNDS = "out-of-bounds"  # the patch touches a file that is not editable
    SYNTAX = "syntax"  # the patched file does not parse
    DUPLICATE = "duplicate"  # this very tree was tried before
    IMPORT = "import"  # importing the training script failed
    BUILD = "build"  # build_model failed, or its model cannot be run or saved
    CRASH = "crash"  # training ended with an error
    OUT_OF_MEMORY = "out-of-memory"  # training ran out of memory
    NOT_FINITE = "not-finite"  # the loss or the logits are NaN or infinite
    TIMEOUT = "timeout"  # start-up or training outlived its cap
    HOPELESS = "hopeless"  # training was ended early: its loss was far above the best trial's
    NO_SAVE = "no-save"  # training ended without a complete save
    STARVED = "starved"  # the machine was taken from the trial, again and again: it says nothing about the patch
    SCORE = "score"  # the scorer could not turn what was saved into a number
    LOOK_AHEAD = "look-ahead"  # the model's answers depend on tokens that come later
    ROW_MIXING = "row-mixing"  # they depend on the other rows of the batch
    STATEFUL = "stateful"  # they depend on what it was asked before, or on chance


class ExpansionKind(StrEnum):
    """What is asked for at the node that is expanded."""

    IMPROVE = "improve"
    INVEST = "invest"  # a setback is welcome if it opens a line
    REPAIR = "repair"  # the node failed: mend it
    TRANSPLANT = "transplant"  # bring the patch of `source` here


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is measured, and which way is better. The only place that knows the direction."""

    name: str = "val_bpb"
    direction: Direction = "min"

    def loss(self, value: float) -> float:
        """The value as something to minimise: every comparison in ratchetree is made on losses."""
        return value if self.direction == "min" else -value

    def value(self, loss: float) -> float:
        """The inverse of `loss`: what a person reads."""
        return loss if self.direction == "min" else -loss

    def gain(self, before: float, after: float) -> float:
        """How much better `after` is than `before`, both values; positive = better."""
        return self.loss(before) - self.loss(after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no result. A failed experiment is data, not an exception."""

    kind: FailureKind
    message: str  # one line
    detail: str = ""  # the useful end of a traceback or log; may be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Mean and spread of a node's trials, in the metric's unit."""

    mean: float
    sd: float | None  # sample standard deviation; None for a single trial
    n: int  # trials in the mean

    @classmethod
    def of(cls, values: tuple[float, ...]) -> Score:
        """The score of one or more trial values."""
        n = len(values)
        mean = math.fsum(values) / n
        sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else None
        return cls(mean=mean, sd=sd, n=n)


LONGEST_HORIZON = 1000
"""Experiments that anybody may ask for to pay a setback off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetbackContract:
    """What an idea that is expected to lose first may cost, agreed before it runs."""

    expected_dip: float  # how much worse the line is expected to get, metric's unit, >= 0
    max_dip: float  # how much worse than the incumbent it may get
    horizon: int  # experiments within which it must have paid off


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A constant of the script, and the range in which its best value is looked for."""

    name: str  # NAME = number, at the top level of one editable file
    low: float
    high: float
    log: bool = False  # whether factors count rather than differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """What the planner asks for."""

    title: str  # one line, what a person reads in the tree
    hypothesis: str  # why it should help
    mechanism: str  # how it works on the model or the training
    category: str  # one word for statistics: optimizer, architecture, schedule, batch, simplify, ...
    brief: str  # what the coder is told; two ideas with the same brief are the same idea
    expected_change: float = 0.0  # expected change of the metric, signed, metric's unit; 0.0 = no forecast
    contract: SetbackContract | None = None
    operator: str = ""  # draft, refine, combine, simplify, ablate, tune, repair, retry; empty = not said
    source: NodeId | None = None  # combine, retry: the node whose patch or idea is brought here
    knobs: tuple[Knob, ...] = ()  # tune: the constants that are searched


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One editable file's text."""

    path: str  # relative to the workspace, "/" between parts
    text: str


Sources = tuple[SourceFile, ...]
"""The editable files of one node, sorted by path."""


def digest(sources: Sources) -> str:
    """A name for the exact content of the editable files; equal digests mean equal trees."""
    h = hashlib.sha256()
    for file in sorted(sources, key=lambda f: f.path):
        for part in (file.path.encode(), file.text.encode("utf-8", "surrogateescape")):
            h.update(len(part).to_bytes(8, "big"))
            h.update(part)
    return h.hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Replace the one place in a file that reads `old` by `new`."""

    path: str
    old: str  # must occur exactly once in the file; empty = `new` is the whole new file
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What the coder returns: edits, applied in order."""

    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """A node to go on from, and what is asked there."""

    node: NodeId
    kind: ExpansionKind = ExpansionKind.IMPROVE
    source: NodeId | None = None  # for transplants: the node whose patch is brought here
    sources: tuple[NodeId, ...] = ()  # for bundles: several nodes whose patches are brought here as one


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """What one call to a planner or coder cost."""

    backend: str  # offline, claude, command, ...
    seconds: float = 0.0
    model: str = ""  # empty for backends without a model
    input_tokens: int = 0  # at the full price: neither written to nor read from the server's cache
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    dollars: float | None = None  # None = unknown, never 0 for a model without a price
    request_id: str = ""  # the server's name for it; a submission's own
    stop: str = ""  # why the model stopped: end_turn, tool_use, max_tokens, refusal, ...
    error: str = ""  # why there is no reply although it was paid for

    @property
    def tokens(self) -> int:
        """Of all kinds together."""
        return self.input_tokens + self.output_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def cost(self) -> float | None:
        """Dollars; 0 where no model was asked, None where its price is not known."""
        return self.dollars if self.model else 0.0


class Ask(StrEnum):
    """What a person, or an agent outside, may ask of a campaign."""

    PAUSE = "pause"  # begin nothing new until resumed or started again
    RESUME = "resume"
    STOP = "stop"  # finish what trains, then stop
    CLOSE = "close"  # no policy goes on from the node or anything below it
    REOPEN = "reopen"
    REPEAT = "repeat"  # more trials of the node
    PROMOTE = "promote"  # go on from the node next; the planner reads the note
    SUBMIT = "submit"  # try this patch on the node


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing that was asked of a campaign from outside."""

    id: str  # a request is taken once, however often it is found
    ask: Ask
    node: NodeId | None = None  # None where the whole campaign is meant
    note: str = ""  # in the asker's words
    trials: int = 1  # for repeat
    idea: Idea | None = None  # for submit
    patch: Patch | None = None  # for submit


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """What was observed of one training run. Nothing here is a score."""

    startup_seconds: float  # from process start until training first asked for data
    train_seconds: float  # wall time from then on
    cpu_seconds: float  # CPU time of all the trial's processes while the clock ran
    peak_memory_mb: float
    steps: int = 0  # batches handed out
    tokens: int = 0  # tokens handed out
    last_loss: float | None = None  # the last training loss seen in the log; shown, never believed
    sandbox: str = ""  # level of its confinement: bubblewrap, landlock, weak
    wait_share: float = 0.0  # of its working time that it waited for a CPU
    steal_share: float = 0.0  # of the clock's time that the host of a virtual machine gave to others
    speed: float | None = None  # of its CPU, as a share of the undisturbed machine's
    card: str = ""  # name and UUID of the graphics card that was its own; empty = none
    card_memory_mb: float = 0.0  # most that was in use on it
    card_clock: float | None = None  # of its multiprocessors, on average, as a share of the most they reach
    card_speed: float | None = None  # at the last calibration, as a share of the card's best
    mfu: float | None = None  # model FLOP/s as the script counts them, as a share of the card's peak; shown only


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """What the scorer measured of one trial."""

    value: float  # in the metric's unit
    by: str = "trusted"  # trusted | printed (self-reported) | synthetic
    sandbox: str = ""  # level of the model's confinement while it was asked
    leak: float | None = (
        None  # largest change of an answer, nats, when what it must not see was changed; None = not probed
    )
    cuts: int = 0  # places that were probed


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured gain and what it may be, at 95 %."""

    gain: float  # metric's unit, positive = better
    low: float
    high: float
    trials: int  # of each of the two that were compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a campaign runs: what a number must be read against."""

    host: str
    cpu: str
    cpus: int
    memory_gb: float
    gpu: str = ""
    python: str = ""
    torch: str = ""
    system: str = ""
    data: str = ""  # what names the content of the data; scores compare only where it is equal
    sandbox: str = ""  # how model-written code is confined here


Stage = Literal["smoke", "waiting", "starting", "training", "scoring"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a running trial looks like right now; for the screen only."""

    experiment: NodeId
    trial: int
    stage: Stage
    share: float = 0.0  # of the budget used, 0..1
    step: int = 0
    loss: float | None = None
    slot: int | None = None
