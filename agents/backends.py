"""Who can think: one literal registry of backends, by the names that `ratchetree.toml` and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..search.errors import WrongUse
from ..search.events import Event
from ..search.ports import Coder, Planner, Policy
from ..search.settings import AgentsSettings, BackendSettings, Settings
from .claude import Access, Claude
from .coder import ModelCoder
from .command import Command, CommandCoder, CommandPlanner, Ground
from .merging import Merge, no_merge
from .offline import OfflineCoder, OfflinePlanner
from .planner import ModelPlanner
from .prices import price_of
from .replay import RecordedOrder, Recording, ReplayCoder, ReplayPlanner

PLANNER_MODEL, CODER_MODEL = "claude-opus-5-5", "claude-sonnet-5-5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What agents need of the outside; the environment stays here and is never printed or stored."""

    environment: Mapping[str, str]
    merge: Merge = no_merge
    read_journal: Callable[[str], Iterable[Event]] = lambda path: ()
    ground: Ground | None = None  # where agents of other people's making run
    tell: Callable[[str], None] = lambda line: None

    def __repr__(self) -> str:
        """Without the environment."""
        return "Surroundings()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """A planner and a coder, and what to ask before anything costs anything."""

    planner: Planner
    coder: Coder
    models: tuple[Claude, ...]
    commands: tuple[Command, ...] = ()
    order: Callable[[Policy], Policy] = lambda policy: policy  # what the planner makes of the policy
    tell: Callable[[str], None] = lambda line: None

    async def check(self) -> None:
        """WrongUse for a key or a model that the server does not know, or for a command that is not there."""
        for model in self.models:
            await model.check()
        for line in dict.fromkeys([await command.check() for command in self.commands]):
            if line:
                self.tell(line)

    async def close(self) -> None:
        """Let go of all connections."""
        for model in self.models:
            await model.close()


def offline() -> Agents:
    """Agents that ask nobody."""
    return Agents(planner=OfflinePlanner(), coder=OfflineCoder(), models=())


def make_agents(settings: Settings, around: Surroundings) -> Agents:
    """The agents that the settings name. Raises WrongUse: no key, or a limit in dollars that cannot be watched."""
    agents = settings.agents
    if settings.limits.dollars is not None:
        _check_prices(agents)
    planner_parts = BACKENDS[agents.planner.backend](agents.planner, PLANNER_MODEL, settings, around)
    coder_parts = BACKENDS[agents.coder.backend](agents.coder, CODER_MODEL, settings, around)
    models = tuple(dict.fromkeys(parts.model for parts in (planner_parts, coder_parts) if parts.model is not None))
    return Agents(
        planner=planner_parts.planner,
        coder=coder_parts.coder,
        models=models,
        commands=tuple(parts.command for parts in (planner_parts, coder_parts) if parts.command is not None),
        order=planner_parts.order,
        tell=around.tell,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    planner: Planner
    coder: Coder
    model: Claude | None = None
    command: Command | None = None
    order: Callable[[Policy], Policy] = lambda policy: policy


def _offline(_: BackendSettings, __: str, ___: Settings, ____: Surroundings) -> _Parts:
    return _Parts(planner=OfflinePlanner(), coder=OfflineCoder())


def _claude(own: BackendSettings, default: str, settings: Settings, around: Surroundings) -> _Parts:
    model = own.model or default
    claude = Claude(
        access_of(own, around.environment),
        model=model,
        max_tokens=own.max_tokens,
        timeout_seconds=own.timeout_seconds,
        price=price_of(model, settings.agents.prices),
        tell=around.tell,
    )
    limits = settings.limits.model_dump(exclude_none=True)
    ends = " or ".join(f"{value:,.15g} {name.replace('_', ' ')}" for name, value in limits.items())
    words = f"It ends after {ends}." if ends else ""
    return _Parts(
        planner=ModelPlanner(claude, digest_tokens=own.digest_tokens, limits=words),
        coder=ModelCoder(claude, turns=own.turns, merge=around.merge),
        model=claude,
    )


def _command(own: BackendSettings, _: str, __: Settings, around: Surroundings) -> _Parts:
    if around.ground is None:
        raise WrongUse("the backend command has nothing to run its command with here")
    missing = [name for name in own.environment if name not in around.environment]
    if missing:
        raise WrongUse(f"agents: environment lists {', '.join(missing)}, which is not set: export it or leave it away")
    home = around.environment.get("HOME", "/")
    writable = (path.replace("~", home, 1) if path.startswith("~") else path for path in own.writable)
    command = Command(
        own.command,
        around.ground,
        environment={name: around.environment[name] for name in own.environment},
        seconds=own.timeout_seconds,
        sandbox=own.sandbox,
        writable=tuple(Path(path).resolve() for path in writable),
    )
    planner = CommandPlanner(command, digest_tokens=own.digest_tokens)
    return _Parts(planner=planner, coder=CommandCoder(command), command=command)


def _replay(own: BackendSettings, _: str, __: Settings, around: Surroundings) -> _Parts:
    recording = Recording(around.read_journal(own.journal))
    return _Parts(
        planner=ReplayPlanner(recording),
        coder=ReplayCoder(recording),
        order=lambda policy: RecordedOrder(policy, recording),
    )


BACKENDS: dict[str, Callable[[BackendSettings, str, Settings, Surroundings], _Parts]] = {
    "offline": _offline,
    "claude": _claude,
    "command": _command,
    "replay": _replay,
}


def access_of(own: BackendSettings, environment: Mapping[str, str]) -> Access:
    """Key and address; WrongUse if Anthropic's own server is meant and there is no key."""
    base_url = own.base_url or environment.get("ANTHROPIC_BASE_URL") or None
    key, token = environment.get("ANTHROPIC_API_KEY") or None, environment.get("ANTHROPIC_AUTH_TOKEN") or None
    if key is None and token is None and base_url is None:
        raise WrongUse(
            "the backend claude needs a key: export ANTHROPIC_API_KEY=..., or name a server that needs none with "
            "base_url or ANTHROPIC_BASE_URL (ratchetree rehearse is one)"
        )
    return Access(key=key, token=None if key else token, base_url=base_url)


def _check_prices(agents: AgentsSettings) -> None:
    for role, own, default in (("planner", agents.planner, PLANNER_MODEL), ("coder", agents.coder, CODER_MODEL)):
        model = own.model or default
        if own.backend == "command" or (own.backend == "claude" and price_of(model, agents.prices) is None):
            what = f"the price of {model!r}" if own.backend == "claude" else "what a command costs"
            raise WrongUse(
                f"limits.dollars cannot be watched: {what} ({role}) is not known; give it as "
                f'[agents.prices."{model}"] input = ..., output = ..., or use limits.tokens'
            )
