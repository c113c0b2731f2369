"""What the page costs in a real browser: python tests/bench/page.py [--nodes 5000]

Prints first paint, zoom frames, bytes of a new node, journal to pixel, report size at 1,000 experiments, and ten
browsers' worth of listeners at once, each beside its bar. The nights are made up (nights.py); the clock is Chromium's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from nights import make, night
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from ratchetree.storage.journal import SqliteJournal

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,900",
]
ZOOM = """
const done = arguments[0], view = page_view(), times = []; let last = 0, n = 0;
function frame(now) {
  if (last) times.push(now - last);
  last = now;
  if (n++ < 90) { view.zoom(n % 30 < 15 ? 1.08 : 1 / 1.08); requestAnimationFrame(frame); } else done(times);
}
requestAnimationFrame(frame);
function page_view() { return window.ratchetree[VIEW]; }
"""
ARRIVALS = """
window.arrived = {};
window.ratchetree.state.listen((what) => {
  if (what !== 'data') return;
  const latest = window.ratchetree.campaign.order.at(-1).id;
  requestAnimationFrame(() => requestAnimationFrame(() => { window.arrived[latest] ??= Date.now(); }));
});
"""


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    nodes = parser.parse_args().nodes
    with tempfile.TemporaryDirectory() as place:
        browser = chromium(Path(place) / "profile")
        try:
            folder = make(Path(place) / "night", nodes)
            with Serving(folder) as url:
                paints = [paint(browser, url) for _ in range(6)][1:]  # the first one warms the browser
                tell(f"first paint, {nodes} nodes", [p["painted"] for p in paints], "ms", 300)
                tell("  of that until the data is there", [p["data"] for p in paints], "ms")
                for view in ("tree", "ratchet"):
                    for folded in (True, False) if view == "tree" else (True,):
                        browser.execute_script(
                            f"ratchetree.open('{view}'); ratchetree.state.folded = {json.dumps(folded)}"
                        )
                        browser.execute_script(f"ratchetree.tree.relaid(); ratchetree.{view}.stretched = 0")
                        frames = browser.execute_async_script(ZOOM.replace("VIEW", f"'{view}'"))
                        tell(f"zoom frame, {view} view{'' if folded else ', unfolded'}", frames, "ms", 33)
                        drawn = browser.execute_script(f"return ratchetree.{view}.frames.slice(-90)")
                        tell("  of that drawing", drawn, "ms")
                        stretched = browser.execute_script(f"return ratchetree.{view}.stretched")
                        tell("  frames that stretch the last picture", [100 * stretched / len(frames)], "%")
                arrivals(browser, url, folder, nodes)
                crowd(url, folder, nodes + 20)
        finally:
            browser.quit()
        report = Path(place) / "report.html"
        thousand = make(Path(place) / "thousand", 1000)
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ratchetree", "report", str(thousand), "--out", str(report)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        tell("report of 1,000 experiments", [report.stat().st_size / 1e6], "MB", 3)
        tell("  written in", [time.perf_counter() - begun], "s")
    script = Path(__file__).parents[2] / "view" / "page" / "built" / "page.js"
    tell("script", [script.stat().st_size / 1000], "kB", 150)


def chromium(profile: Path) -> Any:
    """A headless browser."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class Serving:
    """`ratchetree serve` for a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        command = [sys.executable, "-m", "ratchetree", "serve", str(self._folder), "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert self._process.stdout is not None
        found = re.match(r"(http://127\.0\.0\.1:\d+/)", self._process.stdout.readline())
        assert found is not None
        urllib.request.urlopen(found[1] + "api/campaign").read()  # the server has read its journal
        return found[1]

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


def paint(browser: Any, url: str) -> dict[str, float]:
    """Milliseconds from the navigation until the overview is on the screen, and until its data was there."""
    browser.get("about:blank")
    browser.get(url)
    browser.set_script_timeout(60)
    return dict(
        browser.execute_async_script(
            "const done = arguments[0]; (function look() { const [mark] = performance.getEntriesByName('painted');"
            "const data = performance.getEntriesByType('resource').find(e => e.name.endsWith('api/campaign'));"
            "if (mark) done({painted: mark.startTime, data: data.responseEnd}); else setTimeout(look, 20); })()"
        )
    )


def arrivals(browser: Any, url: str, folder: Path, nodes: int) -> None:
    """Twenty experiments arrive one by one: bytes each, and milliseconds from the journal to the pixel."""
    browser.get(url)
    time.sleep(1)
    browser.execute_script(ARRIVALS)
    port = int(url.rsplit(":", 1)[1].strip("/"))
    listener = Listener(port, after=number(folder))
    listener.start()
    journal = SqliteJournal.create(folder / ".ratchetree" / "journal.db")
    coming = experiments(nodes, 20)
    written: dict[int, float] = {}
    for node, events in coming.items():
        for event in events[:2]:  # selected and planned: the node is there
            journal.append(event)
        written[node] = time.time() * 1000
        time.sleep(0.7)
        for event in events[2:]:
            journal.append(event)
        time.sleep(0.9)
    journal.close()
    arrived = browser.execute_script("return window.arrived")
    tell("journal to pixel", [arrived[str(node)] - at for node, at in written.items()], "ms", 100)
    listener.stop()
    tell("bytes of a new experiment, until it is settled", [listener.size / len(coming) / 1000], "kB", 5)
    tell("  messages for it", [listener.messages / len(coming)], "")


def crowd(url: str, folder: Path, nodes: int) -> None:
    """Ten listeners at once: all hear of ten experiments."""
    port = int(url.rsplit(":", 1)[1].strip("/"))
    listeners = [Listener(port, after=number(folder)) for _ in range(10)]
    for listener in listeners:
        listener.start()
    time.sleep(0.5)
    journal = SqliteJournal.create(folder / ".ratchetree" / "journal.db")
    delays: list[float] = []
    for events in experiments(nodes, 10).values():
        for event in events:
            journal.append(event)
        at, last = time.time(), number(folder)
        while any(listener.number < last for listener in listeners) and time.time() - at < 10:
            time.sleep(0.002)
        delays.append((time.time() - at) * 1000)
        time.sleep(0.6)
    journal.close()
    tell("ten listeners: until all have heard", delays, "ms")
    for listener in listeners:
        listener.stop()


class Listener(threading.Thread):
    """One browser's event stream, as bytes."""

    def __init__(self, port: int, after: int) -> None:
        super().__init__(daemon=True)
        self.size, self.messages, self.number = 0, 0, after
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(f"GET /api/events?after={after} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())

    def run(self) -> None:
        tail = b""
        while True:
            try:
                got = self._socket.recv(65536)
            except OSError:
                return
            if not got:
                return
            self.size += len(got)
            self.messages += got.count(b"event: delta")
            tail = (tail + got)[-65536:]
            for found in re.findall(rb"id: (\d+)\n", tail):
                self.number = max(self.number, int(found))

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)


def number(folder: Path) -> int:
    """The number of the journal's last event."""
    with closing(sqlite3.connect(folder / ".ratchetree" / "journal.db")) as connection:
        return int(connection.execute("SELECT max(number) FROM events").fetchone()[0])


def experiments(after: int, count: int) -> dict[int, list[Any]]:
    """Events of the next experiments, by number."""
    found: dict[int, list[Any]] = {}
    for event in night(after + count, seed=1):
        node = getattr(event, "experiment", 0)
        if node > after:
            found.setdefault(node, []).append(event)
    return found


def tell(what: str, values: list[float], unit: str, bar: float | None = None) -> None:
    """One line: median, worst, and the bar."""
    ordered = sorted(values)
    middle, worst = statistics.median(ordered), ordered[-1]
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    spread = f", 95 % {late:.4g}, worst {worst:.4g}" if len(ordered) > 1 else ""
    held = "" if bar is None else f"   (bar: {bar:g} {unit}: {'held' if middle <= bar else 'MISSED'})"
    print(f"{what:<48} {middle:.4g} {unit}{spread}{held}", flush=True)


if __name__ == "__main__":
    main()
