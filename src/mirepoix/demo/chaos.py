"""Choose the next process to kill: one that runs a task, so that every kill cuts a task off."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mirepoix.demo.fleet import Fleet, Worker
from mirepoix.demo.history import History, Run
from mirepoix.demo.plan import Plan

PAUSE_S = 0.3
AFTER_WORKER_S = 1.5
"""The least time after the kill of a worker, so that each recovery can be seen."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill, and the runs that it cut off."""

    worker: Worker
    cut_off: tuple[Run, ...]
    pid: int
    replacement: Worker | None = None


class Chaos:
    """Kill processes as the plan says, one at a time."""

    def __init__(self, plan: Plan, fleet: Fleet, history: History) -> None:
        self._plan = plan
        self._fleet = fleet
        self._history = history
        self._done = 0
        self._not_before = 0.0

    def step(self, sent: int) -> Kill | None:
        """Kill a process if a kill is due and a process runs a task."""
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
                cut_off = tuple(other for other in self._history.running() if other.worker_pid == worker.pid)
                return Kill(worker, cut_off, worker.pid, self._fleet.kill(worker))
        return None

    def _victims(self) -> list[Run]:
        # Only first runs: a task that is killed three times would be quarantined, which only poison should be.
        return [
            run
            for run in self._history.running()
            if run.step in ("charge", "receipt") and len(self._history.runs[run.task_id]) == 1
        ]
