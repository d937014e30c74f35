"""One side of the demo: place orders, kill and replace workers, until every task has ended."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field

from mirepoix.demo.chaos import Chaos, Kill
from mirepoix.demo.fleet import Fleet
from mirepoix.demo.folder import Folder, Tail
from mirepoix.demo.history import History, Run
from mirepoix.demo.orders import place_all
from mirepoix.demo.plan import Plan
from mirepoix.demo.shop import make_app

LOOK_S = 0.02
COUNT_S = 0.25
QUIET_S = 3.0
"""Plain Celery has no record of its tasks. It counts as finished when nothing has happened for so long."""


@dataclass(frozen=True, slots=True)
class Line:
    """An event for people. *kind* is ``kill``, ``recovery``, ``decision`` or ``note``."""

    at_s: float
    kind: str
    text: str


@dataclass(slots=True)
class Progress:
    """The state of a run, written by the side's thread and read by the screen's."""

    sent: int = 0
    rolled_back: int = 0
    done: int = 0
    states: dict[str, int] = field(default_factory=dict)
    child_kills: int = 0
    worker_kills: int = 0
    cut_off: int = 0
    delays_s: list[float] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    elapsed_s: float = 0.0
    is_over: bool = False


class Side:
    """One side, which runs in its own thread. The audit reads its folder; `progress` is for the screen."""

    def __init__(self, folder: Folder, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.progress = Progress()
        self._history = History(folder)
        self._sent = Tail(folder.sent)
        self._began_at = time.monotonic()
        self._last_news_at = self._began_at
        self._last_due_at = 0.0
        self._decided: set[str] = set()
        self._receipts: set[str] = set()

    def run(self, stopped: threading.Event) -> None:
        """Run to the end, or until *stopped*. No process is left when this returns."""
        self._began_at = time.monotonic()
        self.folder.create()
        app = make_app(self.folder)
        fleet = Fleet(self.folder, self.plan.processes)
        sender = threading.Thread(target=place_all, args=(app, self.folder, self.plan, stopped), daemon=True)
        try:
            for _ in range(self.plan.workers):
                fleet.start()
            sender.start()
            self._watch(fleet, sender, stopped)
        finally:
            if sender.ident is not None:
                sender.join()
            fleet.stop(is_hurried=stopped.is_set())
            self._look(fleet)
            self.progress.is_over = True

    def _watch(self, fleet: Fleet, sender: threading.Thread, stopped: threading.Event) -> None:
        chaos = Chaos(self.plan, fleet, self._history)
        next_count_at = 0.0
        while not stopped.wait(LOOK_S):
            now = time.monotonic()
            self._look(fleet)
            killed = chaos.step(self.progress.sent)
            if killed is not None:
                self._show_kill(killed)
            for worker in fleet.dead():
                self._say("note", f"{worker.name} ended by itself (exit code {worker.process.returncode})")
                fleet.workers.remove(worker)
                fleet.start()
            if now >= next_count_at:
                next_count_at = now + COUNT_S
                self._count()
                if (not sender.is_alive() and self._is_quiet()) or self.progress.elapsed_s > self.plan.deadline_s:
                    return

    def _look(self, fleet: Fleet) -> None:
        progress = self.progress
        progress.elapsed_s = time.monotonic() - self._began_at
        for fact in self._sent.news():
            self._last_due_at = max(self._last_due_at, fact.get("due_at", 0.0))
            if fact["step"] == "order":
                progress.sent += 1
                progress.rolled_back += not fact["is_committed"]
        for run in self._history.read():
            self._last_news_at = time.monotonic()
            worker = fleet.of(run.worker_pid)
            if worker is not None and not worker.is_ready:
                worker.is_ready = True
                self._say("note", f"{worker.name} is up")
            self._show_rerun(run)
        progress.child_kills, progress.worker_kills = self._history.child_kills, self._history.worker_kills
        progress.done = self._count_done()

    def _count_done(self) -> int:
        for order, runs in self._history.of_step("receipt").items():
            if order not in self._receipts and any(run.ended_at is not None for run in runs):
                self._receipts.add(order)
        return len(self._receipts)

    def _count(self) -> None:
        if self.folder.is_stock:
            waiting = sum(1 for _ in (self.folder.broker / "queue").glob("*.celery.msg"))
            self.progress.states = {"in the broker": waiting}
            return
        with closing(sqlite3.connect(self.folder.database, timeout=30.0)) as ledger:
            self.progress.states = dict(ledger.execute("SELECT state, count(*) FROM mirepoix_task GROUP BY state"))
            kept = ledger.execute(
                "SELECT id, name, state, reason, deaths FROM mirepoix_task"
                " WHERE state IN ('failed', 'quarantined', 'parked')"
            ).fetchall()
        for task_id, name, state, reason, deaths in kept:
            if task_id not in self._decided:
                self._decided.add(task_id)
                why = f"{deaths} processes died under it" if state == "quarantined" else reason
                self._say("decision", f"{name.removeprefix('shop.')} is {state}: {why}")

    def _is_quiet(self) -> bool:
        states = self.progress.states
        if not self.folder.is_stock:
            return not any(states.get(state) for state in ("pending", "leased", "running"))
        now = time.monotonic()
        is_busy = states["in the broker"] or self._history.running()
        return not is_busy and now > self._last_due_at + 1.0 and now > self._last_news_at + QUIET_S

    # ---- events

    def _show_kill(self, kill: Kill) -> None:
        self.progress.cut_off += len(kill.cut_off)
        if kill.replacement is None:
            what = f"SIGKILL a process of {kill.worker.name}: {kill.cut_off[0].label} was running"
        else:
            running = ", ".join(run.label for run in kill.cut_off)
            what = f"SIGKILL all of {kill.worker.name}: {running}; {kill.replacement.name} starts"
        self._say("kill", what)

    def _show_rerun(self, run: Run) -> None:
        runs = self._history.runs[run.task_id]
        earlier = runs[: runs.index(run)]
        if not earlier:
            return
        recovery = self._history.recovery(earlier[-1], run)
        if recovery is not None:
            self.progress.delays_s.append(recovery.delay_s)
            self._say("recovery", f"{run.label} runs again on {run.worker}, {recovery.delay_s:.2f} s after the kill")
        elif run.step == "poison":
            self._say("kill", f"poison killed its process; now its run no. {len(earlier) + 1}")

    def _say(self, kind: str, text: str) -> None:
        self.progress.lines.append(Line(time.monotonic() - self._began_at, kind, text))
