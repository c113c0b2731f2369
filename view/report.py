"""`ratchetree report`: the page as one file, which opens from a disk, needs no server and asks no network.

Columns are in the file as they are; what only one node needs (idea, log, files) is deflated in blocks and unpacked in
the browser when somebody looks at it. Files travel as line edits against the parent's.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable
from importlib.resources import files

from ..search.events import Event, experiment_of
from ..search.model import NodeId
from ..search.tree import ROOT
from .page_data import Json, PageData, dump
from .page_detail import delta, detail, summary
from .reading import Reading

BLOCK = 40
"""Nodes in a block: more compress better, fewer open faster."""


def report(reading: Reading, *, others: list[Json] | None = None) -> str:
    """The whole file's text."""
    data = PageData(reading.name)
    numbered = reading.since(0)
    data.feed(numbered)
    events: dict[NodeId, list[Event]] = {}
    for _, event in numbered:
        node = experiment_of(event)
        if node is not None:
            events.setdefault(node, []).append(event)
    told = summary(data.tree) if len(data.tree) else {}
    snapshot = data.snapshot(running=False, summary=told, others=_courses(data, others or []))
    return _document(data.name, snapshot, _blocks(data, events, reading))


def _courses(data: PageData, others: list[Json]) -> list[Json]:
    return [{"name": data.name, "points": data.course()}, *others] if others else []


def _blocks(data: PageData, events: dict[NodeId, list[Event]], reading: Reading) -> Iterable[tuple[int, str]]:
    """(number, deflated and base64-encoded JSON) of every block of nodes."""
    block: Json = {}
    number = 0
    for node in data.tree.ids():
        if node // BLOCK != number and block:
            yield number, _pack(block)
            block = {}
        number = node // BLOCK
        block[str(node)] = _entry(data, node, events.get(node, []), reading)
    if block:
        yield number, _pack(block)


def _entry(data: PageData, node_id: NodeId, events: list[Event], reading: Reading) -> Json:
    node = data.tree.node(node_id)
    entry: Json = {"detail": detail(data.tree, node_id, events, reading)}
    after = reading.files(node.commit) if node.commit else {}
    if node_id == ROOT:
        return entry | {"files": after}
    assert node.parent is not None
    commit = data.tree.node(node.parent).commit
    before = reading.files(commit) if commit else {}
    if after and before:
        paths = sorted(before.keys() | after.keys())
        edits = {p: delta(before.get(p, ""), after.get(p, "")) for p in paths if before.get(p) != after.get(p)}
        return entry | {"base": node.parent, "edits": edits}
    return entry | {"files": after} if after else entry


def _pack(block: Json) -> str:
    return base64.b64encode(zlib.compress(dump(block).encode(), 9)).decode()


def _document(name: str, snapshot: str, blocks: Iterable[tuple[int, str]]) -> str:
    page = files("ratchetree") / "view" / "page"
    script = (page / "built" / "page.js").read_text(encoding="utf-8")
    style = (page / "built" / "page.css").read_text(encoding="utf-8")
    assert "</script" not in script and "</style" not in style
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; base-uri 'none'"
    )
    title = name.replace("&", "&amp;").replace("<", "&lt;")
    packed = "".join(f'<script type="text/plain" id="block-{number}">{text}</script>\n' for number, text in blocks)
    # In a data block "<" is all that could end it or begin a comment; JSON may spell it as an escape.
    data = snapshot.replace("<", "\\u003c")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>{title} · ratchetree</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{style}</style></head>\n<body>\n'
        f"{(page / 'body.html').read_text(encoding='utf-8')}"
        f'<script type="application/json" id="campaign" data-block="{BLOCK}">{data}</script>\n{packed}'
        f"<script>{script}</script>\n</body></html>\n"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
