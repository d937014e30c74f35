"""Judge a finished run by its files: what was sent, what the tasks did on disk, and what the ledger says."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from mirepoix.demo.folder import Folder, Tail
from mirepoix.demo.history import History, Run

UNEXPLAINED = frozenset({"pending", "leased", "running"})
"""No task may be in one of these states when a run is over."""


@dataclass(frozen=True, slots=True)
class LedgerTask:
    """One task in the ledger."""

    name: str
    state: str
    order: str
    deaths: int


@dataclass(frozen=True, slots=True)
class Check:
    """A claim that must be true."""

    claim: str
    holds: bool
    found: str


@dataclass(frozen=True, slots=True)
class Audit:
    """The figures of a run. Times are in seconds, from the SIGKILL to the task's next begin."""

    side: str
    sent: int
    committed: int
    rolled_back: int
    done: int
    lost: int
    ran_after_rollback: int
    killed_processes: int
    killed_workers: int
    cut_off: int
    recovered: int
    recovery_p50_s: float | None
    recovery_p95_s: float | None
    recovery_worst_s: float | None
    overlapping: int
    finished_twice: int
    poison_sent: int
    poison_runs: int
    poison_quarantined: int | None
    failed_sent: int
    failed_kept: int | None
    retried_sent: int
    retried_done: int
    reminders_sent: int
    reminders_done: int
    reminders_early: int
    reminder_latest_s: float | None
    states: dict[str, int] | None
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every check is true."""
        return all(check.holds for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {"holds": self.holds, **asdict(self)}


def audit(folder: Folder) -> Audit:
    """Read the files of *folder* and judge them. No figure comes from the live view."""
    history = History(folder)
    history.read()
    placed = list(Tail(folder.sent).news())
    orders = [fact for fact in placed if fact["step"] == "order"]
    committed = _committed(folder)
    declined = {fact["order"] for fact in orders} - committed
    ledger = None if folder.is_stock else _ledger(folder)

    charged, receipted = _ended(history, "charge"), _ended(history, "receipt")
    done = committed & charged & receipted
    if ledger is not None:
        done &= _succeeded(ledger, "shop.charge") & _succeeded(ledger, "shop.receipt")
    ghosts = declined & set(history.of_step("charge", "receipt"))
    cut_off = [run for runs in history.runs.values() for run in runs if history.killed_at(run) is not None]
    recoveries = list(history.recoveries())
    delays = sorted(recovery.delay_s for recovery in recoveries)
    due = {fact["order"]: fact["due_at"] for fact in placed if fact["step"] == "reminder"}
    lateness = [run.began_at - due[run.order] for runs in history.of_step("reminder").values() for run in runs]

    figures: dict[str, Any] = {
        "side": folder.name,
        "sent": len(orders),
        "committed": len(committed),
        "rolled_back": len(declined),
        "done": len(done),
        "lost": len(committed - done),
        "ran_after_rollback": len(ghosts),
        "killed_processes": history.child_kills,
        "killed_workers": history.worker_kills,
        "cut_off": len(cut_off),
        "recovered": len(recoveries),
        "recovery_p50_s": _quantile(delays, 0.5),
        "recovery_p95_s": _quantile(delays, 0.95),
        "recovery_worst_s": _quantile(delays, 1.0),
        "overlapping": history.overlaps(),
        "finished_twice": sum(_times_finished(runs) > 1 for runs in history.runs.values()),
        "poison_sent": _count(placed, "poison"),
        "poison_runs": sum(map(len, history.of_step("poison").values())),
        "poison_quarantined": None if ledger is None else _in_state(ledger, "shop.poison", "quarantined"),
        "failed_sent": _count(placed, "broken"),
        "failed_kept": None if ledger is None else _in_state(ledger, "shop.broken", "failed"),
        "retried_sent": _count(placed, "flaky"),
        "retried_done": len(_ended(history, "flaky")),
        "reminders_sent": len(due),
        "reminders_done": len(_ended(history, "reminder")),
        "reminders_early": sum(late < 0 for late in lateness),
        "reminder_latest_s": round(max(lateness), 3) if lateness else None,
        "states": None if ledger is None else dict(sorted(Counter(task.state for task in ledger).items())),
    }
    return Audit(**figures, checks=tuple(_checks(figures, ledger, declined)))


def _checks(found: dict[str, Any], ledger: list[LedgerTask] | None, declined: set[str]) -> list[Check]:
    checks = [
        _equal("every committed order was charged and got its receipt", found, "done", found["committed"]),
        _equal("nothing was lost", found, "lost", 0),
        _equal("nothing of a rolled-back order ran", found, "ran_after_rollback", 0),
        _equal("every run that a SIGKILL cut off was run again", found, "recovered", found["cut_off"]),
        _equal("no two runs of a task overlapped", found, "overlapping", 0),
        _equal("every failing task succeeded by its retry", found, "retried_done", found["retried_sent"]),
        _equal("every reminder ran", found, "reminders_done", found["reminders_sent"]),
        _equal("no reminder ran early", found, "reminders_early", 0),
    ]
    if ledger is not None:
        unexplained = sum(task.state in UNEXPLAINED for task in ledger)
        ghosts = sum(task.order in declined for task in ledger)
        checks += [
            _equal("every poison task is quarantined", found, "poison_quarantined", found["poison_sent"]),
            _equal("every failed task is kept", found, "failed_kept", found["failed_sent"]),
            Check("the ledger has no unfinished task", unexplained == 0, str(unexplained)),
            Check("the ledger has no row of a rolled-back order", ghosts == 0, str(ghosts)),
        ]
    return checks


def _equal(claim: str, found: dict[str, Any], figure: str, expected: Any) -> Check:
    value = found[figure]
    return Check(claim, value == expected, f"{value} of {expected}" if expected else str(value))


def _committed(folder: Folder) -> set[str]:
    with closing(sqlite3.connect(folder.database)) as shop:
        return {row[0] for row in shop.execute("SELECT number FROM orders")}


def _ledger(folder: Folder) -> list[LedgerTask]:
    with closing(sqlite3.connect(folder.database)) as ledger:
        rows = ledger.execute("SELECT name, state, json_extract(args, '$[0]'), deaths FROM mirepoix_task_readable")
        return [LedgerTask(*row) for row in rows]


def _succeeded(ledger: list[LedgerTask], name: str) -> set[str]:
    return {task.order for task in ledger if task.name == name and task.state == "succeeded"}


def _in_state(ledger: list[LedgerTask], name: str, state: str) -> int:
    return sum(task.name == name and task.state == state for task in ledger)


def _ended(history: History, step: str) -> set[str]:
    return {order for order, runs in history.of_step(step).items() if _times_finished(runs)}


def _times_finished(runs: list[Run]) -> int:
    return sum(run.ended_at is not None and not run.has_raised for run in runs)


def _count(placed: list[dict[str, Any]], step: str) -> int:
    return sum(fact["step"] == step for fact in placed)


def _quantile(ordered: list[float], part: float) -> float | None:
    return round(ordered[ceil(part * len(ordered)) - 1], 3) if ordered else None
