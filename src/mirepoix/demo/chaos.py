"""Whom to kill next: processes that are at work, so that every kill cuts something off."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mirepoix.demo.fleet import Fleet, Worker
from mirepoix.demo.history import History, Run
from mirepoix.demo.plan import Plan

PAUSE_S = 0.3
AFTER_WORKER_S = 1.5
"""The least time between two kills: each recovery should be seen."""


@dataclass(frozen=True, slots=True)
class Kill:
    """What was done, and which runs it cut off."""

    worker: Worker
    cut_off: tuple[Run, ...]
    pid: int
    replacement: Worker | None = None


class Chaos:
    """Kills as the plan says, one step at a time."""

    def __init__(self, plan: Plan, fleet: Fleet, history: History) -> None:
        self._plan = plan
        self._fleet = fleet
        self._history = history
        self._done = 0
        self._not_before = 0.0

    def step(self, sent: int) -> Kill | None:
        """Kill somebody if a kill is due and somebody is at work."""
        if self._done >= self._plan.kills_due(sent) or time.monotonic() < self._not_before:
            return None
        is_worker_kill = self._plan.is_worker_kill(self._done)
        killed = self._kill_worker() if is_worker_kill else self._kill_child()
        if killed is not None:
            self._done += 1
            self._not_before = time.monotonic() + (AFTER_WORKER_S if is_worker_kill else PAUSE_S)
        return killed

    def _kill_child(self) -> Kill | None:
        for run in self._victims():
            worker = self._fleet.of(run.worker_pid)
            if worker is not None and self._fleet.kill_child(worker, run.pid):
                return Kill(worker, (run,), run.pid)
        return None

    def _kill_worker(self) -> Kill | None:
        if not all(worker.is_ready for worker in self._fleet.workers):
            return None
        for run in self._victims():
            worker = self._fleet.of(run.worker_pid)
            if worker is not None:
                cut_off = tuple(one for one in self._history.running() if one.worker_pid == worker.pid)
                return Kill(worker, cut_off, worker.pid, self._fleet.kill(worker))
        return None

    def _victims(self) -> list[Run]:
        # Only first runs: an order that is hit three times would rightly be quarantined, and that is poison's part.
        return [
            run
            for run in self._history.running()
            if run.step in ("charge", "receipt") and len(self._history.runs[run.task_id]) == 1
        ]
