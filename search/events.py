"""The journal's vocabulary: everything that ever happens to a campaign, as frozen values.

The tree is `replay(events)`. An event says what was found out, never what to do next; it holds no file contents beyond
a patch's edits, so that a thousand experiments are a few megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

from .model import (
    Expansion,
    ExpansionKind,
    Failure,
    Idea,
    Interval,
    Machine,
    Metric,
    ModelCall,
    NodeId,
    Patch,
    Request,
    ScoreReport,
    TrialReport,
    Verdict,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStarted:
    """The root is fixed; from here on `main` belongs to the ratchet."""

    time: float  # seconds since the epoch, in every event
    version: str  # of ratchetree
    seed: int
    metric: Metric
    root_commit: str
    root_digest: str
    policy: str
    preset: str
    settings: str  # the effective settings, as JSON
    machine: Machine
    noise: float | None = None  # sd between trials of one node, stated from outside; counts until trials are repeated
    kind: Literal["campaign_started"] = "campaign_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignResumed:
    """The campaign goes on after a stop or a crash, perhaps with other settings."""

    time: float
    version: str
    policy: str
    preset: str
    settings: str
    machine: Machine
    kind: Literal["campaign_resumed"] = "campaign_resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStopped:
    """The campaign ended by itself or by the user's wish; a crash leaves no such event."""

    time: float
    reason: str
    kind: Literal["campaign_stopped"] = "campaign_stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """Somebody asked something of the campaign, and this is what came of it."""

    time: float
    request: Request
    refused: str | None = None  # why it was not done; None: it was, or is under way
    kind: Literal["requested"] = "requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The policy ranked these expansions for a new experiment, best first."""

    time: float
    experiment: NodeId
    options: tuple[Expansion, ...]
    note: str = ""  # in the words of whoever asked for this expansion; the planner reads it
    kind: Literal["selected"] = "selected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One model call ended: the reply is here before anybody believes it, so that a resumed campaign pays for none
    twice. What it cost stands here alone; the calls in `Planned` and `Written` of such agents carry no tokens."""

    time: float
    experiment: NodeId
    purpose: Literal["plan", "write"]
    attempt: int  # of the coder; 0 for the planner
    call: ModelCall
    reply: str  # its content blocks as JSON; empty if it broke off
    kind: Literal["called"] = "called"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The planner chose a parent and an idea, or failed to."""

    time: float
    experiment: NodeId
    parent: NodeId
    asked: ExpansionKind
    outcome: Idea | Failure
    call: ModelCall
    kind: Literal["planned"] = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One reply of the coder, applied to the parent's files (or not)."""

    time: float
    experiment: NodeId
    attempt: int  # 0 = the first reply; further ones are repairs
    patch: Patch | None  # None if the reply held no patch at all
    failure: Failure | None  # why it could not be applied
    digest: str  # of the patched files; of the parent's if nothing could be applied
    lines_added: int
    lines_removed: int
    call: ModelCall
    kind: Literal["written"] = "written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The patch passed (or not) the checks before a trial: bounds, syntax, duplicates, smoke run."""

    time: float
    experiment: NodeId
    attempt: int
    failure: Failure | None
    seconds: float  # of the smoke run
    kind: Literal["checked"] = "checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The node exists in git and is pinned."""

    time: float
    experiment: NodeId
    attempt: int
    commit: str
    kind: Literal["committed"] = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One training run ended."""

    time: float
    experiment: NodeId
    trial: int  # 0 = the screening trial (every trial of the root counts alike)
    seed: int
    seconds: float  # wall time of the whole run, start-up and the wait for a slot included
    outcome: TrialReport | Failure
    run: int = 0  # earlier runs of this trial that were starved, and therefore void
    kind: Literal["trained"] = "trained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scorer measured what a trial saved."""

    time: float
    experiment: NodeId
    trial: int
    seconds: float  # wall time of scoring, the wait for a slot included
    outcome: ScoreReport | Failure
    kind: Literal["scored"] = "scored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The ratchet's verdict. A kept node is the incumbent from this event on."""

    time: float
    experiment: NodeId
    verdict: Verdict
    reason: str  # one sentence with the numbers it rests on
    against: NodeId  # the incumbent it was judged against
    failure: Failure | None = None
    kind: Literal["judged"] = "judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Git tells the same story as the verdict; the experiment is over."""

    time: float
    experiment: NodeId
    main: str | None  # the commit main moved to, for kept nodes
    branch: str | None  # the branch of a parked node
    kind: Literal["settled"] = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """One trial with a new seed for a final claim. The search never sees it."""

    time: float
    claim: int  # number of the claim, from 0
    node: NodeId
    trial: int
    seed: int
    seconds: float  # wall time of training and scoring
    validation: ScoreReport | Failure
    test: ScoreReport | Failure | None  # on the sealed part; None where there is none
    kind: Literal["repeated"] = "repeated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What the trials of a claim say of a node against the root."""

    time: float
    claim: int
    node: NodeId
    validation: Interval
    test: Interval | None
    sentence: str
    kind: Literal["claimed"] = "claimed"


CampaignEvent = CampaignStarted | CampaignResumed | CampaignStopped | Requested | Repeated | Claimed
ExperimentEvent = Selected | Called | Planned | Written | Checked | Committed | Trained | Scored | Judged | Settled
Event = CampaignEvent | ExperimentEvent


@cache
def _adapter() -> TypeAdapter[Event]:
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def encode(event: Event) -> str:
    """The event as compact JSON."""
    return _adapter().dump_json(event).decode()


def decode(body: str | bytes) -> Event:
    """The inverse of `encode`; raises ValueError for anything that is no event of this version."""
    return _adapter().validate_json(body)


@cache
def _request_adapter() -> TypeAdapter[Request]:
    from pydantic import TypeAdapter

    return TypeAdapter(Request)


def encode_request(request: Request) -> str:
    """The request as compact JSON."""
    return _request_adapter().dump_json(request).decode()


def decode_request(body: str | bytes) -> Request:
    """The inverse of `encode_request`; raises ValueError for anything else."""
    return _request_adapter().validate_json(body)


def experiment_of(event: Event) -> NodeId | None:
    """The experiment an event belongs to; None for the campaign's own."""
    return getattr(event, "experiment", None)
