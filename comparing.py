"""What `ratchetree compare` does: runs the lab with a progress bar, prints, and writes its files. Part of the command
line: it composes, and decides nothing."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .search.errors import RatchetreeError, WrongUse
from .search.events import Event, Judged
from .search.lab.comparison import Design, Facts, Row, rows
from .search.lab.screening import Screen
from .search.landscapes import landscape_names
from .search.policies import policy_names
from .search.pool import Played, play_all
from .search.ratchet import PRESETS

REAL = "real training"


def make_design(
    policies: str,
    landscape: str,
    evaluations: str,
    seeds: int,
    *,
    first_seed: int,
    in_flight: int,
    ratchet: str,
    screened: bool = False,
) -> Design:
    """The design from what was typed; WrongUse with one line for everything that makes no sense."""
    if ratchet not in PRESETS:
        raise WrongUse(f"--ratchet {ratchet!r} is not known; allowed: {', '.join(PRESETS)}")
    try:
        budgets = tuple(sorted({int(part) for part in evaluations.split(",")}))
    except ValueError:
        raise WrongUse(f"--evaluations {evaluations!r}: must be a number, or several with commas between") from None
    for name, value, least in (
        ("--evaluations", budgets[0], 1),
        ("--seeds", seeds, 2),
        ("--first-seed", first_seed, 0),
        ("--in-flight", in_flight, 1),
    ):
        if value < least:
            raise WrongUse(f"{name} {value}: must be at least {least}")
    return Design(
        policies=policy_names(policies),
        landscapes=landscape_names(landscape),
        evaluations=budgets,
        seeds=seeds,
        first_seed=first_seed,
        in_flight=in_flight,
        ratchet=ratchet,
        screen=Screen() if screened else None,
    )


Play = Callable[[Design, int], Iterator[Played]]


def compare(design: Design, *, out: Path | None, as_json: bool, workers: int, play: Play = play_all) -> None:
    """Run, print, write. Ctrl-C keeps what is done."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    results, stopped = _run(design, workers, play)
    found = rows(design, results)
    if stopped and not found:
        raise RatchetreeError("interrupted before any seed was done for every policy; nothing to report")
    shape = _shape(design, found, stopped=stopped)
    if as_json:
        print(json.dumps(shape, indent=1, allow_nan=False))
    else:
        _print(design, found)
    if out is not None:
        _write(design, results, found, shape, out, quiet=as_json)
    if stopped:
        raise RatchetreeError(f"interrupted: this is what was done ({found[0].seeds} of {design.seeds} seeds)")


