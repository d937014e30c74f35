"""A rolling deploy under load: old and new workers and senders at once, and the audit of what became of every task.

The witness is a file that the tasks append to; the ledger is asked only how long tasks were parked, and what is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.releases import NEW, OLD, right
from benchmarks.servers import Server
from benchmarks.worker import ROOT, Worker

HISTORY = "SELECT task_id, fence, outcome, leased_at, finished_at FROM mirepoix_attempt_history"


@dataclass
class Audit:
    """What was found when all was over. Ids of tasks, each in every list that it belongs to."""

    sent: dict[int, int]
    """How many tasks, by the release that sent them."""
    ran: Counter = field(default_factory=Counter)
    """How many of them ended, by the release of the sender and that of the worker."""
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    """How many rows are in each state; empty on stock Celery."""
    waits: list[float] = field(default_factory=list)
    """Seconds from each parking to the next lease, parked when a new worker was there."""
    waits_before: list[float] = field(default_factory=list)
    """The same of those parked before the first new worker was."""
    parked: int = 0
    """How many tasks were parked, once or more."""
    attempts: Counter = field(default_factory=Counter)
    """How many tasks had how many attempts."""

    @property
    def tasks(self) -> int:
        return sum(self.sent.values())

    @property
    def is_clean(self) -> bool:
        """Every task ran once to its end, rightly, and nothing is left in another state."""
        return not (self.lost or self.twice or self.wrong) and set(self.states) <= {"succeeded"}


class Scene:
    """A fresh system, its workers and senders of either release, and what the effects file says."""

    def __init__(self, server: Server, concurrency: int = 2, pool: str = "prefork") -> None:
        self.server, self.concurrency, self.pool = server, concurrency, pool
        self.folder = Path(tempfile.mkdtemp(prefix="mirepoix-deploys-"))
        self.file = self.folder / "effects"
        self.file.touch()
        self.workers: list[Worker] = []
        self.senders: list[tuple[subprocess.Popen, Path]] = []

    def hire(self, release: int, count: int = 1) -> list[Worker]:
        """Workers of that release; they are ready when this returns."""
        hired = [
            Worker(
                self.server,
                self.pool,
                self.concurrency,
                self.file,
                "benchmarks.releases",
                RELEASE=str(release),
            )
            for _ in range(count)
        ]
        self.workers += hired
        for one in hired:
            one.wait(lambda one=one: one.pid in {line["pid"] for line in self.lines("ready")}, 60.0)
        return hired

    def dismiss(self, worker: Worker) -> None:
        """As a supervisor does when it has a new one: SIGTERM, and wait."""
        self.workers.remove(worker)
        worker.stop()

    def begin_to_send(self, releases: tuple[int, ...], rate: float) -> None:
        """Let one process of each release send, together at *rate*; they have begun when this returns."""
        for release in releases:
            notes = self.folder / f"sent{release}"
            notes.touch()
            server, share = self.server, str(rate / len(releases))
            command = ["-m", "benchmarks.releases", server.url, server.broker.url if server.broker else ""]
            process = subprocess.Popen(
                [sys.executable, *command, str(release), share, notes, self.folder / "go", self.folder / "stop"],
                cwd=ROOT,
                env=os.environ | {"BENCHMARK_FILE": os.devnull},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            self.senders.append((process, notes))
        self.until(lambda: all(notes.stat().st_size for _, notes in self.senders))
        (self.folder / "go").touch()

    def end_sending(self) -> dict[str, dict]:
        """What was sent, by id."""
        (self.folder / "stop").touch()
        for process, _ in self.senders:
            if process.wait(timeout=60) != 0:
                raise RuntimeError(f"a sender ended with {process.returncode}")
        lines = (line for _, notes in self.senders for line in notes.read_text().splitlines()[1:])
        return {told["id"]: told for told in map(json.loads, lines)}

    def lines(self, *what: str) -> list[dict]:
        """What the tasks told, and the workers."""
        # The last line may be under way.
        text = self.file.read_text().rpartition("\n")[0]
        return [told for told in map(json.loads, text.splitlines()) if told["what"] in what]

    def until(self, is_true: Callable[[], object], timeout_s: float = 60.0) -> bool:
        end = time.monotonic() + timeout_s
        while not is_true() and time.monotonic() < end:
            time.sleep(0.05)
        return bool(is_true())

    def until_it_rests(self, sent: dict[str, dict], timeout_s: float) -> None:
        """Until every task ended, or none has for so long; and the ledger knows of it."""
        count, since = -1, time.monotonic()
        while count < len(sent) and time.monotonic() - since < timeout_s:
            now = len({line["id"] for line in self.lines("end")} & set(sent))
            count, since = (now, time.monotonic()) if now != count else (count, since)
            time.sleep(0.1)
        if self.server.is_ledger:
            self.until(lambda: not set(self.states()) & {"pending", "leased", "running"}, 10.0)

    def states(self) -> dict[str, int]:
        """How many rows are in each state."""
        return dict(self.server.execute("SELECT state, count(*) FROM mirepoix_task GROUP BY state", rows=True))

    def audit(self, sent: dict[str, dict], new_since: float) -> Audit:
        """What became of *sent*; the first worker of the new release was ready at *new_since*."""
        found = Audit(dict(Counter(told["release"] for told in sent.values())))
        ends, begins = Counter(), Counter()
        for line in self.lines("begin", "end"):
            told = sent.get(line["id"])
            (begins if line["what"] == "begin" else ends)[line["id"]] += 1
            if told is None or line["given"] != right(told["kind"], told["number"], told["release"], line["release"]):
                found.wrong.append(line["id"])
            elif line["what"] == "end":
                found.ran[told["release"], line["release"]] += 1
        found.wrong = sorted(set(found.wrong))
        found.lost = [id for id in sent if not ends[id]]
        found.twice = [id for id in sent if max(ends[id], begins[id]) > 1]
        if self.server.is_ledger:
            found.states = self.states()
            self._waits(found, new_since)
        return found

    def _waits(self, found: Audit, new_since: float) -> None:
        by_task: dict[str, list] = {}
        for id, fence, outcome, leased_at, finished_at in self.server.execute(HISTORY, rows=True):
            by_task.setdefault(id, []).append((fence, outcome, _moment(leased_at), _moment(finished_at)))
        for attempts in by_task.values():
            attempts.sort()
            found.attempts[len(attempts)] += 1
            found.parked += any(outcome == "parked" for _, outcome, _, _ in attempts)
            for (_, outcome, _, parked_at), (_, _, leased_at, _) in pairwise(attempts):
                if outcome == "parked":
                    waits = found.waits_before if parked_at < new_since else found.waits
                    waits.append(leased_at - parked_at)

    def close(self) -> None:
        for process, _ in self.senders:
            if process.poll() is None:
                process.kill()
                process.wait()
        for worker in self.workers:
            worker.kill()
            worker.stop()


def _moment(value: object) -> float:
    """A database's UTC timestamp: text, or with or without a zone. The databases are of this machine."""
    if value is None:
        return 0.0
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (at if at.tzinfo else datetime.fromisoformat(f"{at.isoformat()}+00:00")).timestamp()


def roll(
    server: Server, seconds: float, rate: float, workers: int = 3, concurrency: int = 2, pool: str = "prefork"
) -> Audit:
    """Replace *workers* one by one while both releases send, from the first moment to the last.

    Each new worker is ready before an old one gets its SIGTERM, as most supervisors have it.
    """
    scene = Scene(server, concurrency, pool)
    try:
        old = scene.hire(OLD, workers)
        scene.begin_to_send((OLD, NEW), rate)
        began, new_since = time.monotonic(), 0.0
        for number, leaving in enumerate(old):
            while time.monotonic() < began + seconds * (2 * number + 1) / (2 * workers):
                time.sleep(0.05)
            scene.hire(NEW)
            new_since = new_since or time.time()
            scene.dismiss(leaving)
        while time.monotonic() < began + seconds:
            time.sleep(0.05)
        sent = scene.end_sending()
        scene.until_it_rests(sent, 20.0)
        return scene.audit(sent, new_since)
    finally:
        scene.close()
