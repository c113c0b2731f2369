"""An agent outside as the researcher, while ratchetree guards main: ask for the shortlist, submit, read verdicts.

What the commands `ask`, `submit` and `mcp` share; like `cli.py`, which registers them, it puts concrete parts together.
It only ever reads the journal and leaves requests in the inbox: the campaign decides.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .search.errors import RatchetreeError, WrongUse

if TYPE_CHECKING:
    from .search.events import Event
    from .search.model import NodeId, SetbackContract, Sources
    from .search.ports import PlanRequest
    from .search.state import State
    from .search.tree import Tree

LARGEST_DIFF = 1_000_000  # characters
HEARD_WITHIN = 10.0  # seconds in which a running campaign takes a request up

HERE = Path()
Dir = Annotated[Path, typer.Argument(metavar="[DIR]", help="The workspace.", show_default="here")]
At = Annotated[Path, typer.Option("--dir", "-C", metavar="DIR", help="The workspace.", show_default="here")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Desk:
    """What one may do from outside, on one workspace; every answer can be written as JSON."""

    def __init__(self, folder: Path) -> None:
        from .storage.workspace import Workspace

        self._workspace = Workspace(folder)

    def ask(self, *, tokens: int = 12_000) -> dict[str, Any]:
        """The policy's shortlist with the files at each node, and the digest of the tree.

        {experiment, metric {name, direction}, program, incumbent, options [{node, asked, source, facts, files {path:
        text}}], history}
        """
        from .agents.digest import facts, history, standing

        request = self._question()
        tree = request.tree
        options = [
            {
                "node": option.expansion.node,
                "asked": str(option.expansion.kind),
                "source": option.expansion.source,
                "facts": facts(tree.node(option.expansion.node), tree),
                "files": {file.path: file.text for file in option.sources},
            }
            for option in request.options
        ]
        return {
            "experiment": request.experiment,
            "metric": {"name": tree.metric.name, "direction": tree.metric.direction},
            "program": request.brief,
            "incumbent": tree.incumbent,
            "best": standing(request),
            "noise": tree.noise,
            "options": options,
            "history": history(request, tokens),
        }

    def submit(
        self,
        *,
        parent: NodeId,
        diff: str,
        title: str,
        hypothesis: str = "",
        category: str = "outside",
        dip: float = 0.0,
        within: int = 0,
    ) -> dict[str, Any]:
        """Leave a patch for the campaign. {request, experiment | null, refused | null, running}; raises WrongUse for
        what the campaign would refuse anyway.

        dip, within: a setback that is announced; how much worse the line may get, in the metric's unit, and within how
        many experiments it must have paid off.
        """
        from .agents.fencing import clean, one_line
        from .search.model import Ask, Idea, Patch, Request, digest
        from .search.patch import check_syntax, edits_between
        from .storage.inbox import new_id
        from .storage.lock import is_held

        tree = self._state().tree
        before = self._sources(tree, parent)
        after = self._applied(before, diff)
        problem = check_syntax(after)
        if problem is not None:
            raise WrongUse(f"the patch does not parse: {problem.message}; nothing was submitted")
        if (known := tree.digests.get(digest(after))) is not None:
            raise WrongUse(f"the patch leads to the files of {known:04d}, which was tried; nothing was submitted")
        now = {file.path: file.text for file in after}
        edits = tuple(e for file in before for e in edits_between(file.path, file.text, now[file.path]))
        words = one_line(title, 100)
        if not words:
            raise WrongUse("--idea is empty: say in one line what the patch is for")
        idea = Idea(
            title=words,
            hypothesis=clean(hypothesis, 1500),
            mechanism="",
            category=one_line(category, 30) or "outside",
            brief=f"submitted from outside: {words}",
            contract=_contract(dip, within),
        )
        identifier = new_id(time.time())
        request = Request(id=identifier, ask=Ask.SUBMIT, node=parent, idea=idea, patch=Patch(edits=edits))
        self._workspace.inbox.put(request)
        running = is_held(self._workspace.lock_path)
        return {"request": identifier, "running": running, **self._heard(identifier, HEARD_WITHIN if running else 0.0)}

    def show(self, node: NodeId) -> dict[str, Any]:
        """One experiment, as `ratchetree show --json` has it."""
        from .search.events import experiment_of
        from .view.chronicle import Chronicle
        from .view.shapes import node_json

        events = self._workspace.read_events()
        tree, chronicle = Chronicle.read(events)
        if node not in tree:
            raise WrongUse(f"there is no experiment {node}; there are 0 to {tree.next_id - 1}")
        own = [event for event in events if experiment_of(event) == node]
        return node_json(tree, node, chronicle.account, own)

    def request(self, identifier: str) -> dict[str, Any]:
        """What became of a submission: {request, experiment | null, refused | null}."""
        return {"request": identifier, **became(self._workspace.read_events(), identifier)}

    def status(self) -> dict[str, Any]:
        """As `ratchetree status --json` has it."""
        from .storage.lock import is_held
        from .view.chronicle import Chronicle
        from .view.shapes import status_json

        tree, chronicle = Chronicle.read(self._workspace.read_events())
        return status_json(tree, chronicle, running=is_held(self._workspace.lock_path))

    # -- how ------------------------------------------------------------------------------------------------------

    def _state(self) -> State:
        from .search.policies import make_policy
        from .search.state import State

        search = self._workspace.settings().search
        state = State(policy=make_policy(search.policy, search.parameters(search.policy)))
        for number, event in enumerate(self._workspace.read_events(), start=1):
            state.apply(number, event)
        if state.tree.root_commit is None or not state.tree.trials[0]:
            raise RatchetreeError("nothing is scored here yet: ratchetree run begins with the root")
        return state

    def _question(self) -> PlanRequest:
        from .search.model import Expansion
        from .search.ports import Option, PlanRequest

        state, settings = self._state(), self._workspace.settings()
        tree, repository = state.tree, self._workspace.repository()

        def sources_at(node: NodeId) -> Sources:
            commit = tree.node(node).commit
            return repository.sources(commit) if commit is not None else ()

        rng = random.Random(f"{tree.seed}/{tree.next_id}/ask")
        ranked = state.policy.rank(tree, settings.search.choice, rng) or [Expansion(node=tree.incumbent)]
        assert tree.root_commit is not None
        return PlanRequest(
            experiment=tree.next_id,
            brief=repository.text(tree.root_commit, "program.md"),
            options=tuple(Option(expansion=e, sources=sources_at(e.node)) for e in ranked),
            tree=tree,
            memory=state.memory,
            rng=rng,
            sources_at=sources_at,
            spending=state.spending,
        )

    def _sources(self, tree: Tree, parent: NodeId) -> Sources:
        if parent not in tree or not tree.is_expandable(parent):
            raise WrongUse(f"--parent {parent} is no node with a score; see: ratchetree tree")
        commit = tree.node(parent).commit
        assert commit is not None
        return self._workspace.repository().sources(commit)

    def _applied(self, before: Sources, diff: str) -> Sources:
        from .storage.patches import apply_diff

        if len(diff) > LARGEST_DIFF:
            raise WrongUse(f"the patch has {len(diff):,} characters; at most {LARGEST_DIFF:,} are taken")
        return apply_diff(before, diff)

    def _heard(self, identifier: str, seconds: float) -> dict[str, Any]:
        """What became of the request so far, after at most so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            found = became(self._workspace.read_events(), identifier)
            if found["experiment"] is not None or found["refused"] is not None or time.monotonic() >= deadline:
                return found
            time.sleep(0.1)


