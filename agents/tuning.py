"""The operator `tune`: a few constants are handed to Optuna's TPE for several experiments on one parent.

The first experiment of a study comes from the planner, the others from here, without asking a model: on code that is
not to change, classical TPE is as good as a frontier model (arXiv 2603.24647), and it is free. A study has no memory of
its own: it is read from the tree each time, so that a resumed campaign goes on with the same one.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..search.memory import Memory
from ..search.model import Edit, Idea, Knob, NodeId, Patch, Sources
from ..search.patch import edits_between
from ..search.ports import Plan, PlanRequest
from ..search.tree import Tree
from .merging import constant, set_constant

TRIALS = 6  # experiments in a study, the first included
_SET = re.compile(r"([A-Za-z_]\w*) = (-?[0-9.]+(?:e[-+]?[0-9]+)?)")
Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class NotTunable:
    """Why there is no next value: one line that the planner can learn from."""

    reason: str


def follow(request: PlanRequest) -> Plan | None:
    """The next experiment of a study that is under way on one of the options; None if there is none."""
    for index, option in enumerate(request.options):
        for head in reversed(request.memory.children(option.expansion.node)):
            idea = request.tree.node(head).idea
            if idea is None or idea.operator != "tune" or idea.source is not None or not idea.knobs:
                continue
            study = members(request.tree, request.memory, option.expansion.node, head)
            if len(study) >= TRIALS:
                continue
            brief = suggested(request, idea.knobs, option.expansion.node, study)
            if isinstance(brief, str) and brief not in request.memory.tried_on(option.expansion.node):
                values = brief.removeprefix("set ")
                title = f"{values[:80]} (tune, {len(study) + 1} of {TRIALS})"
                return Plan(option=index, idea=replace(idea, title=title, brief=brief, source=head, contract=None))
    return None


def begun(request: PlanRequest, plan: Plan) -> Plan | NotTunable:
    """A planner's `tune` with its first values in place of words."""
    node, idea = request.options[plan.option].expansion.node, plan.idea
    text = "\n".join(file.text for file in request.options[plan.option].sources)
    missing = [knob.name for knob in idea.knobs if _number(constant(text, knob.name)) is None]
    if missing:
        return NotTunable(f"no single top-level line gives a number to {', '.join(missing)}")
    brief = suggested(request, idea.knobs, node, [])
    if isinstance(brief, NotTunable):
        return brief
    return replace(plan, idea=replace(idea, brief=brief, source=None))


def members(tree: Tree, memory: Memory, parent: NodeId, head: NodeId) -> list[NodeId]:
    """The experiments of a study, its head first."""

    def belongs(node: NodeId) -> bool:
        idea = tree.node(node).idea
        return node == head or (idea is not None and idea.operator == "tune" and idea.source == head)

    return [node for node in memory.children(parent) if belongs(node)]


def suggested(request: PlanRequest, knobs: Sequence[Knob], parent: NodeId, study: Sequence[NodeId]) -> str | NotTunable:
    """The brief with TPE's next values, given what the study and the parent itself have shown."""
    try:
        import optuna
    except ModuleNotFoundError:
        return NotTunable("tune needs Optuna, which is not installed: pip install 'ratchetree[tune]'")
    option = next(option for option in request.options if option.expansion.node == parent)
    now = {knob.name: _number(constant("\n".join(file.text for file in option.sources), knob.name)) for knob in knobs}
    tree = request.tree
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=request.rng.randrange(2**31), n_startup_trials=3, multivariate=True, constant_liar=True
        )
        trials = optuna.create_study(sampler=sampler)
        spaces = {knob.name: _space(knob, now[knob.name]) for knob in knobs}
        here = {name: value for name, value in now.items() if value is not None}
        _remember(trials, spaces, here, float(tree.loss[parent]))
        for node in study:
            idea = tree.node(node).idea
            loss = float(tree.loss[node]) if tree.node(node).verdict else None
            _remember(trials, spaces, read_brief(idea.brief) if idea else {}, loss)
        asked = trials.ask(spaces).params
    return "set " + ", ".join(f"{name} = {_written(value)}" for name, value in asked.items())


def read_brief(brief: str) -> Values:
    """The values in a brief of `suggested`."""
    return {name: float(value) for name, value in _SET.findall(brief)} if brief.startswith("set ") else {}


def applied(sources: Sources, idea: Idea) -> Patch | None:
    """The patch that a study's brief asks for; None if a constant is not there."""
    edits: list[Edit] = []
    values = read_brief(idea.brief)
    for file in sources:
        text = file.text
        for name in [name for name in values if constant(file.text, name) is not None]:
            text = set_constant(text, name, _written(values.pop(name))) or text
        edits += edits_between(file.path, file.text, text)
    return Patch(edits=tuple(edits)) if edits and not values else None


def _space(knob: Knob, now: float | None) -> Any:
    import optuna

    if now is not None and now.is_integer() and knob.high >= 2 and float(knob.low).is_integer():
        low, high = math.ceil(knob.low), math.floor(knob.high)
        return optuna.distributions.IntDistribution(low, max(low, high), log=knob.log)
    return optuna.distributions.FloatDistribution(knob.low, knob.high, log=knob.log)


def _remember(study: Any, spaces: dict[str, Any], values: Values, loss: float | None) -> None:
    """A finished trial (loss NaN: failed), or one that is running (None); values out of range are left out."""
    import optuna

    known = {
        name: int(values[name]) if _whole(space) else values[name] for name, space in spaces.items() if name in values
    }
    if set(known) != set(spaces) or not all(space._contains(known[name]) for name, space in spaces.items()):
        return
    state = optuna.trial.TrialState.COMPLETE
    if loss is None:
        state = optuna.trial.TrialState.RUNNING
    elif math.isnan(loss):
        state = optuna.trial.TrialState.FAIL
    value = loss if state is optuna.trial.TrialState.COMPLETE else None
    study.add_trial(optuna.trial.create_trial(state=state, params=known, distributions=spaces, value=value))


def _whole(space: Any) -> bool:
    import optuna

    return isinstance(space, optuna.distributions.IntDistribution)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _written(value: float) -> str:
    if isinstance(value, int) or float(value).is_integer():
        return str(int(value))
    return f"{value:.4g}"
