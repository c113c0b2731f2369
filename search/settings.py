"""What `ratchetree.toml` may say: every key with its type, default and bounds. Parsing only; no file is read here."""

from __future__ import annotations

import difflib
import tomllib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import WrongUse
from .model import Metric


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricSettings(_Table):
    """What is measured."""

    name: str = Field(default="val_bpb", pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")
    direction: Literal["min", "max"] = "min"


class TaskSettings(_Table):
    """What is worked on."""

    editable: tuple[str, ...] = Field(default=("train.py",), min_length=1)
    command: tuple[str, ...] = Field(default=("python", "train.py"), min_length=1)
    metric: MetricSettings = MetricSettings()
    scorer: Literal["trusted", "printed", "trusted-else-printed"] = "trusted"
    corpus: str = ""  # a folder of .txt, .jsonl or .parquet files; empty = the task's own default

    @field_validator("editable")
    @classmethod
    def _inside(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path or path.startswith("/") or ".." in path.split("/") or "\\" in path:
                raise ValueError(f"{path!r} is not a path inside the workspace")
            if path in ("prepare.py", "program.md", "ratchetree.toml"):
                raise ValueError(f"{path!r} is what a patch is judged by and cannot be editable")
        return paths


class BudgetSettings(_Table):
    """What one training run may use."""

    kind: Literal["wall", "cpu", "tokens"] = "cpu"
    seconds: float = Field(default=300, gt=0)  # for kind = tokens: a cap on the wall time
    tokens: int = Field(default=100_000, gt=0)  # for kind = tokens only
    startup_seconds: float = Field(default=180, gt=0)

    @property
    def amount(self) -> float:
        """The budget in its own unit: seconds or tokens."""
        return float(self.tokens) if self.kind == "tokens" else self.seconds


class SearchSettings(_Table):
    """Where to go on. A policy's parameters stand in a table of its name, `[search.beam]`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    policy: str = "auto"
    choice: int = Field(default=3, ge=1)  # how many of the policy's top expansions the planner may choose from
    in_flight: int | None = Field(default=None, ge=1)  # experiments under way at once; default: see Settings

    def parameters(self, policy: str) -> dict[str, Any]:
        """The table of one policy's parameters; empty if there is none."""
        table = (self.model_extra or {}).get(policy, {})
        return dict(table)


class RatchetSettings(_Table):
    """When main may move."""

    preset: Literal["naive", "fast", "default", "strict"] = "default"
    anchor: bool = True  # whether main is measured once more beside a node that would replace it, in case of a drift


class BackendSettings(_Table):
    """Who thinks."""

    backend: Literal["offline", "claude", "command", "replay"] = "offline"
    model: str = ""  # claude; empty: claude-opus-5-5 to plan, claude-sonnet-5-5 to code
    base_url: str = ""  # claude: any server that speaks the Messages API; empty: ANTHROPIC_BASE_URL, or Anthropic's own
    max_tokens: int = Field(default=16_000, ge=256)  # claude: of one reply
    turns: int = Field(default=12, ge=1)  # claude, coder: replies in one writing
    timeout_seconds: float = Field(default=600, gt=0)  # claude: of one reply; command: of one writing
    digest_tokens: int = Field(default=12_000, ge=500)  # claude, planner: for the history of the tree
    command: tuple[str, ...] = ()  # command: {prompt} in it is the task, {task} a file with it
    environment: tuple[str, ...] = ()  # command: names of the variables it may see
    writable: tuple[str, ...] = ()  # command: what it may write beside its tree, absolute or from ~
    sandbox: Literal["auto", "bubblewrap", "landlock", "none"] = "auto"  # command: none = with your rights
    journal: str = ""  # replay: the journal.db of a recorded campaign

    @model_validator(mode="after")
    def _complete(self) -> BackendSettings:
        needs = {"command": "command", "replay": "journal"}.get(self.backend)
        if needs and not getattr(self, needs):
            raise ValueError(f"backend {self.backend!r} needs {needs} = ...")
        for path in self.writable:
            if path[:1] not in ("/", "~") or path.rstrip("/") in ("", "~"):
                raise ValueError(f"writable: {path!r} is no path below / or ~")
        if "//" in self.base_url and "@" in self.base_url:
            raise ValueError("base_url holds a user name or a password: keys come from the environment only")
        return self


class PriceSettings(_Table):
    """What a model costs, in dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_write: float | None = Field(default=None, ge=0)  # default: twice the input (kept for an hour)
    cache_read: float | None = Field(default=None, ge=0)  # default: a tenth of the input


class AgentsSettings(_Table):
    """Planner and coder."""

    planner: BackendSettings = BackendSettings()
    coder: BackendSettings = BackendSettings()
    repairs: int = Field(default=1, ge=0)  # further write turns after a crash
    prices: dict[str, PriceSettings] = {}  # by model; on top of the table that ships with ratchetree


class TrainerSettings(_Table):
    """Where training runs."""

    executor: Literal["local", "ray", "synthetic"] = "local"  # ray: all nodes of a Ray cluster
    cluster: str = "auto"  # ray: HOST:PORT; auto = the one that this machine is in, local = this machine alone
    slots: int = Field(default=1, ge=1)  # on all hosts together
    memory_mb: int | None = Field(default=None, ge=64)  # per trial; default: an equal share of 80 % of the machine
    weights_mb: int = Field(default=1024, ge=1)  # of what a trial saves
    score_seconds: int = Field(default=600, ge=1)  # a model that answers more slowly has no score
    sandbox: Literal["auto", "bubblewrap", "landlock", "weak"] = "auto"  # weak = none: say so to accept it
    cards: Literal["auto", "none"] = "auto"  # auto: with a wall budget a card for each slot, where there are cards
    smoke: Literal["slot", "cpu"] = "slot"  # cpu: smoke runs take no slot and no card; the script must run on a CPU
    overlap: bool = True  # start a trial up while the last one is scored on the same card; its clock waits for that
    calibrate_every: int = Field(default=10, ge=0)  # trials of a slot between two measurements of its card; 0 = never
    stop_hopeless: bool = False  # end a trial early whose loss is far above the best trial's at the same time
    readable: tuple[str, ...] = ()  # further absolute paths that a trial may read
    starvation: bool = True  # whether a trial whose machine was taken from it is void and run again

    @field_validator("readable")
    @classmethod
    def _absolute(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not path.startswith("/") or path == "/":
                raise ValueError(f"{path!r} is not an absolute path below /")
        return paths


class LimitSettings(_Table):
    """When to stop."""

    experiments: int | None = Field(default=100, ge=0)
    hours: float | None = Field(default=None, gt=0)
    dollars: float | None = Field(default=None, gt=0)  # for model calls
    tokens: int | None = Field(default=None, gt=0)  # of all kinds, input and output
    gpu_hours: float | None = Field(default=None, gt=0)  # slot hours spent training, all trials together


class ViewSettings(_Table):
    """Who else is told."""

    sinks: tuple[str, ...] = ()  # tools that trials and verdicts are logged to: tensorboard, trackio, wandb, mlflow


class Settings(_Table):
    """The whole of `ratchetree.toml`."""

    task: TaskSettings = TaskSettings()
    budget: BudgetSettings = BudgetSettings()
    search: SearchSettings = SearchSettings()
    ratchet: RatchetSettings = RatchetSettings()
    agents: AgentsSettings = AgentsSettings()
    trainer: TrainerSettings = TrainerSettings()
    limits: LimitSettings = LimitSettings()
    view: ViewSettings = ViewSettings()

    @property
    def metric(self) -> Metric:
        """The metric as the search uses it."""
        return Metric(name=self.task.metric.name, direction=self.task.metric.direction)

    @property
    def anchors(self) -> bool:
        """Whether main is measured again before it moves: not where a score cannot depend on the machine's state, and
        not where the first trial decides."""
        steady = self.budget.kind == "tokens" or self.trainer.executor == "synthetic"
        return self.ratchet.anchor and not steady and self.ratchet.preset != "naive"

    @property
    def in_flight(self) -> int:
        """Experiments under way at once: one more than slots, so that a slot never waits for a patch; twice as many
        where a model plans or codes, because what it takes to answer is of the order of a trial (4 slots, trials of
        300 s, 30-120 s a reply: 99 % busy in `tests/bench/agents.py`, 74 % with slots + 1)."""
        models = {self.agents.planner.backend, self.agents.coder.backend} & {"claude", "command"}
        return self.search.in_flight or self.trainer.slots * (2 if models else 1) + 1


def parse_settings(text: str, *, source: str = "ratchetree.toml") -> Settings:
    """Settings from TOML text; WrongUse with one line that names the key, the value and what is allowed."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(f"{source} is not valid TOML: {error}") from error
    return settings_from(table, source=source)


def settings_from(table: dict[str, Any], *, source: str = "ratchetree.toml") -> Settings:
    """Settings from a parsed table; WrongUse as `parse_settings`."""
    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        raise WrongUse(f"{source}: " + "; ".join(_explain(e, table) for e in error.errors()[:3])) from error
    from .policies import POLICIES, make_policy  # the registry is the list of allowed names

    search = settings.search
    for name, value in {search.policy: {}, **(search.model_extra or {})}.items():
        if name not in POLICIES:
            known = [*POLICIES, *(SearchSettings.model_fields if name != search.policy else ())]
            raise WrongUse(f"{source}: search: {name!r} is not known; {_allowed(name, known)}")
        if not isinstance(value, dict):
            raise WrongUse(f"{source}: search.{name} = {value!r}: must be a table of the policy's parameters")
        make_policy(name, value)  # refuses what is not allowed, also in the tables of policies that do not run now
    return settings


def _explain(error: Any, table: dict[str, Any]) -> str:
    where = [str(part) for part in error["loc"]]
    key = ".".join(where)
    if error["type"] == "extra_forbidden":
        return f"{key} = {error['input']!r} is not known; {_allowed(where[-1], _keys_at(where[:-1]))}"
    message = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    return f"{key} = {given!r}: {message[:1].lower()}{message[1:]}"


def _keys_at(where: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in where:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _allowed(given: str, known: list[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(known)}"