def _contract(dip: float, within: int) -> SetbackContract | None:
    from .search.model import LONGEST_HORIZON, SetbackContract

    if not dip and not within:
        return None
    if not (0 < dip < math.inf and 1 <= within <= LONGEST_HORIZON):
        raise WrongUse(
            f"a setback of {dip:g} within {within} experiments: it takes both, a dip above 0 in the metric's unit and "
            f"1 to {LONGEST_HORIZON} experiments; nothing was submitted"
        )
    return SetbackContract(expected_dip=dip, max_dip=2 * dip, horizon=within)


def became(events: Iterable[Event], identifier: str) -> dict[str, Any]:
    """The experiment of a submission, or why it was refused; both null while nobody has heard of it."""
    from .search.events import Planned, Requested

    found: dict[str, Any] = {"experiment": None, "refused": None}
    for event in events:
        if isinstance(event, Planned) and event.call.request_id == identifier:
            found["experiment"] = event.experiment
        elif isinstance(event, Requested) and event.request.id == identifier:
            found["refused"] = event.refused
    return found


# -- the commands -----------------------------------------------------------------------------------------------------


def ask(
    folder: At = HERE,
    as_json: Json = False,
    tokens: Annotated[int, typer.Option(metavar="N", help="Budget of the history.", min=500)] = 12_000,
) -> None:
    """What a researcher should know now. The policy's shortlist, and the digest of the tree."""
    import json

    answer = Desk(folder).ask(tokens=tokens)
    if as_json:
        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
        return
    typer.echo(f"best so far: {answer['best']}\n")
    for option in answer["options"]:
        typer.echo(f"{option['asked']} {option['node']:04d}: {option['facts']}")
    typer.echo(f"\n{answer['history']}\n\nratchetree ask --json has the program and the files too")