def replay(design: Design, events: list[Event], *, as_json: bool) -> None:
    """What other policies would have made of a recorded campaign's children (the median over the seeds), and what its
    planner's own picks were worth."""
    from dataclasses import asdict

    from .search.lab.replaying import replay_policy
    from .search.picks import planner_picks
    from .search.policies import make_policy

    if not any(isinstance(event, Judged) and event.experiment for event in events):
        raise WrongUse("--replay: this campaign has no judged experiment yet; run it first")
    found = []
    for name in design.policies:
        runs = [
            replay_policy(name, make_policy(name, {}), events, preset=PRESETS[design.ratchet], seed=seed, limit=limit)
            for seed in range(design.first_seed, design.first_seed + min(design.seeds, 50))
            for limit in (max(design.evaluations),)
        ]
        found.append(sorted(runs, key=lambda run: run.main)[len(runs) // 2])
    picks = planner_picks(events)
    if as_json:
        print(json.dumps({"rows": [asdict(run) for run in found], "picks": asdict(picks)}, indent=1))
        return
    print(f"{'policy':<16} {'main':>10} {'advances':>9} {'used':>12} {'first choice covered':>22}")
    for run in found:
        used = f"{run.experiments} of {run.recorded}"
        print(f"{run.policy:<16} {run.main:>10.5f} {run.advances:>9} {used:>12} {run.first_choice:>22.0%}")
    print("Only recorded children count: where few first choices are covered, this says little.")
    print(picks.sentence())


def _run(design: Design, workers: int, play: Play) -> tuple[dict[tuple[str, str], dict[int, Facts]], bool]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    results: dict[tuple[str, str], dict[int, Facts]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    each = len(design.policies)
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("campaigns", total=each * design.seeds * len(design.landscapes))
            for landscape, seed, facts in play(design, workers):
                for policy, fact in facts.items():
                    results.setdefault((landscape, policy), {})[seed] = fact
                bar.advance(task, each)
    except KeyboardInterrupt:
        return results, True
    return results, False


def _shape(design: Design, found: list[Row], *, stopped: bool) -> dict[str, Any]:
    return {
        "unit": "mbpb, true value of main relative to the root; lower is better; differences: positive = worse",
        "ratchet": design.ratchet,
        "in_flight": design.in_flight,
        "first_seed": design.first_seed,
        "screen": design.screen is not None,
        "complete": not stopped,
        "rows": [row.shape() for row in found],
    }


def _print(design: Design, found: list[Row]) -> None:
    from rich.console import Console

    from .view.comparison import sentences, table

    console = Console(highlight=False)
    for evaluations in design.evaluations:
        console.print(table(found, evaluations))
    for sentence in sentences(design, found):
        console.print(sentence, soft_wrap=True)


def _write(
    design: Design,
    results: dict[tuple[str, str], dict[int, Facts]],
    found: list[Row],
    shape: dict[str, Any],
    out: Path,
    *,
    quiet: bool,
) -> None:
    from .view.comparison import csv_text, page

    (out / "comparison.json").write_text(json.dumps(shape, indent=1, allow_nan=False) + "\n")
    (out / "comparison.csv").write_text(csv_text(found))
    svgs: list[str] = []
    try:
        from .view.comparison_plots import anytime, as_bytes, ecdf_picture

        for name, picture in (("anytime", anytime(design, results)), ("ecdf", ecdf_picture(design, results))):
            (out / f"{name}.png").write_bytes(as_bytes(picture, "png"))
            svg = as_bytes(picture, "svg")
            (out / f"{name}.svg").write_bytes(svg)
            svgs.append(svg.decode()[svg.decode().index("<svg") :])
    except ImportError:
        print("no pictures: matplotlib is not installed (pip install 'ratchetree[plot]')", file=sys.stderr)
    command = shlex.join(["ratchetree", *sys.argv[1:]])
    (out / "index.html").write_text(page(design, found, svgs, command), encoding="utf-8")
    if not quiet:
        print(f"written: {out}/index.html, comparison.json, comparison.csv" + (", pictures" if svgs else ""))


def picture(path: Path) -> Any:
    """The figure of a written `comparison.json`. Raises WrongUse if it is none."""
    from .view.comparison_plots import differences

    try:
        return differences(json.loads(path.read_text(encoding="utf-8")))
    except ImportError:
        raise WrongUse("pictures need matplotlib: pip install 'ratchetree[plot]'") from None
    except (ValueError, KeyError, TypeError) as error:
        raise WrongUse(f"{path} is no comparison ({error!r}): write one with ratchetree compare --out DIR") from error


def all_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compare_real(design: Design, workspace: Path, *, out: Path | None, as_json: bool) -> None:
    """Real training: one campaign for each policy and seed, all from the workspace's main, each in a clone of its own.

    Clones stay in `out` (default: beside the workspace); a campaign that is there already goes on or is done. Values
    are main's measured score relative to the root's, in thousandths of the metric's unit, over experiments.
    """
    clones = (out or workspace.with_name(workspace.name + "-compared")).resolve()
    clones.mkdir(parents=True, exist_ok=True)
    results: dict[tuple[str, str], dict[int, Facts]] = {}
    for seed in range(design.first_seed, design.first_seed + design.seeds):
        for policy in design.policies:
            folder = clones / f"{policy}-{seed}"
            print(f"{policy}, seed {seed}: {folder}", file=sys.stderr)
            _run_real(workspace, folder, policy, seed, max(design.evaluations))
            results.setdefault((REAL, policy), {})[seed] = _real_facts(folder, max(design.evaluations))
    found = rows(design, results)
    if as_json:
        print(json.dumps(_shape(design, found, stopped=False), indent=1, allow_nan=False))
    else:
        _print(design, found)


def _run_real(workspace: Path, folder: Path, policy: str, seed: int, experiments: int) -> None:
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(workspace), str(folder)], check=True)
    options = ["--policy", policy, "--seed", str(seed), "--experiments", str(experiments)]
    done = subprocess.run([sys.executable, "-m", "ratchetree", "run", str(folder), *options], stdout=subprocess.DEVNULL)
    if done.returncode:
        raise RatchetreeError(
            f"the campaign in {folder} ended with exit code {done.returncode}; run this again to go on"
        )


def _real_facts(folder: Path, experiments: int) -> Facts:
    from .search.contracts import Account
    from .search.tree import Tree
    from .storage.workspace import Workspace

    tree, account, curve = Tree(), Account(), []
    for event in Workspace(folder).read_events():
        tree.apply(event)
        account.observe(tree, event)
        if isinstance(event, Judged) and event.experiment:
            curve.append(1e3 * float(tree.loss[tree.incumbent] - tree.loss[0]))
    curve += [curve[-1] if curve else 0.0] * (experiments - len(curve))
    sums = account.sums()
    return Facts(
        curve=np.array(curve[:experiments]),
        gains=len(tree.advances) - 1,
        false_advances=0,
        opened=sums.opened,
        paid_off=sums.paid_off,
        closed=sums.closed,
        spent=sums.spent,
        gain=1e3 * sums.gain,
        optimism=0.0,
    )
