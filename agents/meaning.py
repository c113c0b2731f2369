"""What a number in a training script means, read off its name.

It knows no file. Names nobody recognises are of a generic kind if they are written in capitals, and are left alone
otherwise: they may be anything.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .families import FAMILIES, Family
from .scales import Number

# fmt: off
PROTECTED = frozenset({
    "seed", "path", "paths", "dir", "folder", "file", "filename", "name", "url", "version", "vocab", "eval",
    "evals", "evaluation", "val", "valid", "validation", "test", "log", "logging", "print", "verbose", "debug",
    "device", "dtype", "port", "host", "id", "run", "project", "entity", "wandb", "compile", "budget", "time",
    "seconds", "deadline", "margin", "interval", "every", "workers", "worker", "threads", "thread", "save",
    "checkpoint", "checkpoints", "ckpt", "resume", "bos", "eos", "pad", "token", "tokens", "data", "dataset",
    "shard", "shards", "cache", "download", "backend", "rank", "world", "ddp", "local", "stop", "patience",
    "timeout",
})
# fmt: on
"""A name with one of these words is about the measurement or the machine, never about the model."""


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """The words of a name, lower case, without digits: `ADAM_BETA2` and `adamBeta2` are (adam, beta)."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return tuple(w for w in (re.sub(r"\d+$", "", part).lower() for part in re.split(r"[^A-Za-z0-9]+|_", split)) if w)


def is_protected(name: str) -> bool:
    """Whether the name speaks of the measurement or the machine."""
    return not PROTECTED.isdisjoint(words(name))


def family_of(name: str, value: Number) -> Family | None:
    """What the number means; None if it is better left alone."""
    if not (value == 0 or 1e-15 < value < 1e15) or is_protected(name):
        return None
    found = _by_words(words(name), value)
    if found is None and name.isupper():
        found = _by_value(value)
    if found is None:
        return None
    family = FAMILIES[found]
    return None if family.whole and not isinstance(value, int) else family


def _by_words(parts: tuple[str, ...], value: Number) -> str | None:
    has = set(parts).__contains__
    joined = "_".join(parts)
    if "warm_up" in joined or has("warmup") or has("rampup"):
        return "warm-up" if isinstance(value, float) and value <= 1 else "schedule length"
    if "warm_down" in joined or "cool_down" in joined or has("warmdown") or has("cooldown") or has("rampdown"):
        return "warm-down" if isinstance(value, float) and value <= 1 else "schedule length"
    if has("lr") or ("learning_rate" in joined):
        if has("decay") or has("iters") or has("steps"):
            return "schedule length" if isinstance(value, int) else None
        share = any(map(has, ("frac", "fraction", "ratio", "share", "factor")))
        last = any(map(has, ("final", "end", "min"))) and (value == 0 or value >= 0.01)
        return "final learning rate" if (share or last) and value <= 1 else "learning rate"
    if "label_smoothing" in joined:
        return "label smoothing"
    if has("dropout"):
        return "dropout"
    if any(map(has, ("beta", "betas", "momentum", "ema", "mu"))):
        return "momentum" if 0 < value < 1 else None
    if has("wd") or "weight_decay" in joined:
        return "weight decay"
    return _by_shape_words(parts, value)


_WIDTHS = (("dim",), ("model", "dim"), ("d", "model"), ("embed", "dim"))


def _by_shape_words(parts: tuple[str, ...], value: Number) -> str | None:
    def has(*any_of: str) -> bool:
        return not set(any_of).isdisjoint(parts)

    rules: tuple[tuple[bool, str], ...] = (
        (has("eps", "epsilon"), "epsilon"),
        (has("clip", "clipping") or "_".join(parts) == "max_norm", "clipping"),
        (has("cap", "softcap"), "logit cap"),
        (has("rope", "rotary", "theta") and value >= 10, "rotary base"),
        (has("init", "std", "gain"), "initial scale"),
        (has("newton", "ns") or (parts == ("steps",) and value <= 12), "iterations"),
        (has("head", "heads", "nhead") and has("kv"), "key/value heads"),
        (has("head", "heads") and has("dim", "size"), "head size"),
        (has("heads", "head", "nhead") and not has("scale"), "heads"),
        (has("depth", "layer", "layers", "blocks"), "depth"),
        (has("mlp", "ffn", "ff", "hidden", "expansion") and has("ratio", "mult", "factor", "expansion"), "mlp ratio"),
        (has("mlp", "ffn", "ff", "hidden"), "hidden size"),
        (has("accum", "accumulation"), "accumulation"),
        (has("batch"), "batch size"),
        (has("seq", "sequence", "context", "ctx") or parts == ("block", "size"), "sequence length"),
        (has("window"), "window"),
        (value >= 8 and (has("width", "embd") or parts in _WIDTHS), "width"),
    )
    return next((name for matches, name in rules if matches), None)


def _by_value(value: Number) -> str | None:
    if value <= 0:
        return None
    if isinstance(value, int):
        return "count" if value <= 16 else "constant"
    return "share" if value < 1 else "constant"
