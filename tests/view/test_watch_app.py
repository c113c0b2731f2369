"""The terminal app, driven by keys without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rich.console import Console
from textual.widgets import OptionList, Static

from ratchetree.search.events import Event, experiment_of
from ratchetree.search.model import NodeId, Request
from ratchetree.view.watch_app import WatchApp


class StoryReading:
    """Implements Reading over a story's events."""

    def __init__(self, story: Any) -> None:
        self.name, self.generation, self.story = "night", 0, story

    def changed(self) -> bool:
        return True

    def since(self, number: int) -> list[tuple[int, Event]]:
        return list(enumerate(self.story.events, start=1))[number:]

    def events_of(self, node: NodeId) -> list[Event]:
        return [event for event in self.story.events if experiment_of(event) == node]

    def running(self) -> bool:
        return True

    def files(self, commit: str) -> dict[str, str]:
        return {"train.py": f"A = 1\nB = {commit[-1]}\n"}

    def log(self, node: NodeId) -> str | None:
        return "\x1b[31mstep 1\x1b[0m\nstep 2\n" if node == 5 else None

    def curve(self, node: NodeId) -> list[float]:
        return []

    def ask(self, request: Request) -> None:
        raise AssertionError("it only reads")

    def request_id(self) -> str:
        raise AssertionError("it only reads")


def drive(story: Any, steps: Callable[[WatchApp, Any], Any], width: int = 120) -> None:
    async def run() -> None:
        app = WatchApp(StoryReading(story))
        async with app.run_test(size=(width, 40)) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(run())


def words(app: WatchApp, widget: str) -> str:
    """What a widget says."""
    console = Console(width=100, no_color=True, color_system=None)
    with console.capture() as capture:
        console.print(app.query_one(widget, Static).content)
    return capture.get()


def test_it_begins_at_main_and_walks_the_rows(small: Callable[..., Any]) -> None:
    async def steps(app: WatchApp, pilot: Any) -> None:
        rows = app.query_one("#rows", OptionList)
        assert rows.highlighted_option is not None and rows.highlighted_option.id == "5"
        assert "delete the second norm" in words(app, "#detail")
        assert "0008  training" in words(app, "#flying")
        assert "2 kept" in words(app, "#status")
        await pilot.press("p")
        await pilot.pause()
        assert rows.highlighted_option.id == "3"
        await pilot.press("d")
        await pilot.pause()
        assert "+B = 3" in words(app, "#detail")
        await pilot.press("g", "l")
        await pilot.pause()
        assert words(app, "#detail").splitlines()[:2] == ["step 1", "step 2"]

    drive(small(), steps)


def test_it_keeps_up_and_keeps_its_place(small: Callable[..., Any]) -> None:
    story = small()

    async def steps(app: WatchApp, pilot: Any) -> None:
        await pilot.press("p")
        story.keep(9, 5, 1.9, 1.9, 1.9, 1.9, title="the morning star")
        app._refresh()
        await pilot.pause()
        rows = app.query_one("#rows", OptionList)
        assert rows.highlighted_option is not None and rows.highlighted_option.id == "3"
        assert any("the morning star" in str(option.prompt) for option in rows.options)
        await pilot.press("f", "g")
        await pilot.pause()
        assert rows.highlighted_option.id == "9"

    drive(story, steps)


def test_hostile_titles_and_an_empty_journal_are_shown(new_story: Any, hostile: dict[str, str]) -> None:
    story = new_story().root(2.0)
    for node, text in enumerate(hostile, start=1):
        story.park(node, 0, 2.1, text)

    async def steps(app: WatchApp, pilot: Any) -> None:
        await pilot.press("f", *["down"] * (len(hostile) + 1))
        await pilot.pause()
        shown = " ".join(str(option.prompt) for option in app.query_one("#rows", OptionList).options)
        assert "[red]not markup[/red]" in shown and "\x1b" not in shown

    drive(story, steps)
    story.events = []
    drive(story, lambda app, pilot: pilot.press("d", "l", "f", "g", "p"))
