"""The history of every task, read from its effects on disk and not from a ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

from mirepoix.demo.folder import Folder, Tail


@dataclass(slots=True)
class Run:
    """One execution of user code. Times are of the machine's monotonic clock, in seconds."""

    task_id: str
    step: str
    order: str
    pid: int
    worker_pid: int
    worker: str
    began_at: float
    ended_at: float | None = None
    has_raised: bool = False

    @property
    def label(self) -> str:
        """The run's name for people."""
        return f"{self.step} of order {self.order}"


@dataclass(frozen=True, slots=True)
class Recovery:
    """A run that a SIGKILL cut off, and the next run of the same task."""

    killed: Run
    again: Run
    delay_s: float
    is_whole_worker: bool


class History:
    """The runs and kills in the files of a folder. It can be read repeatedly while the files grow."""

    def __init__(self, folder: Folder) -> None:
        self._effects = Tail(folder.effects)
        self._kills = Tail(folder.kills)
        self.runs: dict[str, list[Run]] = defaultdict(list)
        self._open: dict[tuple[str, int], Run] = {}
        self._killed_at: dict[int, float] = {}
        self.child_kills = 0
        self.worker_kills = 0

    def read(self) -> list[Run]:
        """Read the new facts; return the runs that began."""
        for kill in self._kills.news():
            self._killed_at[kill["pid"]] = kill["at"]
            self.worker_kills += kill["is_worker"]
            self.child_kills += not kill["is_worker"]
        began = []
        for fact in self._effects.news():
            if fact["what"] == "begin":
                began.append(self._begin(fact))
            else:
                run = self._open.pop((fact["task"], fact["pid"]), None)
                if run is not None:
                    run.ended_at, run.has_raised = fact["at"], fact["what"] == "raised"
        return began

    def of_step(self, *steps: str) -> dict[str, list[Run]]:
        """Return the runs of each order in these steps."""
        found: dict[str, list[Run]] = defaultdict(list)
        for runs in self.runs.values():
            for run in runs:
                if run.step in steps:
                    found[run.order].append(run)
        return found

    def running(self) -> list[Run]:
        """Return the runs that have begun and neither ended nor been killed."""
        return [run for run in self._open.values() if self.until(run) == inf]

    def killed_at(self, run: Run) -> float | None:
        """Return when a SIGKILL of the demo cut the run off, or None."""
        if run.ended_at is not None or run.step == "poison":
            return None
        moments = [self._killed_at.get(pid) for pid in (run.pid, run.worker_pid)]
        return min((at for at in moments if at is not None and at >= run.began_at), default=None)

    def until(self, run: Run) -> float:
        """Return until when user code of the run can have run."""
        if run.ended_at is not None:
            return run.ended_at
        if run.step == "poison":
            return run.began_at  # it kills itself; its next run cannot begin before that
        killed_at = self.killed_at(run)
        return inf if killed_at is None else killed_at

    def recoveries(self) -> Iterator[Recovery]:
        """Yield every killed run with a later run of the same task."""
        for runs in self.runs.values():
            for killed, again in pairwise(runs):
                recovery = self.recovery(killed, again)
                if recovery is not None:
                    yield recovery

    def recovery(self, killed: Run, again: Run) -> Recovery | None:
        """Return the recovery of *killed* by *again*, if a SIGKILL cut *killed* off."""
        at = self.killed_at(killed)
        if at is None:
            return None
        return Recovery(killed, again, again.began_at - at, killed.worker_pid in self._killed_at)

    def overlaps(self) -> int:
        """Count how often a run began while an earlier run of the same task still ran."""
        return sum(
            self.until(first) > second.began_at for runs in self.runs.values() for first, second in pairwise(runs)
        )

    def _begin(self, fact: dict[str, Any]) -> Run:
        run = Run(fact["task"], fact["step"], fact["order"], fact["pid"], fact["parent"], fact["worker"], fact["at"])
        self._open[run.task_id, run.pid] = run
        self.runs[run.task_id].append(run)
        self.runs[run.task_id].sort(key=lambda other: other.began_at)
        return run
