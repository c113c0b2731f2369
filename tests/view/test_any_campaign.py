"""Every prefix of every campaign can be shown in every way."""

from __future__ import annotations

import io
import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from ratchetree.search.events import CampaignResumed
from ratchetree.search.model import ExpansionKind, FailureKind, SetbackContract
from ratchetree.search.tree import Tree
from ratchetree.view.chronicle import Chronicle
from ratchetree.view.live import LiveScreen
from ratchetree.view.node_text import node_text
from ratchetree.view.plain_screen import PlainScreen
from ratchetree.view.shapes import node_json, status_json, tree_json
from ratchetree.view.status_text import status_text
from ratchetree.view.tree_text import TreeText

CONTRACT = SetbackContract(expected_dip=0.1, max_dip=0.2, horizon=2)
EXPERIMENT = st.tuples(
    st.sampled_from(["keep", "park", "park", "fail", "fly", "stop"]),
    st.integers(0, 10**6),  # picks the parent
    st.one_of(st.floats(0.1, 10.0), st.sampled_from([math.nan, math.inf, -1e308, 0.0])),
    st.text(max_size=30),
    st.booleans(),
)


def campaign(new_story, experiments, *, direction: str, by: str):
    story = new_story(direction=direction, by=by).root(2.0, 2.1, 2.2)
    scored = [0]
    for node, (what, pick, value, title, contract) in enumerate(experiments, start=1):
        parent = scored[pick % len(scored)]
        more = {"contract": CONTRACT if contract else None, "asked": list(ExpansionKind)[pick % 4]}
        if what == "stop":
            story.stop(title).resume()
            continue
        if what == "fly":
            story.fly(node, parent, title, upto=["select", "plan", "commit"][pick % 3], **more)
        elif what == "fail":
            story.fail(node, parent, title, kind=list(FailureKind)[pick % len(FailureKind)], **more)
        elif what == "park":
            story.park(node, parent, value, title, **more)
        else:
            story.keep(node, parent, value, value, title=title, **more)
        if what in ("keep", "park"):
            scored.append(node)
    return story


@settings(max_examples=40, deadline=None)
@given(
    experiments=st.lists(EXPERIMENT, max_size=12),
    direction=st.sampled_from(["min", "max"]),
    by=st.sampled_from(["trusted", "printed", "synthetic"]),
    share=st.floats(0, 1),
    width=st.integers(10, 120),
)
def test_it_renders_without_error_and_fits(new_story, show, experiments, direction, by, share, width):
    story = campaign(new_story, experiments, direction=direction, by=by)
    events = story.events[: round(share * len(story.events))]
    tree, chronicle = Tree(), Chronicle()
    live = LiveScreen(Console(file=io.StringIO(), force_terminal=True), limit=9, slots=2, clock=lambda: story.time)
    plain = PlainScreen(Console(file=io.StringIO()), limit=9, slots=2, clock=lambda: story.time)
    late = LiveScreen(Console(file=io.StringIO(), force_terminal=True), limit=9, slots=2, clock=lambda: story.time)
    joined = False
    for event in events:
        tree.apply(event)
        chronicle.observe(tree, event)
        live.event(tree, event)
        plain.event(tree, event)
        joined = joined or isinstance(event, CampaignResumed)
        if joined:
            late.event(tree, event)
    views = [
        TreeText(tree),
        TreeText(tree, everything=True),
        live,
        late,
        status_text(tree, chronicle, running=True, now=story.time),
        status_text(tree, chronicle, running=False, now=story.time),
        *(node_text(tree, node, events=events) for node in tree.ids()),
    ]
    for view in views:
        for encoding in ("utf-8", "ascii"):
            lines = show(view, width=width, encoding=encoding).split("\n")
            assert max(map(cell_len, lines)) <= width
    account = chronicle.account
    nodes = (node_json(tree, n, account) for n in tree.ids())
    shapes = [status_json(tree, chronicle, running=True), tree_json(tree, account), *nodes]
    assert json.loads(json.dumps(shapes, allow_nan=False)) == shapes
