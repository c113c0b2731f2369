"""`show ID` for people: one experiment from its idea to its verdict; and `diff`, coloured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ..search.contracts import Account
from ..search.events import Event, Planned, Trained, Written
from ..search.model import NodeId, TrialReport
from ..search.tree import ROOT, Node, Tree
from .costs import call_facts
from .numbers import Digits, count, duration, sparkline
from .plain import Fact, Facts, Portable, plain, plain_lines
from .setbacks import setback
from .status_text import label, scored
from .tree_text import SIGNS, STYLES, setback_words

_TRACEBACK = 30  # lines of a failure's detail that are shown
_PATH = 6  # nodes of a path that are shown at its end


def node_text(
    tree: Tree,
    node_id: NodeId,
    *,
    account: Account | None = None,
    events: Iterable[Event] = (),
    curve: Sequence[float] = (),
) -> RenderableType:
    """All that is known of a node; KeyError if there is none. `account`: for its setback contract; `events`: its own,
    for seeds and attempts; `curve`: its training losses, if a log has them."""
    node, digits = tree.node(node_id), Digits.of(tree)
    own = list(events)
    facts: list[Fact] = [
        *_scores(tree, node, digits),
        *_idea(tree, node, digits, account),
        *_attempts(own),
        *call_facts(own),
        *_trials(node, digits, own),
        *_training(node.report),
    ]
    if line := sparkline(curve, 60):
        facts.append(("losses", f"{line}  {curve[0]:.4g} → {curve[-1]:.4g}"))
    return Group(_heading(tree, node), Text(), Facts([*facts, *_failure(node), *_git(node), *_family(tree, node)]))


def diff_text(diff: str) -> RenderableType:
    """A unified diff in colours; the signs at the left say the same without them."""
    text = Text(overflow="fold")
    for line in plain_lines(diff):
        text.append(line + "\n", _diff_style(line))
    text.right_crop(1)
    return Portable(text)


def _diff_style(line: str) -> str:
    if line.startswith(("diff ", "index ", "+++", "---")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


def _heading(tree: Tree, node: Node) -> RenderableType:
    words = str(node.verdict or "in flight")
    if node.id == tree.incumbent:
        words = "main is here"
    elif node.verdict and node.failure:
        words = f"failed: {node.failure.kind}"
    name = f"{SIGNS[node.verdict]} {node.id:04d}"
    return Portable(Text.assemble((name, STYLES[node.verdict]), "  ", (plain(node.title, 300), "bold"), f"  ({words})"))


def _scores(tree: Tree, node: Node, digits: Digits) -> list[Fact]:
    if node.score is None:
        return [("verdict", plain(node.reason))] if node.reason else []
    facts: list[Fact] = [(plain(tree.metric.name, 20), scored(digits, node.score, node.by))]
    for other, name in ((node.parent, "parent"), (tree.incumbent, "main")):
        if other is None or other == node.id or not tree.trials[other]:
            continue
        value, mean = tree.metric.value(float(tree.loss[other])), node.score.mean
        change = f"{digits.change(value, mean)} {digits.better(value, mean)} than"
        facts.append((f"vs {name}", f"{change} {other:04d} ({digits.value(value)}{label(tree.node(other).by)})"))
    return [*facts, ("verdict", plain(node.reason) + label(node.by))] if node.reason else facts


def _idea(tree: Tree, node: Node, digits: Digits, account: Account | None) -> list[Fact]:
    if node.idea is None:
        return []
    idea, facts = node.idea, list[Fact]()
    for name, words in (("hypothesis", idea.hypothesis), ("mechanism", idea.mechanism), ("brief", idea.brief)):
        if plain(words):
            facts.append((name, plain(words)))
    facts.append(("asked", f"{node.asked}; category {plain(idea.category, 40)}"))
    if idea.expected_change:
        facts.append(("predicted", _prediction(tree, node, digits)))
    if account and (promised := setback(tree, node, account)):
        facts.append(("contract", setback_words(promised, digits)))
    return facts


def _prediction(tree: Tree, node: Node, digits: Digits) -> str:
    assert node.idea is not None
    words = f"a change of {digits.change(0.0, node.idea.expected_change)}"
    if node.score is None or node.parent is None or not tree.trials[node.parent]:
        return f"{words}; not measured"
    before = tree.metric.value(float(tree.loss[node.parent]))
    return f"{words}; measured {digits.change(before, node.score.mean)}{label(node.by)}"


def _attempts(events: list[Event]) -> list[Fact]:
    """What the planner and the coder answered, one row each."""
    facts: list[Fact] = []
    for event in events:
        if isinstance(event, Planned):
            facts.append(("planner", _call(event)))
        elif isinstance(event, Written):
            became = plain(f"{event.failure.kind}: {event.failure.message}", 200) if event.failure else "applied"
            facts.append(("coder", f"attempt {event.attempt}: {became} ({_call(event)})"))
    return facts


def _call(event: Planned | Written) -> str:
    model = f" {plain(event.call.model, 40)}" if event.call.model else ""
    return f"{plain(event.call.backend, 40)}{model}, {event.call.seconds:.1f} s"


def _trials(node: Node, digits: Digits, events: list[Event]) -> list[Fact]:
    if len(node.values) < 2 and not events:
        return []
    seeds = {event.trial: event.seed for event in events if isinstance(event, Trained)}
    words = []
    for trial, value in enumerate(node.values):
        notes = [f"seed {seeds[trial]}"] if trial in seeds else []
        if node.id != ROOT and trial == 0 and len(node.values) > 1:
            notes.append("screening, not in the mean")
        words.append(digits.value(value) + (f" ({', '.join(notes)})" if notes else ""))
    return [("trials", ", ".join(words) + label(node.by))] if words else []


def _training(report: TrialReport | None) -> list[Fact]:
    if report is None:
        return []
    words = f"start-up {report.startup_seconds:.1f} s, training {report.train_seconds:.1f} s"
    words += f" (CPU {report.cpu_seconds:.1f} s), peak memory {report.peak_memory_mb:,.0f} MB"
    work = f"{count(report.steps, 'step')}, {count(report.tokens, 'token')}"
    if report.tokens and report.train_seconds > 0:
        work += f", {report.tokens / report.train_seconds:,.0f} tokens/s"
    if report.last_loss is not None:
        work += f", last training loss {report.last_loss:.4f}"
    return [("training", words), ("", work), *_card(report)]


def _card(report: TrialReport) -> list[Fact]:
    if not report.card:
        return []
    words = [report.card, f"{report.card_memory_mb / 1024:.1f} GB used"]
    for value, name in (
        (report.mfu, "MFU"),
        (report.card_clock, "of its top clock"),
        (report.card_speed, "of its best"),
    ):
        words += [f"{value:.1%} {name}"] if value is not None else []
    return [("card", ", ".join(words))]


def _failure(node: Node) -> list[Fact]:
    if node.failure is None:
        return []
    facts: list[Fact] = [("failure", Text(plain(f"{node.failure.kind}: {node.failure.message}"), "red"))]
    lines = plain_lines(node.failure.detail)
    if len(lines) > _TRACEBACK:
        facts.append(("", f"({count(len(lines) - _TRACEBACK, 'line')} before)"))
    return facts + [("", line) for line in lines[-_TRACEBACK:]]


def _git(node: Node) -> list[Fact]:
    facts: list[Fact] = [("lines", f"+{node.lines_added} −{node.lines_removed}")] if node.id != ROOT else []
    if node.seconds:
        facts.append(("took", f"{duration(node.seconds)} of training and scoring"))
    if node.commit is None:
        return facts
    ref = f"refs/ratchetree/{node.id:04d}"
    facts.append(("commit", f"{plain(node.commit, 40)}  {ref}"))
    if node.branch:
        facts.append(("branch", plain(node.branch)))
    if node.main and node.main != node.commit:
        facts.append(("on main", plain(node.main, 40)))
    facts += [("look", f"ratchetree diff {node.id}")] if node.id != ROOT else []
    return [*facts, ("look", f"git switch --detach {ref}")]


def _family(tree: Tree, node: Node) -> list[Fact]:
    path = [f"{step:04d}" for step in tree.path(node.id)]
    if len(path) > _PATH + 2:
        path = [path[0], f"… {len(path) - _PATH - 1:,} more", *path[-_PATH:]]
    facts: list[Fact] = [("path", " → ".join(path))] if node.id != ROOT else []
    children = tree.children().get(node.id, [])
    if children:
        shown = ", ".join(f"{child:04d}" for child in children[:12])
        rest = f" and {len(children) - 12:,} more" if len(children) > 12 else ""
        facts.append(("children", f"{shown}{rest}"))
    return facts
