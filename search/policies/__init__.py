"""The shelf of policies: seven engines, a file each, and one literal registry of the names that people know.

A name is a preset of an engine: its parameters, where the rule comes from, and when to use it.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any

from ..errors import WrongUse
from ..ports import Policy
from .ab_mcts import ABMCTS
from .archive import Archive
from .auto import Auto
from .beam import Beam, OpenBeam
from .bundle import Bundle
from .ledger import Ledger
from .ratchet import Ratchet
from .sampler import Sampler
from .tree_search import TreeSearch
from .walker import Walker

Parameter = int | float | bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A policy that people know by name."""

    engine: type[Policy]
    rule: str  # one line
    source: str
    use: str  # when to use it
    parameters: dict[str, Parameter] = field(default_factory=dict)  # where they differ from the engine's own
    published: dict[str, Parameter] = field(default_factory=dict)  # what the source uses, where ours was tuned


POLICIES: dict[str, Preset] = {
    "auto": Preset(
        engine=Auto,
        rule="setbacks under contract and drift, each as bold as this ground rewards",
        source="our study",
        use="when you do not know the ground",
    ),
    "ratchet": Preset(
        engine=Ratchet,
        rule="always expand main",
        source="karpathy/autoresearch, program.md",
        use="the control: on ground where gains add up it is hard to beat",
    ),
    "beam": Preset(
        engine=Beam,
        rule="generations of width x branch experiments; the best go on",
        source="beam search; ToT-BFS is elitist = false, width 3, branch 5",
        use="to keep a few lines alive side by side",
        published={"width": 3, "branch": 5, "elitist": False},
    ),
    "best-first": Preset(
        engine=OpenBeam,
        rule="the best node that has not had its turns yet, then the next",
        source="best-first tree search: AI-Scientist-v2, TreeQuest",
        use="when several lines look alike",
        published={"branch": 2},
    ),
    "random": Preset(
        engine=Sampler,
        rule="any scored node, whatever its score",
        source="none needed",
        use="as the floor: what the tree alone is worth, without judgement",
        parameters={"choose": "uniform"},
    ),
    "drift": Preset(
        engine=Walker,
        rule="a walker at main that may stand on a near-tied child",
        source="Metropolis 1953 below the noise, with restarts; our study",
        use="where ideas interact; where gains simply add up it costs a few per cent",
        parameters={"temperature": 0.3, "restart": 8},
    ),
    "ledger": Preset(
        engine=Ledger,
        rule="setbacks under contract, from a budget that follows what they bring; drift on main",
        source="our study; Bendahi et al. 2025, arXiv 2506.01107",
        use="200 trials and more, with a planner that announces setbacks",
    ),
    "open-beam": Preset(
        engine=OpenBeam,
        rule="the beam without its barrier: the best nodes take turns",
        source="ShinkaEvolve's beam, without the lock",
        use="where the barrier of a beam would leave slots idle",
        parameters={"width": 3},
    ),
    "power-law": Preset(
        engine=Sampler,
        rule="parents drawn by rank^-alpha",
        source="rank selection; ShinkaEvolve `parents.py`",
        use="with many slots",
        published={"alpha": 1.0, "archive": 40},
    ),
    "boltzmann": Preset(
        engine=Sampler,
        rule="parents drawn by exp(-d / temperature)",
        source="Boltzmann selection",
        use="as power-law; the size of differences counts",
        parameters={"choose": "boltzmann"},
    ),
    "shinka": Preset(
        engine=Sampler,
        rule="parents drawn by a sigmoid of their score in MADs, the less expanded first",
        source="ShinkaEvolve `parents.py`",
        use="for comparison with ShinkaEvolve",
        parameters={"choose": "sigmoid", "alpha": 10.0},
        published={"archive": 40},
    ),
    "thompson": Preset(
        engine=Sampler,
        rule="the best of one draw per node from what is known of its score",
        source="Thompson 1933",
        use="where the noise is larger than the gains",
        parameters={"choose": "thompson"},
    ),
    "epsilon-greedy": Preset(
        engine=Sampler,
        rule="the best node, now and then any other",
        source="Sutton and Barto, Reinforcement Learning, chapter 2",
        use="as the simplest exploration there is",
        parameters={"choose": "best", "uniform": 0.05},
    ),
    "aide": Preset(
        engine=Sampler,
        rule="five drafts, then the best node; half of the time a failed leaf is repaired",
        source="WecoAI/aideml `agent.py`",
        use="for comparison with AIDE",
        parameters={"choose": "best", "drafts": 5, "repair": 0.5},
    ),
    "best-of-root": Preset(
        engine=Sampler,
        rule="every experiment sets out from the root",
        source="best-of-N sampling",
        use="as a control: what stacking gains is worth",
        parameters={"choose": "best", "drafts": 1_000_000_000},
    ),
    "go-explore": Preset(
        engine=Archive,
        rule="main, and now and then the elite of a structural cell",
        source="Ecoffet et al. 2021, Nature 590",
        use="where setbacks may pay and the planner's flags are worthless",
    ),
    "map-elites": Preset(
        engine=Archive,
        rule="the elites of the kinds of ideas, in turn",
        source="Mouret and Clune 2015, arXiv 1504.04909",
        use="for a variety of programs rather than the best one",
        parameters={"cells": "category", "explore": 0.5},
        published={"explore": 1.0},
    ),
    "islands": Preset(
        engine=Archive,
        rule="populations of their own, now and then visited by the best",
        source="OpenEvolve, AlphaEvolve",
        use="with thousands of trials; below that they divide the luck",
        parameters={"cells": "island", "explore": 0.5},
        published={"islands": 5, "migrate": 50},
    ),
    "metropolis": Preset(
        engine=Walker,
        rule="a walker that accepts setbacks by Metropolis' rule, with restarts from main",
        source="Metropolis 1953; Kirkpatrick 1983",
        use="on rugged ground, where ideas interact strongly",
    ),
    "threshold": Preset(
        engine=Walker,
        rule="a walker that accepts setbacks up to a threshold",
        source="Dueck and Scheuer 1990",
        use="as metropolis, without chance",
        parameters={"accept": "threshold"},
    ),
    "late-acceptance": Preset(
        engine=Walker,
        rule="a walker that accepts what is no worse than where it stood a while ago",
        source="Burke and Bykov 2017",
        use="as metropolis, without a temperature to set",
        parameters={"accept": "late"},
    ),
    "uct": Preset(
        engine=TreeSearch,
        rule="UCT with maximum backup and progressive widening",
        source="Kocsis and Szepesvari 2006; Coulom 2007; Liu et al. 2020 (in flight)",
        use="for comparison",
    ),
    "uct-aira": Preset(
        engine=TreeSearch,
        rule="UCT on means, five children",
        source="facebookresearch/aira-dojo `mcts.py`; arXiv 2507.02554",
        use="for comparison with AIRA-dojo",
        parameters={"backup": "mean", "children": 5, "widening": 0.0, "exploration": 0.25},
    ),
    "ab-mcts": Preset(
        engine=ABMCTS,
        rule="Thompson sampling between wider and deeper at every node",
        source="SakanaAI/treequest `ab_mcts_a`; Inoue et al. 2025",
        use="for comparison with TreeQuest",
    ),
    "bundle": Preset(
        engine=Bundle,
        rule="the ratchet; wins that main has left behind are merged onto it together, bisected on failure",
        source="our study; GEPA's merge",
        use="with very many slots and a ratchet that confirms nothing; with the default ratchet it gained nothing",
    ),
}


