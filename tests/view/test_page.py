"""The page in a real browser, served by the real command; and the report from a file.

Screenshots go to build/screenshots, to be looked at. Needs Debian's chromium and chromium-driver; `make deps` installs
them where it may.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ratchetree.search.events import Committed, Event, Requested
from ratchetree.search.model import Ask, Request
from ratchetree.storage.inbox import FolderInbox
from ratchetree.storage.journal import SqliteJournal
from ratchetree.storage.lock import WorkspaceLock

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
ATTACKS = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "<svg/onload=window.hacked=1>",
    "\"><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "javascript:window.hacked=1",
    "{{constructor.constructor('window.hacked=1')()}}",
    "<!--<script>",
    "‮drawkcab 🦜🔥 " + "ж" * 50,
    "a" * 10_000,
    "\x1b]0;owned\x07\x1b[2J",
    "<style>body{display:none}</style>",
    "&lt;b&gt; ' \" ` ${window.hacked=1}",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="chromium and chromedriver are not installed (apt-get install chromium chromium-driver)",
    ),
]


@dataclass
class Browser:
    """One window. `do` runs a script with `page`, `campaign` and `state` at hand; `until` waits for what it says."""

    driver: Any

    def open(self, url: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(url)
        self.until("document.body.classList.contains('ready') || document.querySelector('[role=alert]')")

    def do(self, script: str, *arguments: Any) -> Any:
        prelude = "const page = window.ratchetree, campaign = page?.campaign, state = page?.state;"
        return self.driver.execute_script(prelude + script, *arguments)

    def ask(self, expression: str) -> Any:
        return self.do(f"return ({expression});")

    def until(self, expression: str) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 60, poll_frequency=0.05).until(lambda _: self.ask(expression))

    def settled(self, node: int) -> None:
        """The detail pane shows the node, all of it."""
        self.until("!!document.querySelector('#detail .rest:not([aria-busy])')")
        self.until(f"document.querySelector('#detail .crumbs').textContent.includes('{node:04d}')")

    def click(self, selector: str) -> None:
        self.found(selector, lambda element: element.click())

    def click_when_there(self, selector: str) -> None:
        self.until(f"document.querySelector('{selector}')")
        self.click(selector)

    def found(self, selector: str, use: Callable[[Any], Any]) -> Any:
        """What `use` makes of the element, which the page may draw anew at any moment."""
        from selenium.common.exceptions import StaleElementReferenceException

        for _ in range(20):
            with contextlib.suppress(StaleElementReferenceException):
                return use(self.driver.find_element("css selector", selector))
        raise AssertionError(f"{selector} is drawn anew without end")

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def point(self, view: str, node: int) -> None:
        """Click where a view has drawn the node."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.driver.find_element("css selector", f"#{view}-canvas")
        what = str(node) if view == "tree" else f"campaign.node({node})"
        x, y, wide, high = self.ask(f"[...page.{view}.spot({what}), page.{view}.width, page.{view}.height]")
        ActionChains(self.driver).move_to_element_with_offset(
            canvas, round(x - wide / 2), round(y - high / 2)
        ).click().perform()

    def text(self, selector: str) -> str:
        return str(self.found(selector, lambda element: element.text))

    def size(self, width: int, height: int) -> None:
        device = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)

    def dark(self, dark: bool) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def shoot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SHOTS / f"{name}.png"))

    def complaints(self) -> list[str]:
        """What the console has: errors of scripts, and what the content policy stopped."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1440,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Browser:
    fresh = Browser(chromium)
    fresh.size(1440, 900)
    fresh.dark(False)
    chromium.get("about:blank")
    chromium.get_log("browser")
    return fresh


@dataclass
class Served:
    """A workspace and the command that serves it."""

    folder: Path
    process: subprocess.Popen[str] | None = None
    port: int = 0
    token: str = ""

    def start(self) -> Served:
        command = [sys.executable, "-m", "ratchetree", "serve", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        assert self.process.stdout is not None
        found = re.match(r"http://127\.0\.0\.1:(\d+)/#token=([\w-]+)", self.process.stdout.readline())
        assert found is not None
        self.port, self.token = int(found[1]), found[2]
        return self

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def append(self, events: list[Event]) -> None:
        journal = SqliteJournal.create(self.folder / ".ratchetree" / "journal.db")
        for event in events:
            journal.append(event)
        journal.close()

    def http(self, path: str, *, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        data = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.url + path, data=data, headers={"Content-Type": "application/json", **named}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read().decode(), reply.headers
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode(), refused.headers


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    errors: str


@pytest.fixture
def ratchetree() -> Callable[..., Said]:
    def run(*arguments: Any) -> Said:
        command = [sys.executable, "-m", "ratchetree", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return Said(done.returncode, done.stderr)

    return run


@pytest.fixture
def make(workspace: Path, git: Callable[..., str]) -> Callable[[list[Event]], Path]:
    """A workspace of these events; nodes 3 and 5 have real commits, so that there is something to compare."""

    def fill(events: list[Event]) -> Path:
        commits, text = {0: git(workspace, "rev-parse", "main")}, (workspace / "train.py").read_text()
        for node in (3, 5):
            text = text.replace("C_A = 1.0" if node == 3 else "C_B = 2.0", f"C_NEW = {node}  # <b>node {node}</b>")
            (workspace / "train.py").write_text(text)
            git(workspace, "commit", "-qam", f"node {node}")
            commits[node] = git(workspace, "rev-parse", "main")
        (workspace / ".ratchetree" / "trials" / "0003-0").mkdir(parents=True)
        log = workspace / ".ratchetree" / "trials" / "0003-0"
        (log / "log.txt").write_text("\x1b[31m\x07\b" * 100_000 + "\n" + ATTACKS[0] + "\nthe last line\n")
        (log / "curve.tsv").write_text("time\tstep\tloss\n" + "".join(f"{i}\t{i}\t{5 - i / 50}\n" for i in range(100)))
        from dataclasses import replace

        known = [
            replace(e, commit=commits[e.experiment]) if isinstance(e, Committed) and e.experiment in commits else e
            for e in events
        ]
        known[0] = replace(known[0], root_commit=commits[0])  # type: ignore[type-var, call-arg]
        SqliteJournal.replace(workspace / ".ratchetree" / "journal.db", known)
        return workspace

    return fill


@pytest.fixture
def serve(make: Callable[[list[Event]], Path]) -> Iterator[Callable[[list[Event]], Served]]:
    running: list[Served] = []

    def begin(events: list[Event]) -> Served:
        running.append(Served(make(events)).start())
        return running[-1]

    yield begin
    for served in running:
        if served.process is not None and served.process.poll() is None:
            served.stop()


# -- looking -----------------------------------------------------------------------------------------------------


def test_the_page_says_what_was_won_and_follows_a_node_to_its_diff(browser: Browser, serve: Any, small: Any) -> None:
    served = serve(small().events)
    browser.open(served.url)
    assert "−0.080" in browser.text(".tile.won") and "2.110" in browser.text(".tile.won")
    assert "± " in browser.text(".tile.sure")
    assert "2 kept" in browser.text(".tile.where") and "1 failed" in browser.text(".tile.where")
    browser.point("tree", 3)
    browser.until("document.querySelector('#detail .diff .added')")
    assert browser.text("#detail h2") == "halve the batch: more steps in the budget"
    added = browser.text("#detail .diff .added")
    assert added == "+ C_NEW = 3  # <b>node 3</b>"
    assert "the last line" in browser.ask("document.querySelector('.log pre').textContent")
    assert browser.ask("document.querySelectorAll('.curves polyline').length") == 1
    assert "git switch --detach refs/ratchetree/0003" in browser.text(".commands")
    browser.shoot("overview")
    browser.click("#changes .buttons button")
    browser.until("document.querySelector('.diff.side')")
    browser.point("ratchet", 2)
    browser.until("document.querySelector('#detail h2').textContent.startsWith('replace the MLP')")
    assert "open: promised a dip of 0.010" in browser.text("#detail")
    browser.point("ratchet", 4)
    browser.until("document.querySelector('#detail .failure pre')")
    assert "ValueError: no" in browser.text("#detail .failure pre")
    assert browser.complaints() == []
    resources = "performance.getEntriesByType('resource').map(e => e.name)"
    assert all(name.startswith((served.url, "data:")) for name in browser.ask(resources))


def test_the_keyboard_walks_the_tree_searches_and_lists_its_keys(browser: Browser, serve: Any, small: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(serve(small().events).url)
    walked = []
    for key in ("g", Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, "[", "]"):
        browser.press(key)
        walked.append(browser.ask("state.selected"))
    assert walked[:4] == [5, 3, 0, 3]
    assert walked[4] in (1, 2, 4)
    assert walked[6] == walked[4]
    assert "0" in browser.ask("document.getElementById('announce').textContent")
    browser.press("/", "embedding")
    browser.until("document.getElementById('found').textContent === '1 of 9'")
    browser.press(Keys.ESCAPE, Keys.ESCAPE)
    assert browser.ask("state.selected") is None
    browser.press("?")
    assert "parent, best child" in browser.text("dialog")
    browser.press(Keys.ESCAPE)
    browser.press("4")
    assert browser.ask("document.getElementById('table').hidden") is False


def test_filter_scrubber_and_table_agree(browser: Browser, serve: Any, small: Any) -> None:
    browser.open(serve(small().events).url)
    browser.click(".verdicts .v3")
    assert sorted(browser.ask("state.shown().map(n => n.id)")) == [0, 3, 4, 5, 8]
    browser.do("page.scrub(4)")
    assert browser.text("#when").startswith("as of 0004: 2.070")
    browser.do("page.open('table')")
    assert browser.ask("[...document.querySelectorAll('.rows .row')].map(r => r.dataset.id)") == ["0", "3", "4"]
    browser.click(".row.header span:nth-child(3) button")  # by score: failures last
    assert browser.ask("[...document.querySelectorAll('.rows .row')].map(r => r.dataset.id)") == ["3", "0", "4"]
    assert browser.ask("page.table.tsv()").splitlines()[1].split("\t")[0] == "0003"
    browser.shoot("table")


def test_marked_nodes_are_compared_by_their_differences(browser: Browser, serve: Any, small: Any) -> None:
    browser.open(serve(small().events).url)
    browser.do("state.mark(3); state.mark(5); page.open('compare')")
    browser.until("document.querySelector('#compared .diff')")
    said = browser.text("#compare")
    assert "2.0700" in said and "trials" in said and "policy" not in said  # the policy is the same
    browser.shoot("compare")


def test_phone_and_dark_are_usable(browser: Browser, serve: Any, small: Any) -> None:
    browser.size(390, 844)
    browser.open(serve(small().events).url)
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    browser.do("state.select(3)")
    browser.until("document.querySelector('#detail .diff')")
    assert browser.ask("document.documentElement.scrollWidth") <= 390
    browser.shoot("phone")
    browser.size(1440, 900)
    browser.dark(True)
    browser.shoot("dark")
    named = "[...document.querySelectorAll('button, input, select, canvas, [role=img]')].every(e => NAME)"
    assert browser.ask(named.replace("NAME", "e.textContent.trim() || e.ariaLabel || e.closest('label')"))


# -- a running night -----------------------------------------------------------------------------------------------


def test_a_running_campaign_is_followed_and_a_lost_server_is_caught_up_with(
    browser: Browser, serve: Any, small: Any
) -> None:
    story = small()
    begun = len(story.events)
    served = serve(story.events)
    browser.open(served.url)
    assert browser.ask("campaign.order.length") == 9
    story.keep(9, 5, 1.9, 1.91, 1.92, 1.93, title="the morning star").fly(10, 9)
    served.append(story.events[begun:])
    browser.until("campaign.head.incumbent === 9 && campaign.nodes.has(10) && campaign.places[0].has(10)")
    assert "main moved to 0009" in browser.ask("document.getElementById('announce').textContent")
    served.stop()
    browser.until("document.querySelector('.pill.warn')")
    begun = len(story.events)
    story.park(11, 9, 2.0).stop()
    served.append(story.events[begun:])
    served.start()
    browser.until("campaign.nodes.get(11)?.verdict === 3 && !document.querySelector('.pill.warn')")
    assert "stopped" in browser.text("#name")


def test_controls_ask_the_campaign_with_the_token_and_refuse_without(browser: Browser, serve: Any, small: Any) -> None:
    served = serve(small().events)
    browser.open(served.url)
    assert "read only" in browser.text("#controls")
    status, said, _ = served.http("api/ask", body={"ask": "stop"})
    assert (status, json.loads(said)["error"]) == (403, "the token that was printed at start is missing or wrong")
    browser.open(f"{served.url}#token={served.token}")
    assert "token" not in browser.ask("location.href")
    assert "not running" in browser.text("#controls")  # a stop would end the next run
    with WorkspaceLock(served.folder / ".ratchetree" / "lock"):
        browser.click_when_there("#ask-pause")
        assert "Begin nothing new" in browser.text("dialog h2")
        browser.click("dialog [value=cancel]")
        served.append([Requested(time=2000.0, request=Request(id="1", ask=Ask.PAUSE))])
        browser.until(
            "document.querySelector('#ask-resume') && document.querySelector('.pill').textContent === 'paused'"
        )
        assert "asked at" in browser.text("#warnings")
    browser.do("state.select(5)")
    browser.until("document.querySelector('#detail .diff')")
    browser.click("#detail .buttons .buttons button")  # try next
    browser.driver.find_element("css selector", "dialog textarea").send_keys("halve it again")
    browser.click("#confirm")
    browser.until("document.querySelector('dialog [role=status]').textContent.startsWith('asked')")
    (request,) = FolderInbox(served.folder / ".ratchetree" / "inbox").waiting()
    assert (request.ask, request.node, request.note) == (Ask.PROMOTE, 5, "halve it again")
    for body in (
        {"ask": "submit"},
        {"ask": "close"},
        {"ask": "repeat", "node": 5, "trials": 999},
        {"ask": "close", "node": 77},
        [],
    ):
        assert served.http("api/ask", body=body, Authorization=f"Bearer {served.token}")[0] == 400


def test_foreign_hosts_and_origins_are_refused(serve: Any, small: Any) -> None:
    served = serve(small().events)
    assert served.http("api/campaign", Host="evil.example")[0] == 403
    assert served.http("api/campaign", Origin="http://evil.example")[0] == 403
    right = {"Authorization": f"Bearer {served.token}"}
    assert served.http("api/ask", body={"ask": "pause"}, Origin="null", **right)[0] == 403
    assert served.http("api/ask", body={"ask": "pause"}, Origin=served.url.rstrip("/"), **right)[0] == 200
    status, _, headers = served.http("")
    assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
    assert served.http("api/node/99")[0] == 404
    log = served.folder / ".ratchetree" / "trials" / "0003-0" / "log.txt"
    log.unlink()
    log.mkdir()  # what cannot be read is said, and the server goes on
    assert served.http("api/node/3")[0] == 503 and served.http("api/node/5")[0] == 200
    assert served.http("built/../../../cli.py")[0] == 404


def test_ports_in_use_and_journals_that_cannot_be_read_get_one_line(serve: Any, small: Any, ratchetree: Any) -> None:
    import sqlite3

    served = serve(small().events)
    said = ratchetree("serve", served.folder, "--port", str(served.port))
    assert (said.code, said.errors.count("\n")) == (2, 1)
    assert f"--port {served.port} cannot be used" in said.errors
    served.stop()
    connection = sqlite3.connect(served.folder / ".ratchetree" / "journal.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    said = ratchetree("report", served.folder, "--out", served.folder / "r.html")
    assert (said.code, said.errors.count("\n")) == (1, 1)
    assert "newer ratchetree" in said.errors


def test_a_workspace_where_nothing_ran_yet_is_followed_from_its_first_event(
    browser: Browser, workspace: Path, small: Any
) -> None:
    served = Served(workspace).start()
    try:
        browser.open(served.url)
        assert "Nothing has run here yet" in browser.text("#tiles")
        served.append(small().events)
        browser.until("campaign.order.length === 9 && document.querySelector('.tile.won')")
    finally:
        served.stop()


# -- hostile texts, and the report ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["live", "file"])
def test_hostile_texts_are_only_ever_read(
    browser: Browser, serve: Any, new_story: Any, ratchetree: Any, how: str
) -> None:
    story = new_story().root(2.0, 2.01)
    for node, attack in enumerate(ATTACKS, start=1):
        (story.keep if node % 2 else story.park)(
            node, max(0, node - 1), *([2.0 - node / 100] * (2 if node % 2 else 1)), title=attack
        )
    served = serve(story.events)
    out = served.folder / "<b>report.html"
    if how == "live":
        browser.open(served.url)
    else:
        assert ratchetree("report", served.folder, "--out", out).code == 0
        browser.open(out.as_uri())
    for tab in ("overview", "table", "summary"):
        browser.do(f"page.open('{tab}')")
    for node in range(len(ATTACKS) + 1):
        browser.do(f"state.select({node})")
        browser.settled(node)
    assert browser.ask("window.hacked ?? null") is None
    assert (
        browser.ask("document.querySelectorAll('#detail script, #detail img, #detail iframe, #table img').length") == 0
    )
    assert browser.ask("campaign.node(1).title") == ATTACKS[0]
    assert browser.ask("campaign.node(10).title.length") <= 200
    assert browser.ask("document.documentElement.scrollWidth") <= 1440
    assert browser.complaints() == []


def test_the_report_opens_from_a_file_with_everything_in_it(
    browser: Browser, make: Any, small: Any, ratchetree: Any
) -> None:
    folder = make(small().stop().events)
    out = folder / "night.html"
    assert ratchetree("report", folder, "--out", out).code == 0
    text = out.read_text()
    assert not re.search(r"(?:src|href)=[\"']?https?:", text)
    browser.open(out.as_uri())
    said = browser.text("#summary")
    assert "moved main 2 times" in said and "delete the second norm" in said and "1 crash" in said
    browser.shoot("report")
    browser.do("page.open('overview'); state.select(5)")
    browser.until("document.querySelector('#detail .diff .added')")
    assert browser.text("#detail .diff .added") == "+ C_NEW = 5  # <b>node 5</b>"
    browser.do("state.select(3)")
    browser.until("document.querySelector('.log pre')?.textContent.includes('the last line')")
    assert not any("http" in name for name in browser.ask("performance.getEntriesByType('resource').map(e => e.name)"))
    assert browser.complaints() == []


@pytest.mark.parametrize("nodes", [0, 1])
def test_reports_of_hardly_anything_open(
    browser: Browser, make: Any, new_story: Any, ratchetree: Any, nodes: int
) -> None:
    story = new_story()
    if nodes:
        story.root(2.0)
    folder = make(story.events)
    assert ratchetree("report", folder, "--out", folder / "r.html").code == 0
    browser.open((folder / "r.html").as_uri())
    for tab in ("overview", "table", "compare", "summary"):
        browser.do(f"page.open('{tab}')")
    assert browser.complaints() == []
