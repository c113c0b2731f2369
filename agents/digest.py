"""The tree as a planner reads it: what matters most of a campaign of any size, within a budget of tokens.

Every line is a fact of the journal: what was asked, what was measured, by how much it missed. Of a planner's own words
there is the hypothesis, so that results can refute it. Pure and deterministic; selection works on the tree's columns,
so that 10,000 nodes cost milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..search.memory import Record
from ..search.model import NodeId
from ..search.ports import PlanRequest
from ..search.tree import FAILED, PARKED, ROOT, Node, Tree
from .fencing import one_line

BYTES_PER_TOKEN = 3  # an estimate that errs on the safe side: English prose has 4 and more, code 3 to 4


def tokens_of(text: str) -> int:
    """How many tokens a text has at most, roughly."""
    return -(-len(text.encode("utf-8", "surrogateescape")) // BYTES_PER_TOKEN)


def history(request: PlanRequest, budget: int) -> str:
    """What was tried, in at most `budget` tokens: sections in the order of their worth, each with a share; what one
    leaves over, the next may use. An experiment that was told of is not told of again, but for what is open."""
    parts: list[str] = []
    left, shown = budget, set[str]()
    for share, title, lines in _SECTIONS:
        room = min(left, int(share * budget) + max(0, left - int(_rest(title) * budget)))
        is_open = lines in (_in_flight, _debts)
        text = _fill(title, (line for line in lines(request) if is_open or _subject(line) not in shown), room)
        shown.update(map(_subject, text.splitlines()))
        if text:
            parts.append(text)
            left -= tokens_of(text) + 1
    return "\n\n".join(parts) if parts else "Nothing yet: this is the first experiment."


def _subject(line: str) -> str:
    """The number of the experiment that a line tells of; the line itself where it begins with none."""
    number = line.partition(" ")[0]
    return number if number.isdigit() else line


def _fill(title: str, lines: Iterable[str], room: int) -> str:
    taken, used = [f"## {title}"], tokens_of(title) + 2
    for line in lines:
        used += tokens_of(line) + 1
        if used > room:
            break
        taken.append(line)
    return "\n".join(taken) if len(taken) > 1 else ""


def facts(node: Node, tree: Tree, *, more: str = "") -> str:
    """One experiment on one line: what it was, what it gave against its parent and against main, what it cost in
    steps; `more` is put at the end."""
    metric, idea = tree.metric, node.idea
    line = f"{node.id:04d} {_became(node)}"
    if node.parent is not None:
        words = [f"on {node.parent:04d}", *([idea.category, idea.operator] if idea else [])]
        line += f" ({', '.join(word for word in words if word)})"
    line += f": {one_line(node.title, 90)}"
    if node.score is not None:
        line += f"; {metric.name} {node.score.mean:.6g}"
        if node.score.n > 1 and tree.noise:
            line += f" ± {tree.noise / math.sqrt(node.score.n):.1g} ({node.score.n} runs)"
        if node.parent is not None and tree.trials[node.parent]:
            line += f", {_against(tree, node, node.parent)} its parent"
            if idea and idea.expected_change:
                line += f" (expected {idea.expected_change:+.2g})"
        if tree.incumbent not in (node.id, node.parent) and tree.trials[tree.incumbent]:
            line += f", {_against(tree, node, tree.incumbent)} main"
        line += _steps(tree, node)
    if node.failure is not None:
        line += f"; {node.failure.kind}: {one_line(node.failure.message, 140)}"
    return line + (f"; {one_line(more, 140)}" if more else "")


def _became(node: Node) -> str:
    if node.verdict is None:
        return "in flight, being confirmed" if node.score else "in flight"
    return str(node.verdict)


def _against(tree: Tree, node: Node, other: NodeId) -> str:
    """In words, so that nobody has to know which sign is better; a difference that chance explains is marked."""
    assert node.score is not None
    gain = float(tree.loss[other] - tree.metric.loss(node.score.mean))
    if gain == 0:
        return "as good as"
    chance = (tree.noise or 0.0) * math.sqrt(1 / node.score.n + 1 / max(1, int(tree.trials[other])))
    marked = " (may be noise)" if abs(gain) < chance else ""
    return f"{abs(gain):.2g} {'better' if gain > 0 else 'worse'}{marked} than"


def _steps(tree: Tree, node: Node) -> str:
    """How many steps the budget bought, against the parent's: half of what a change does is to be quick or slow."""
    steps = _steps_of(node)
    before = _steps_of(tree.node(node.parent)) if node.parent is not None else 0
    if not steps:
        return ""
    return f", {steps:,} steps" + (f" ({100 * (steps / before - 1):+.0f} %)" if before else "")


