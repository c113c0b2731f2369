"""`status` for people: where the campaign stands, how sure that is, and what to type next."""

from __future__ import annotations

from collections import Counter

from rich.console import RenderableType
from rich.text import Text

from ..search.model import Score
from ..search.tree import FAILED, IN_FLIGHT, KEPT, PARKED, ROOT, Node, Tree
from .chronicle import Chronicle
from .costs import cost_facts
from .numbers import SCORER_WORDS, Digits, count, duration, gain_sd, sparkline
from .plain import Fact, Facts, plain
from .setbacks import setback

_SCORERS = {
    "trusted": "trusted: a separate process measures what training saved",
    "trusted-else-printed": "trusted: a separate process measures what training saved; self-reported where it cannot",
    "printed": "self-reported: the numbers are what the user's own command printed; nothing checked them",
    "synthetic": "synthetic: the numbers come from a landscape; nothing was trained",
}
UNCONFIRMED = "unknown: main was kept on a single trial, picked for being good; `ratchetree confirm` measures it"
_SANDBOXES = {
    "bubblewrap": "bubblewrap: a trial has its own files, processes and network",
    "landlock": "landlock: a trial reaches no network, files or processes but its own",
    "weak": "NONE (weak): patches run with your rights; scores can be faked",
}
IMPORTED = "imported"
"""The policy of a run that somebody else made: no limit of ours ended it."""
_SHOWN = 6  # experiments in flight that are listed


def status_text(tree: Tree, chronicle: Chronicle, *, running: bool, now: float) -> RenderableType:
    """The campaign on one screen; `now` in seconds since the epoch."""
    if tree.root_commit is None:
        return Text("no campaign yet: `ratchetree run` starts one")
    rows: list[Fact] = [("state", _state(chronicle, running=running, now=now))]
    rows += _scores(tree, chronicle)
    rows += _counts(tree, chronicle, running=running)
    rows += cost_facts(tree, chronicle.spending)
    rows += _circumstances(tree, chronicle)
    rows += [("next", line) for line in _next(tree, chronicle, running=running)]
    return Facts(rows)


def brief_text(tree: Tree, chronicle: Chronicle, *, running: bool, now: float) -> RenderableType:
    """What was won, how sure that is, where the search stands and what it cost, in the first lines."""
    if tree.root_commit is None:
        return Text("no campaign yet: `ratchetree run` starts one")
    known = [*_scores(tree, chronicle), *_counts(tree, chronicle, running=running)]
    said = {name: words for name, words in reversed(known) if name}
    shown = [(name, said[name]) for name in ("main", "gain", "confirmed", "done", "pace", "setbacks") if name in said]
    state = ("state", _state(chronicle, running=running, now=now))
    return Facts([state, *shown, *cost_facts(tree, chronicle.spending)[:1]])


def scored(digits: Digits, score: Score, by: str) -> str:
    """A score in words: "2.1034 ± 0.0050 over 3 trials", with what it is if it is no trusted measurement."""
    spread = f" ± {digits.value(score.sd)}" if score.sd is not None else ""
    return f"{digits.value(score.mean)}{spread} over {count(score.n, 'trial')}{label(by)}"


def label(by: str) -> str:
    """What follows a score that is no trusted measurement."""
    return f", {SCORER_WORDS[by]}" if by in SCORER_WORDS else ""


def gain_words(tree: Tree, root: Score, main: Score) -> str:
    """How much better main is than the root, and how sure that is."""
    digits = Digits.of(tree)
    gain = abs(tree.metric.gain(root.mean, main.mean))
    sd = gain_sd(tree.noise, root, main)
    words = f"{plain(tree.metric.name, 40)} {digits.value(root.mean)} → {digits.value(main.mean)}, "
    words += f"{digits.value(gain)} {digits.better(root.mean, main.mean)}"
    if sd is None:
        return f"{words}; how sure is unknown, because no trial was repeated"
    return f"{words}, ± {digits.value(sd)} (sd of the difference, {count(root.n, 'trial')} against {main.n})"


def _state(chronicle: Chronicle, *, running: bool, now: float) -> str:
    idle = max(0.0, now - (chronicle.updated or now))
    ran, ago = f"ran {duration(chronicle.ran_seconds)}", duration(idle)
    if chronicle.sessions > 1:
        ran += f" in {chronicle.sessions} sessions"
    if running:
        return f"running for {duration(chronicle.ran_seconds + idle)}; last event {ago} ago"
    if chronicle.stopped is not None:
        return f"stopped {ago} ago ({plain(chronicle.stopped, 200)}); {ran}"
    return f"interrupted {ago} ago, without a stop; {ran}; `ratchetree run` goes on where it was"