_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def make_policy(name: str, parameters: dict[str, Any]) -> Policy:
    """A policy by its registered name, with parameters from the user's file; WrongUse names what is allowed."""
    if name not in POLICIES:
        near = difflib.get_close_matches(name, POLICIES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise WrongUse(f"policy {name!r} is not known; {hint}allowed: {', '.join(POLICIES)}")
    preset = POLICIES[name]
    allowed = parameters_of(preset.engine)
    for key, value in parameters.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            has = f"allowed: {', '.join(allowed)}" if allowed else "it has no parameters"
            raise WrongUse(f"search.{name}.{key} = {value!r} is not known; {hint}{has}")
        kind = allowed[key]
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise WrongUse(f"search.{name}.{key} = {value!r}: must be of type {kind}")
    try:
        return preset.engine(**{**preset.parameters, **parameters})
    except ValueError as error:
        raise WrongUse(f"search.{name}: {error}") from error


def parameters_of(engine: type[Policy]) -> dict[str, str]:
    """Names and types of an engine's parameters."""
    return {f.name: str(f.type) for f in dataclasses.fields(engine) if f.init}  # type: ignore[arg-type]


def policy_names(given: str) -> tuple[str, ...]:
    """Names from a comma-separated list; `all` = the whole registry; WrongUse names what is allowed."""
    names = (
        tuple(POLICIES) if given == "all" else tuple(dict.fromkeys(n.strip() for n in given.split(",") if n.strip()))
    )
    for name in names or ("",):
        make_policy(name, {})
    return names