def _steps_of(node: Node) -> int:
    return node.report.steps if node.report else 0


def _because(node: Node) -> str:
    return f"why: {node.idea.hypothesis}" if node.idea and node.idea.hypothesis else ""


def _path(request: PlanRequest) -> Iterator[str]:
    tree = request.tree
    for number in reversed(tree.advances):
        node = tree.node(number)
        yield facts(node, tree, more=_because(node))


def _here(request: PlanRequest) -> Iterator[str]:
    """What was tried at each option, newest first."""
    tree = request.tree
    for parent in dict.fromkeys(option.expansion.node for option in request.options):
        tried = request.memory.children(parent)
        for child in [child for child in tried[-30:] if tree.node(child).verdict is not None][-1:-13:-1]:
            node = tree.node(child)
            yield facts(node, tree, more=_because(node))


def _in_flight(request: PlanRequest) -> Iterator[str]:
    for node, (parent, idea) in request.memory.in_flight.items():
        yield f"{node:04d} (on {parent:04d}, {idea.category}): {one_line(idea.title, 90)}"


def _debts(request: PlanRequest) -> Iterator[str]:
    tree = request.tree
    for node, debt in request.memory.open_debts.items():
        left = debt.contract.horizon - debt.used
        yield (
            f"{facts(tree.node(node), tree)}; may be {debt.contract.max_dip:.3g} worse than main, "
            f"{left} of {debt.contract.horizon} experiments left"
        )
    debts = request.memory.debts.values()
    if debts:
        paid, over = sum(d.paid for d in debts), sum(not d.paid and d.used >= d.contract.horizon for d in debts)
        yield f"Your record: {len(debts)} contracts, {paid} paid off, {over} used up without."


def _rates(request: PlanRequest) -> Iterator[str]:
    memory, metric = request.memory, request.tree.metric.name
    for kind, records in (("category", memory.categories), ("operator", memory.operators)):
        ranked: list[tuple[str, Record]] = sorted(records.items(), key=lambda item: (-item[1].tried, item[0]))
        for name, record in ranked[:16]:
            if record.tried:
                best = f" (at most by {record.gained:.2g} {metric})" if record.improved else ""
                yield (
                    f"{kind} {one_line(name, 30)}: {record.tried} tried, {record.improved} better than their parent"
                    f"{best}, {record.kept} kept, {record.failed} failed"
                )


def _constants(request: PlanRequest) -> Iterator[str]:
    """The values that constants were given, and what each did to the parent's score; the most tried first."""
    tree = request.tree
    known = ((name, tried) for name, tried in request.memory.settings.items() if tried)
    for name, tried in sorted(known, key=lambda item: (-len(item[1]), item[0])):
        shown = []
        for number, setting in sorted(tried.items())[-12:]:
            node = tree.node(number)
            did = _became(node) if node.score is None or node.parent is None else _effect(tree, node, node.parent)
            beside = "" if setting.alone else ", with others"
            shown.append(
                f"{one_line(setting.before, 20)} → {one_line(setting.after, 20)}: {did} ({number:04d}{beside})"
            )
        yield f"{one_line(name, 40)}: {'; '.join(shown)}"


def _effect(tree: Tree, node: Node, parent: NodeId) -> str:
    return _against(tree, node, parent).removesuffix(" than")