def submit(
    parent: Annotated[int, typer.Option(metavar="ID", help="The node the patch is for.", min=0)],
    patch: Annotated[Path, typer.Option(metavar="FILE", help="A unified diff of the editable files; - reads it.")],
    idea: Annotated[str, typer.Option(metavar="TEXT", help="What it is, in one line.")],
    hypothesis: Annotated[str, typer.Option(metavar="TEXT", help="Why it should help.")] = "",
    category: Annotated[str, typer.Option(metavar="WORD", help="For the statistics.")] = "outside",
    dip: Annotated[float, typer.Option(metavar="D", help="A setback: how much worse it is expected to get.")] = 0.0,
    within: Annotated[int, typer.Option(metavar="N", help="In how many experiments a setback has paid off.")] = 0,
    folder: At = HERE,
    as_json: Json = False,
) -> None:
    """Queue a patch of your own. A running campaign tries it at once, the next one first of all."""
    import json

    if str(patch) == "-":
        diff = sys.stdin.read(LARGEST_DIFF + 1)
    elif not patch.is_file():
        raise WrongUse(f"--patch {patch}: there is no such file")
    else:
        with patch.open(encoding="utf-8", errors="replace", newline="") as file:
            diff = file.read(LARGEST_DIFF + 1)
    desk = Desk(folder)
    answer = desk.submit(
        parent=parent, diff=diff, title=idea, hypothesis=hypothesis, category=category, dip=dip, within=within
    )
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
    elif answer["refused"]:
        raise RatchetreeError(f"the campaign refused it: {answer['refused']}")
    elif answer["experiment"] is not None:
        typer.echo(f"it is experiment {answer['experiment']:04d}: ratchetree show {answer['experiment']}")
    else:
        typer.echo(f"queued as {answer['request']}: the next ratchetree run takes it up")


def mcp(folder: Dir = HERE) -> None:
    """Serve ask, submit, show and status to an agent. As tools of the Model Context Protocol, over stdio."""
    try:
        from .agents.mcp_server import serve
    except ModuleNotFoundError as error:
        raise WrongUse(f"mcp needs the package {error.name}: pip install 'ratchetree[mcp]'") from None
    serve(Desk(folder))