def _scores(tree: Tree, chronicle: Chronicle) -> list[Fact]:
    digits, root, main = Digits.of(tree), tree.node(ROOT), tree.node(tree.incumbent)
    if root.score is None:
        return [("root", "not scored yet")]
    rows: list[Fact] = [("root", f"0000  {scored(digits, root.score, root.by)}")]
    if main.id == ROOT or main.score is None:
        rows.append(("main", "still at the root: nothing has beaten it yet"))
    else:
        rows.append(("main", f"{main.id:04d}  {scored(digits, main.score, main.by)}  {plain(main.title, 200)}"))
        measured = gain_words(tree, root.score, main.score) + label(main.by)
        rows.append(("gain", UNCONFIRMED if main.is_screened_only else measured))
        steps = len(tree.advances) - 1
        line = sparkline(chronicle.main_over_time(tree, 40), 40)
        rows.append(("", f"{line}  {digits.which_way}; main moved {count(steps, 'time')}"))
    if chronicle.claim is not None:
        rows.append(("confirmed", plain(chronicle.claim.sentence, 500) + label(main.by)))
    if tree.noise is None:
        return [*rows, ("noise", "unknown: no trial was repeated, so luck cannot be told from gain")]
    freedom = count(tree.noise_freedom, "degree")
    return [*rows, ("noise", f"{digits.value(tree.noise)} between trials of one node ({freedom} of freedom)")]


def _counts(tree: Tree, chronicle: Chronicle, *, running: bool) -> list[Fact]:
    counts, limit = tree.counts, chronicle.settings.limits.experiments if chronicle.settings else None
    judged = tree.experiments - counts[IN_FLIGHT]
    is_limited = limit is not None and limit >= judged and chronicle.policy != IMPORTED
    words = f"{judged:,} of {limit:,} experiments" if is_limited else count(judged, "experiment")
    words += f": ● {counts[KEPT]:,} kept, ○ {counts[PARKED]:,} parked, ✗ {counts[FAILED]:,} failed"
    rows: list[Fact] = [("done", words)]
    if chronicle.failures:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in chronicle.failures.most_common())
        rows.append(("failed", kinds))
    for node, stage in sorted(chronicle.stages.items())[:_SHOWN]:
        rows.append(
            ("in flight", f"◌ {node:04d} {stage if running else 'left at: ' + stage}  {_title(tree.node(node))}")
        )
    if len(chronicle.stages) > _SHOWN:
        rows.append(("in flight", f"and {len(chronicle.stages) - _SHOWN:,} more"))
    if chronicle.per_hour:
        left = ""
        if running and limit and limit > judged:
            left = f"; about {duration((limit - judged) * 3600 / chronicle.per_hour)} left"
        rows.append(("pace", f"{chronicle.per_hour:.1f} experiments an hour{left}"))
    if chronicle.starved:
        rows.append(("starved", f"{count(chronicle.starved, 'trial')} void: the machine was taken from them"))
    if chronicle.contracts:
        rows.append(("setbacks", _setbacks(tree, chronicle)))
    return rows


def _setbacks(tree: Tree, chronicle: Chronicle) -> str:
    found = [s for node in chronicle.contracts if (s := setback(tree, tree.node(node), chronicle.account))]
    states, sums = Counter(promised.state for promised in found), chronicle.account.sums()
    text = f"{count(len(chronicle.contracts), 'contract')}: " + ", ".join(f"{n:,} {s}" for s, n in states.items())
    text += f"; {count(sums.spent, 'experiment')} went on from them" if sums.spent else ""
    return text + (f", which brought main {Digits.of(tree).value(sums.gain)}" if sums.gain else "")


def _circumstances(tree: Tree, chronicle: Chronicle) -> list[Fact]:
    rows: list[Fact] = [
        ("search", f"policy {chronicle.policy}, ratchet {chronicle.preset}, seed {tree.seed}"),
        ("scorer", _SCORERS.get(chronicle.scorer, chronicle.scorer)),
    ]
    if chronicle.machine and chronicle.machine.cpus:  # an imported run says nothing of its machine
        machine = chronicle.machine
        gpu = f", {plain(machine.gpu, 60)}" if machine.gpu else ""
        rows.append(("machine", f"{plain(machine.host, 40)}: {machine.cpus} × {plain(machine.cpu, 60)}{gpu}"))
        rows.append(("sandbox", _SANDBOXES.get(machine.sandbox, plain(machine.sandbox, 40)) or "none recorded"))
    return rows


def _next(tree: Tree, chronicle: Chronicle, *, running: bool) -> list[str]:
    lines = [] if running else ["ratchetree run                  go on"]
    if tree.experiments:
        lines.append("ratchetree tree                 every experiment")
    if tree.incumbent != ROOT:
        lines.append(f"ratchetree show {tree.incumbent:<15} what made main better")
        lines.append("git log --first-parent main     main's own history")
        if not running and chronicle.claim is None:
            lines.append("ratchetree confirm              is the gain real? new seeds, sealed text")
    return lines


def _title(node: Node) -> str:
    return plain(node.title, 60) if node.idea else ""