def _near_misses(request: PlanRequest) -> Iterator[str]:
    """Parked nodes by how little they missed main, at most two noise widths worse; the best first."""
    tree = request.tree
    reach = 2 * (tree.noise or 0.0) + 1e-12
    best = float(tree.loss[tree.incumbent])
    for number in _ranked(tree, lambda: (tree.state == PARKED) & (tree.loss <= best + reach), 40):
        node = tree.node(number)
        yield facts(node, tree, more=f"not kept: {node.reason}" if node.reason else "")


def _best_lines(request: PlanRequest) -> Iterator[str]:
    """The best nodes that main does not carry, one of each line: a node is left out if its parent or child is in."""
    tree = request.tree
    seen: set[NodeId] = set(tree.advances)
    for node in _ranked(tree, lambda: tree.state == PARKED, 200):
        parent = int(tree.parent[node])
        if parent not in seen or parent in tree.advances:
            yield facts(tree.node(node), tree)
        seen.add(node)


def _failures(request: PlanRequest) -> Iterator[str]:
    tree, kinds = request.tree, request.memory.failures
    if kinds:
        yield "Counts: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda i: -i[1]))
    failed = np.flatnonzero(tree.state == FAILED)
    for node in failed[:-21:-1]:
        yield facts(tree.node(int(node)), tree)


def _related(request: PlanRequest) -> Iterator[str]:
    """Experiments elsewhere that were kept or that beat their own parent, newest first: what may be brought here."""
    tree = request.tree
    size = tree.next_id
    parents = tree.parent[:size]
    known = (tree.state[:size] == PARKED) & (parents >= 0)
    with np.errstate(invalid="ignore"):
        better = known & (tree.loss[:size] < tree.loss[np.maximum(parents, 0)])
    options = {option.expansion.node for option in request.options}
    for node in np.flatnonzero(better)[::-1][:60]:
        if int(tree.parent[node]) not in options:
            yield facts(tree.node(int(node)), tree)


def _lost(request: PlanRequest) -> Iterator[str]:
    """The rest of what lost, newest first."""
    tree = request.tree
    for node in np.flatnonzero(tree.state == PARKED)[:-201:-1]:
        yield facts(tree.node(int(node)), tree)


def _ranked(tree: Tree, mask: Callable[[], np.ndarray[tuple[int], np.dtype[np.bool_]]], most: int) -> list[NodeId]:
    with np.errstate(invalid="ignore"):
        chosen = np.flatnonzero(mask())
    return [int(node) for node in chosen[np.argsort(tree.loss[chosen], kind="stable")][:most]]


_SECTIONS: tuple[tuple[float, str, Callable[[PlanRequest], Iterator[str]]], ...] = (
    (0.15, "How main got here, newest first", _path),
    (0.20, "Tried on the nodes below, newest first", _here),
    (0.08, "In flight: do not propose these again", _in_flight),
    (0.06, "Open setback contracts", _debts),
    (0.07, "What kinds of change were worth", _rates),
    (0.08, "Constants, the values that they were given, and what came of it", _constants),
    (0.12, "Near misses: at most twice the noise behind main", _near_misses),
    (0.09, "Best other lines", _best_lines),
    (0.07, "Better than their own parent, elsewhere: candidates for combine and retry", _related),
    (0.05, "Failed", _failures),
    (0.03, "Lost, newest first", _lost),
)


def _rest(title: str) -> float:
    """The shares of this section and all after it."""
    names = [name for _, name, _ in _SECTIONS]
    return sum(share for share, _, _ in _SECTIONS[names.index(title) :])


def standing(request: PlanRequest) -> str:
    """Main's score and the root's, on one line."""
    tree = request.tree
    main, root = tree.node(tree.incumbent), tree.node(ROOT)
    if main.score is None or root.score is None:
        return "nothing is scored yet"
    words = f"{main.id:04d} with {tree.metric.name} {main.score.mean:.6g}"
    words += f" and {_steps_of(main):,} steps in the budget" if _steps_of(main) else ""
    return words if main.id == ROOT else f"{words} (the root had {root.score.mean:.6g})"
