"""The events of an imported run: what its rows say, as the journal of a campaign that never ran here. Pure but for the
files that it reads of commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..search.errors import WrongUse
from ..search.events import (
    CampaignStarted,
    CampaignStopped,
    Committed,
    Event,
    Judged,
    Planned,
    Requested,
    Scored,
    Selected,
    Settled,
    Trained,
    Written,
)
from ..search.life import slug
from ..search.model import (
    Ask,
    Expansion,
    ExpansionKind,
    Failure,
    FailureKind,
    Idea,
    Machine,
    Metric,
    ModelCall,
    Request,
    ScoreReport,
    TrialReport,
    Verdict,
    digest,
)
from ..search.patch import count_lines
from .foreign_git import Commit
from .repository import GitRepository
from .results_table import Row, Table
from .workspace import Workspace

_CALL = ModelCall(backend="import")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A row with what was found out about it."""

    row: Row
    commit: Commit | None
    parent: int  # by rule: the last keep
    time: float  # seconds since the epoch


def events_of_run(
    workspace: Workspace,
    table: Table,
    attempts: Sequence[Attempt],
    root: Commit | None,
    *,
    noise: float | None,
    version: str,
) -> list[Event]:
    """The whole journal; `root`: None where there is no code."""
    repository, settings = workspace.repository(), workspace.settings()
    root_commit = root.sha if root else repository.main()
    has_code = root is not None and not _missing(repository, root_commit)
    metric = Metric(name=table.metric, direction=table.direction)
    began = attempts[0].time
    events: list[Event] = [
        CampaignStarted(
            time=began,
            version=version,
            seed=0,
            metric=metric,
            root_commit=root_commit,
            root_digest=digest(repository.sources(root_commit)) if has_code else "",
            policy="imported",
            preset="naive",
            settings=settings.model_dump_json(exclude_defaults=True),
            machine=Machine(host="not known", cpu="", cpus=0, memory_gb=0.0),
            noise=noise,
        )
    ]
    incumbent = attempts[0].row.value
    for i, attempt in enumerate(attempts):
        commit = attempt.commit.sha if attempt.commit else None
        events += _experiment(i, attempt, commit, incumbent, metric, repository if has_code else None, root_commit)
        if attempt.row.status == "keep" and attempt.row.value is not None:
            incumbent = attempt.row.value
    events += _closures(attempts) if root else []
    events.append(CampaignStopped(time=attempts[-1].time, reason="imported"))
    return events


def _missing(repository: GitRepository, commit: str) -> bool:
    try:
        repository.sources(commit)
    except WrongUse:
        return True
    return False


def _experiment(
    i: int,
    attempt: Attempt,
    commit: str | None,
    incumbent: float | None,
    metric: Metric,
    repository: GitRepository | None,
    root: str,
) -> list[Event]:
    """All events of one row; of the root without selection, plan and commit."""
    row, time, events = attempt.row, attempt.time, list[Event]()
    common: dict[str, Any] = {"time": time, "experiment": i}
    if i:
        title = " ".join(row.description.split())
        idea = Idea(title=title[:300], hypothesis="", mechanism="", category="imported", brief=row.description)
        events.append(Selected(**common, options=(Expansion(node=attempt.parent),)))
        events.append(Planned(**common, parent=attempt.parent, asked=ExpansionKind.IMPROVE, outcome=idea, call=_CALL))
        if commit is not None:
            events += _code(common, commit, root, attempt, repository)
            events.append(Committed(**common, attempt=0, commit=commit))
    failure = None
    if row.status == "crash":
        failure = Failure(kind=row.failure or FailureKind.CRASH, message=row.description.splitlines()[0][:300])
    if row.memory_mb or row.seconds or row.value is not None:
        report = TrialReport(
            startup_seconds=0.0, train_seconds=row.seconds, cpu_seconds=0.0, peak_memory_mb=row.memory_mb
        )
        events.append(Trained(**common, trial=0, seed=0, seconds=row.seconds, outcome=failure or report))
    if row.value is not None:
        events.append(Scored(**common, trial=0, seconds=0.0, outcome=ScoreReport(value=row.value, by="printed")))
    verdict = {"keep": Verdict.KEPT, "discard": Verdict.PARKED, "crash": Verdict.FAILED}[row.status]
    events.append(
        Judged(
            **common,
            verdict=verdict,
            reason=_reason(i, row, incumbent, metric),
            against=attempt.parent,
            failure=failure,
        )
    )
    branch = f"parked/{i:04d}-{slug(row.description)}" if commit and verdict is Verdict.PARKED else None
    main = (root if i == 0 else commit) if verdict is Verdict.KEPT else None
    events.append(Settled(**common, main=main, branch=branch))
    return events


def _code(
    common: dict[str, Any], commit: str, root: str, attempt: Attempt, repository: GitRepository | None
) -> list[Event]:
    if repository is None or _missing(repository, commit):
        return []
    assert attempt.commit is not None
    parent = attempt.commit.parents[0] if attempt.commit.parents else root
    after = repository.sources(commit)
    before = repository.sources(parent) if not _missing(repository, parent) else after
    added, removed = count_lines(before, after)
    return [
        Written(
            **common,
            attempt=0,
            patch=None,
            failure=None,
            digest=digest(after),
            lines_added=added,
            lines_removed=removed,
            call=_CALL,
        )
    ]


def _reason(i: int, row: Row, incumbent: float | None, metric: Metric) -> str:
    if i == 0:
        return "the imported run's first row"
    if row.value is None:
        return "the imported run has no score for it"
    if incumbent is None:
        return f"{metric.name} {row.value:.6f}"
    gain = metric.gain(incumbent, row.value)
    words = f"better by {gain:.6f}" if gain > 0 else f"worse by {-gain:.6f}" if gain < 0 else "no better"
    done = "kept" if row.status == "keep" else "set aside"
    return f"{done} by the imported run: {metric.name} {row.value:.6f} against {incumbent:.6f}, {words}"


def _closures(attempts: Sequence[Attempt]) -> list[Event]:
    """Nothing can go on from a node whose files are not known."""
    events: list[Event] = []
    for i, attempt in enumerate(attempts):
        if not i:
            continue
        closed = attempt.commit is None
        above = attempt.parent != 0 and attempts[attempt.parent].commit is None
        if closed != above:
            ask = Ask.CLOSE if closed else Ask.REOPEN
            request = Request(id=f"import-{i:04d}", ask=ask, node=i, note="its files were not in the imported run")
            events.append(Requested(time=attempts[-1].time, request=request))
    return events
