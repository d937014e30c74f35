"""Walk from the overview to cause, extent and remedy of twelve incidents: ``python -m benchmarks.incidents``

Each incident happens to real workers: on a PostgreSQL of its own, with Mirepoix; and with ``--flower`` on Redis, with
stock Celery. A browser begins at the first page and clicks. After each click it looks for words that name the cause,
the extent (how many tasks) and the remedy (what to do, or the button for it). Printed is after how many clicks each was
on the screen. Where the dashboard has a button for the remedy, most walks press it and wait until the ledger shows that
it worked. Typing into the search box counts as a click.

It needs `playwright` and Debian's chromium, and for Flower `flower` and redis-server:

    pip install playwright flower && apt-get install --no-install-recommends chromium
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import load, print_header, tree
from benchmarks.servers import Server, free_port, servers

ROOT = Path(__file__).parent.parent
MODULE = "benchmarks.incidents_app"
WHAT = ("cause", "extent", "remedy")
RAN_NOW = "SELECT 1 FROM mirepoix_fire WHERE cause = 'run now' AND state = 'ran'"


@dataclass
class Scene:
    """One incident's ledger or broker, its folder, and what was started."""

    server: Server
    folder: Path
    environment: dict[str, str]
    stack: ExitStack
    app: Any = None

    @property
    def is_stock(self) -> bool:
        return not self.server.is_ledger

    def start(self, *command: str, **more: str) -> subprocess.Popen:
        log = (self.folder / f"{time.monotonic_ns()}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, **self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.stack.callback(end, process)
        return process

    def worker(self, name: str = "w1", queues: str = "celery", concurrency: int = 2, **more: str) -> subprocess.Popen:
        options = (
            "-n",
            f"{name}@shop",
            "-c",
            str(concurrency),
            "-Q",
            queues,
            "-E",
            "-l",
            "WARNING",
            "--without-mingle",
        )
        process = self.start("celery", "-A", MODULE, "worker", *options, **more)
        until(lambda: self.app.control.ping(destination=[f"{name}@shop"], timeout=0.5, limit=1), "the worker answers")
        return process

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.send_task(f"{MODULE}.{name}", args, **options)

    def states(self, **wanted: int) -> None:
        """Wait until the ledger has so many tasks in these states. Stock Celery has no such place: wait a moment."""
        if self.is_stock:
            time.sleep(4)
            return

        def are() -> bool:
            rows = dict(self.server.execute("SELECT state, count(*) FROM mirepoix_task GROUP BY state", rows=True))
            return all(rows.get(state, 0) >= number for state, number in wanted.items())

        until(are, f"the ledger has {wanted}")

    def begun(self) -> None:
        until(lambda: list(self.folder.glob("begun *")), "a task holds")

    def flag(self, name: str) -> None:
        (self.folder / name).touch()


def end(process: subprocess.Popen) -> None:
    for pid in tree(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def freeze(process: subprocess.Popen) -> None:
    for pid in tree(process.pid):
        os.kill(pid, signal.SIGSTOP)


def thaw(process: subprocess.Popen) -> None:
    for pid in tree(process.pid):
        os.kill(pid, signal.SIGCONT)


def until(works: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    begun = time.monotonic()
    while not works():
        if time.monotonic() - begun > timeout_s:
            raise RuntimeError(f"{what}: not in {timeout_s:.0f} s")
        time.sleep(0.2)


# ---- what goes wrong


def api(scene: Scene) -> None:
    scene.worker()
    for n in range(200):
        scene.send("call_api", n)
    scene.states(failed=60, succeeded=140)


def signature(scene: Scene) -> None:
    scene.worker()
    for n in range(5):
        scene.app.send_task(f"{MODULE}.ship", (n,), {"express": True})
    scene.states(parked=5)


def backlog(scene: Scene) -> None:
    scene.worker(concurrency=1)
    for _ in range(400):
        scene.send("sleep", 60)
    if not scene.is_stock:
        scene.server.execute("UPDATE mirepoix_task SET created_at = created_at - interval '10 minutes'")
    scene.states(running=1)


def memory(scene: Scene) -> None:
    scene.worker()
    for n in range(6):
        scene.send("grow", n)
    scene.states(succeeded=6)


def poison(scene: Scene) -> None:
    scene.worker()
    scene.send("poison")
    for n in range(20):
        scene.send("add", n, 1)
    scene.states(quarantined=1, succeeded=20)


def frozen(scene: Scene) -> None:
    first = scene.worker("frozen", concurrency=1)
    scene.send("hold", "open")
    scene.begun()
    freeze(first)
    scene.worker("alive", concurrency=1)
    if not scene.is_stock:
        until(
            lambda: scene.server.execute("SELECT 1 FROM mirepoix_worker WHERE state = 'dead'", rows=True), "it is dead"
        )
        scene.states(running=1)


def slow(scene: Scene) -> None:
    scene.worker()
    for _ in range(40):
        scene.send("query", 0.01)
    scene.states(succeeded=40)
    scene.send("query", 90)
    scene.states(running=1)
    time.sleep(7)


def unserved(scene: Scene) -> None:
    scene.worker()
    for n in range(7):
        scene.send("add", n, 1, queue="video")
    scene.states(pending=7)


def fenced(scene: Scene) -> None:
    scene.environment["INCIDENTS_VISIBILITY"] = "2"  # Redis gives a task to a second worker after an hour by default
    first = scene.worker("first", concurrency=1)
    scene.send("hold", "open", task_id="order-4711")
    scene.begun()
    freeze(first)
    scene.worker("second", concurrency=1)
    if not scene.is_stock:
        until(lambda: len(list(scene.folder.glob("begun *"))) == 2, "it runs again")
    scene.flag("open")
    scene.states(succeeded=1)
    thaw(first)
    time.sleep(2)


def deploy(scene: Scene) -> None:
    old = scene.worker("web-1")
    for n in range(20):
        scene.send("price", n)
    scene.states(succeeded=20)
    end(old)
    scene.worker("web-1", INCIDENTS_RELEASE="2")
    for n in range(8):
        scene.send("price", n)
    scene.states(failed=8)


def chord(scene: Scene) -> None:
    from celery import chord as chord_of

    scene.worker()
    tasks = scene.app.tasks
    header = [tasks[f"{MODULE}.add"].s(1, n) for n in range(3)] + [tasks[f"{MODULE}.poison"].si()]
    chord_of(header)(tasks[f"{MODULE}.total"].s())
    scene.states(succeeded=3, quarantined=1)


def schedule(scene: Scene) -> None:
    """Nothing fires for a while: all workers are down, or with stock Celery its beat."""
    scene.environment["INCIDENTS_SCHEDULE"] = "yes"
    if scene.is_stock:
        scene.worker()
        beat = scene.start("celery", "-A", MODULE, "beat", "-s", str(scene.folder / "beat.db"), "--pidfile=")
        time.sleep(6)
        end(beat)
        time.sleep(12)
        return
    first = scene.worker()
    scene.states(succeeded=2)
    end(first)
    time.sleep(12)  # what is overdue for up to 5 s still runs
    scene.worker("w2")
    until(lambda: scene.server.execute("SELECT 1 FROM mirepoix_fire WHERE state = 'missed'", rows=True), "it is missed")


# ---- how a person finds it


def whole(number: int) -> str:
    """A regular expression of a number that is no part of another."""
    return rf"(?<![\d.]){number}(?![\d.])"


@dataclass
class Walk:
    """A browser at the first page. It notes after how many clicks the words of each kind were on the screen."""

    page: Any
    scene: Scene
    words: dict[str, str]
    clicks: int = 0
    found: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        text = " ".join(self.page.locator("main, body").first.inner_text().split())
        for what, pattern in self.words.items():
            if what not in self.found and re.search(pattern, text):
                self.found[what] = self.clicks

    def click(self, name: str, role: str = "link", nth: int = 0) -> None:
        self.page.get_by_role(role, name=re.compile(name)).nth(nth).click()
        self.page.wait_for_load_state()
        self.clicks += 1
        self.look()

    def search(self, text: str) -> None:
        self.page.keyboard.press("/")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/tasks/**")
        self.clicks += 1
        self.look()


def nothing(walk: Walk) -> None:
    """All of it is on the first page."""


def replay(walk: Walk) -> None:
    walk.click("ConnectionError")
    walk.scene.flag("api is well")
    walk.click("^Run again$", "button")
    walk.scene.states(succeeded=200)


def discard_parked(walk: Walk) -> None:
    walk.click("Show me")


def see_backlog(walk: Walk) -> None:
    walk.click("^celery$")
    walk.click("^Cancel", "button")
    walk.click(r"^Cancel \d+ tasks", "button")
    walk.scene.states(cancelled=395)


def see_death(walk: Walk) -> None:
    walk.click("Show me")
    walk.click("incidents_app.grow")


def discard_poison(walk: Walk) -> None:
    walk.click("1 task waits for you: quarantined|Show me")
    walk.click("^benchmarks.incidents_app.poison$")
    walk.click("^Discard", "button")
    walk.click("^Discard 1 task", "button")
    walk.scene.states(cancelled=1)


def see_stack(walk: Walk) -> None:
    walk.click("Show me")
    walk.click("Show its stack", "button")


def see_life(walk: Walk) -> None:
    walk.search("order-4711")


def replay_price(walk: Walk) -> None:
    walk.click("KeyError")


def see_chord(walk: Walk) -> None:
    walk.click("Show me")
    walk.click("[0-9a-f-]{36}")
    walk.click("incidents_app.poison")
    walk.click("^Discard", "button")
    walk.click("^Discard 1 task", "button")


def run_report(walk: Walk) -> None:
    walk.click("Show me")
    walk.click("^Run now", "button")
    until(lambda: walk.scene.server.execute(RAN_NOW, rows=True), "it ran")


@dataclass(frozen=True)
class Incident:
    """*words* are regular expressions for the dashboard, *in_flower* for Flower's pages."""

    title: str
    inject: Callable[[Scene], None]
    words: dict[str, str]
    walk: Callable[[Walk], None]
    in_flower: dict[str, str]
    flower_pages: tuple[str, ...] = ("Tasks", "Failed", "task")


INCIDENTS = {
    "api": Incident(
        "an API that fails 30 %",
        api,
        {
            "cause": r"ConnectionError: the bank did not answer",
            "extent": r"30 % of the latest 200 attempts|60 failures in the last hour",
            "remedy": r"Run 60 tasks again",
        },
        replay,
        {"cause": "ConnectionError", "extent": whole(60)},
    ),
    "signature": Incident(
        "a bad signature",
        signature,
        {
            "cause": r"unexpected keyword|does not (take|accept)|takes no|cannot take it: ",
            "extent": r"5 tasks wait for you: parked",
            "remedy": r"Deploy code that can take them",
        },
        discard_parked,
        {"cause": "unexpected keyword", "extent": whole(5)},
    ),
    "backlog": Incident(
        "a backlog",
        backlog,
        {
            "cause": r"39\d tasks wait over 1m in queue 'celery'",
            "extent": r"39\d tasks wait",
            "remedy": r"add workers for this queue",
        },
        see_backlog,
        {"cause": r"\b39\d\b", "extent": r"\b39\d\b", "remedy": "Grow"},
        ("Broker", "worker"),
    ),
    "memory": Incident(
        "OOM kills",
        memory,
        {
            "cause": r"6 times because the process died",
            "extent": r"50 % of (the latest )?12 attempts",
            "remedy": r"signal 9 · [\d.]+ MB|memory ended",
        },
        see_death,
        {"cause": "WorkerLost|signal 9", "extent": whole(6)},
    ),
    "poison": Incident(
        "a poison task",
        poison,
        {
            "cause": r"died|killed|signal 9",
            "extent": r"1 task waits for you: quarantined",
            "remedy": r"requeue or discard",
        },
        discard_poison,
        {"cause": "WorkerLost|signal 9", "extent": whole(1)},
    ),
    "frozen": Incident(
        "a frozen worker",
        frozen,
        {
            "cause": r"frozen@shop died|frozen@shop is silent",
            "extent": r"frozen@shop",
            "remedy": r"Find out why it died",
        },
        nothing,
        {"cause": r"frozen@shop (False|Offline)", "extent": r"frozen@shop (False|Offline)"},
        (),
    ),
    "slow": Incident(
        "a slow database",
        slow,
        {
            "cause": r"psycopg/.*(execute|wait|fetch)",
            "extent": r"95 of 100 take at most",
            "remedy": r"Kill|Cancel|Show its stack|Look at its stack",
        },
        see_stack,
        {"extent": "STARTED", "remedy": "Terminate"},
        ("Tasks", "Started", "task"),
    ),
    "unserved": Incident(
        "a queue that nobody serves",
        unserved,
        {
            "cause": r"no consumer for queue 'video'",
            "extent": r"7 tasks wait",
            "remedy": r"celery -A YOUR_APP worker -Q video",
        },
        nothing,
        {"cause": "video", "extent": r"video .*\b7\b", "remedy": "Add consumer"},
        ("Broker", "worker"),
    ),
    "fenced": Incident(
        "a task that ran twice at once (its second result is refused)",
        fenced,
        {"cause": r"Attempt 1: lost", "extent": r"Attempt 2: succeeded", "remedy": r"it succeeded at"},
        see_life,
        {
            "cause": r"first@shop.*second@shop.*order-4711|order-4711.*first@shop.*second@shop",
            "extent": r"order-4711.*first@shop.*second@shop",
        },
        ("Tasks", "task"),
    ),
    "deploy": Incident(
        "a deploy that brought a new exception",
        deploy,
        {
            "cause": r"KeyError: .* in release 2",
            "extent": r"8 failures in the last hour",
            "remedy": r"Run 8 tasks again",
        },
        replay_price,
        {"cause": "KeyError", "extent": whole(8)},
    ),
    "chord": Incident(
        "a stuck chord",
        chord,
        {
            "cause": r"1 quarantined member holds it up",
            "extent": r"1 chord waits",
            "remedy": r"Requeue what is held up",
        },
        see_chord,
        {"cause": "WorkerLost|signal 9", "extent": r"chord"},
    ),
    "schedule": Incident(
        "a schedule that did not run",
        schedule,
        {"cause": r"missed .* no worker", "extent": r"missed \d+ fire times", "remedy": r"Run now|run it now"},
        run_report,
        {"cause": "beat", "extent": r"report"},
    ),
}


# ---- both sides


@contextlib.contextmanager
def scene_of(server: Server, name: str) -> Iterator[Scene]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="mirepoix-incident-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if server.is_ledger:
            server = server.another(f"incident_{name}")
        server.reset()
        environment = {"INCIDENTS_FOLDER": str(folder)}
        environment["INCIDENTS_LEDGER" if server.is_ledger else "INCIDENTS_BROKER"] = server.url
        scene = Scene(server, folder, environment, stack)
        scene.app = client(environment)
        yield scene


def client(environment: dict[str, str]) -> Any:
    """The app in this process, as the environment says. The module is made again for each incident."""
    import importlib

    for name in ("INCIDENTS_LEDGER", "INCIDENTS_BROKER"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    sys.modules.pop(MODULE, None)
    return importlib.import_module(MODULE).app


def on_dashboard(browser: Any, server: Server, name: str, incident: Incident, to: Path | None) -> dict[str, int]:
    with scene_of(server, name) as scene:
        incident.inject(scene)
        command = [sys.executable, "-m", "mirepoix.cli", "--app", MODULE, "dashboard", "--port", "0"]
        dashboard = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **scene.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        scene.stack.callback(end, dashboard)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        scene.stack.callback(context.close)
        page = context.new_page()
        page.goto(dashboard.stdout.readline().strip(), wait_until="networkidle")
        page.set_default_timeout(10_000)
        walk = Walk(page, scene, incident.words)
        walk.look()
        if to is not None:
            page.screenshot(path=to / f"{name}-0.png", full_page=True)
        try:
            incident.walk(walk)
        except Exception:
            print(page.url, " ".join(page.locator("main").inner_text().split())[:1500])
            raise
        if to is not None:
            page.screenshot(path=to / f"{name}-{walk.clicks}.png", full_page=True)
        return walk.found


def on_flower(browser: Any, server: Server, name: str, incident: Incident, to: Path | None) -> dict[str, int]:
    with scene_of(server, name) as scene:
        port = free_port()
        scene.start("celery", "-A", MODULE, "flower", f"--port={port}", "--address=127.0.0.1")
        site = f"http://127.0.0.1:{port}"
        until(lambda: answers(site), "Flower answers")
        incident.inject(scene)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        scene.stack.callback(context.close)
        page = context.new_page()
        page.goto(f"{site}/workers", wait_until="networkidle")
        time.sleep(2)
        page.reload(wait_until="networkidle")
        walk = Walk(page, scene, incident.in_flower)
        walk.look()
        for step in incident.flower_pages:
            begun = walk.clicks
            if step == "task":
                rows = page.locator("#tasks-table tbody tr", has_text=re.compile(r"[0-9a-f]{8}-|order-4711"))
                if rows.count() == 0:
                    continue
                rows.first.locator("td").nth(1).locator("a").click()
            elif step in ("Failed", "Started"):
                page.get_by_text(step, exact=True).first.click()
            elif step == "worker":
                page.goto(f"{site}/workers", wait_until="networkidle")
                begun = 0
                page.get_by_role("link", name=re.compile("@shop")).first.click()
            else:
                page.get_by_role("link", name=step, exact=True).first.click()
            page.wait_for_load_state("networkidle")
            time.sleep(1)
            walk.clicks = begun + 1
            walk.look()
            if to is not None:
                page.screenshot(path=to / f"flower-{name}-{step}.png", full_page=True)
        return walk.found


def answers(site: str) -> bool:
    try:
        urllib.request.urlopen(site, timeout=2)
    except OSError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=INCIDENTS, default=list(INCIDENTS))
    parser.add_argument("--flower", action="store_true", help="walk in Flower too, with stock Celery on Redis")
    parser.add_argument("--skip-dashboard", action="store_true")
    parser.add_argument("--to", type=Path, help="a folder for pictures of the pages")
    given = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("skipped: pip install playwright")
        return 0
    chromium = shutil.which("chromium")
    if chromium is None:
        print("skipped: there is no chromium (apt-get install --no-install-recommends chromium)")
        return 0
    if given.to is not None:
        given.to.mkdir(parents=True, exist_ok=True)
    sides = [*([] if given.skip_dashboard else ["postgresql"]), *(["redis"] if given.flower else [])]
    failed = 0
    with servers(*sides) as systems, sync_playwright() as playwright:
        print_header("Incidents, from the first page", systems, f"{len(given.only)} incidents; clicks until it is seen")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name in given.only:
            incident = INCIDENTS[name]
            print(incident.title)
            for server in systems:
                walk = on_dashboard if server.is_ledger else on_flower
                try:
                    found = walk(browser, server, name, incident, given.to)
                except Exception as error:  # noqa: BLE001 (the other incidents are walked too)
                    failed += 1
                    print(
                        f"  {server.name}: the walk broke: {type(error).__name__}: {str(error).splitlines()[0]}",
                        flush=True,
                    )
                    continue
                where = "dashboard" if server.is_ledger else "Flower"
                print(f"  {where:10} " + ", ".join(f"{what} {found.get(what, 'no')}" for what in WHAT), flush=True)
                failed += server.is_ledger and len(found) < len(WHAT)
        browser.close()
        print(f"load after: {load()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
