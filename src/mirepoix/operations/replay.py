"""Run the failed tasks of one cause again, a few first and the others at a limited rate; and undo that.

Each batch is one transaction. `Replay.stop` ends a replay between two transactions. What is committed stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mirepoix.connect.source import OwnConnection
from mirepoix.ledger import operate
from mirepoix.ledger import replay as ledger_replay
from mirepoix.ledger.query.failures import Group
from mirepoix.ledger.replay import Chosen, Replayed
from mirepoix.operations.batches import BATCH, deciding
from mirepoix.operations.format import HANDED, count, duration
from mirepoix.states import State

PROGRESS_S = 5.0
"""How often a replay reports its progress."""

LOOK_S = 0.5
"""How often a replay checks whether the canaries have ended."""

BATCHES_A_SECOND = 10
"""The most batches in a second. A faster replay has larger batches."""

DONE = "done"
FAILED_AGAIN = ("failed again, to be retried", "failed again", "quarantined again")
"""The words of `became` for a task that failed again."""


@dataclass(slots=True)
class Replay:
    """A replay that runs. ``outcome`` is its result in the end."""

    id: str
    group: Group
    chosen: Sequence[Chosen]
    reason: str
    rate_per_s: float
    by: str
    report: Callable[[str], None]
    """Called with a line about the progress, every few seconds."""
    replayed: list[str] = field(default_factory=list)
    not_well: list[Replayed] = field(default_factory=list)
    outcome: str = "interrupted"
    is_stopped: bool = False
    advanced: Callable[[int], None] | None = None
    """Called after each commit with the number of tasks so far, instead of *report* every few seconds."""
    due_at: float = 0.0
    next_word_at: float = 0.0

    def stop(self) -> None:
        """Begin no other batch. A signal handler may call this."""
        self.is_stopped = True


def begin(
    connection: OwnConnection,
    group: Group,
    chosen: Sequence[Chosen],
    *,
    canaries: int,
    rate_per_s: float,
    by: str,
    reason: str,
    report: Callable[[str], None],
) -> Replay:
    """Record that a replay of *chosen* begins."""
    first = min(canaries, len(chosen))
    with deciding(connection) as tx:
        id = ledger_replay.begin(tx, group.id, by, reason, tasks=len(chosen), canaries=first, rate_per_s=rate_per_s)
    return Replay(id, group, chosen, reason, rate_per_s, by, report)


def carry_out(connection: OwnConnection, replay: Replay, canaries: int, wait_s: float) -> None:
    """Run *canaries* of the tasks, wait up to *wait_s* until all of them succeed, then run the others."""
    replay.due_at = time.monotonic()
    first, rest = replay.chosen[:canaries], replay.chosen[canaries:]
    if first:
        _run_again(connection, replay, first)
        replay.report(f"{count(len(replay.replayed), 'task')} replayed first; waiting for the end of each")
        if not _ended_well(connection, replay, wait_s):
            return
        replay.due_at = time.monotonic()
    _run_again(connection, replay, rest)
    if not replay.is_stopped:
        replay.outcome = DONE


def end(connection: OwnConnection, replay: Replay) -> None:
    """Record how the replay ended."""
    with deciding(connection) as tx:
        ledger_replay.end(tx, replay.id, replay.outcome)


def take_back(
    connection: OwnConnection,
    replay_id: str,
    by: str,
    taken_back: list[str],
    advanced: Callable[[int], None] = lambda _: None,
) -> None:
    """Undo a replay for the tasks that no worker has taken. After each commit add their ids to *taken_back*.

    Then *advanced* is called with their number.

    Each task is again what it was before: failed or quarantined, with its reason, history and result.
    """
    while True:
        with deciding(connection) as tx:
            batch = ledger_replay.take_back(tx, replay_id, BATCH)
            operate.note(tx, batch, "undo", by, f"taken back: replay {replay_id}")
        taken_back += batch
        advanced(len(taken_back))
        if len(batch) < BATCH:
            return


def became(task: Replayed) -> str:
    """Return in words what became of a task that was run again."""
    if task.is_undone:
        return "taken back"
    if task.is_trying:
        return "failed again, to be retried"
    if task.state in (State.FAILED, State.QUARANTINED):
        return f"{task.state} again"
    return {State.PENDING: "waiting", State.LEASED: HANDED}.get(task.state, task.state.value)


def _run_again(connection: OwnConnection, replay: Replay, chosen: Sequence[Chosen]) -> None:
    """Run the tasks batch by batch, at the replay's rate."""
    size = max(1, min(BATCH, int(replay.rate_per_s / BATCHES_A_SECOND)))
    for start in range(0, len(chosen), size):
        _sleep_until(replay, replay.due_at)
        if replay.is_stopped:
            return
        batch = chosen[start : start + size]
        # Count from now and not from the due time, so that a late batch causes no burst.
        replay.due_at = time.monotonic() + len(batch) / replay.rate_per_s
        with deciding(connection) as tx:
            done = ledger_replay.run_again(tx, replay.id, batch, replay.reason, replay.by)
        replay.replayed += done
        _report_progress(replay)


def _report_progress(replay: Replay) -> None:
    """Report every few seconds, so that a long replay is not silent."""
    if replay.advanced is not None:
        replay.advanced(len(replay.replayed))
        return
    now = time.monotonic()
    if now >= replay.next_word_at:
        if replay.next_word_at:
            replay.report(f"{len(replay.replayed):,} of {count(len(replay.chosen), 'task')} replayed")
        replay.next_word_at = now + PROGRESS_S


def _ended_well(connection: OwnConnection, replay: Replay, wait_s: float) -> bool:
    """Wait until the replayed tasks have ended. Return whether all succeeded. If not, the outcome says why."""
    deadline = time.monotonic() + wait_s
    while not replay.is_stopped:
        with connection.reading() as tx:
            seen = ledger_replay.progress(tx, replay.id)
        replay.not_well = [task for task in seen if task.is_over and task.state is not State.SUCCEEDED]
        if replay.not_well:
            replay.outcome = "a canary failed"
            return False
        if all(task.is_over for task in seen):
            return True
        if time.monotonic() > deadline:
            replay.not_well = [task for task in seen if not task.is_over]
            replay.outcome = f"a canary did not end within {duration(wait_s)}"
            return False
        _sleep_until(replay, time.monotonic() + LOOK_S)
    return False


def _sleep_until(replay: Replay, moment: float) -> None:
    while not replay.is_stopped and (pause_s := moment - time.monotonic()) > 0:
        time.sleep(min(pause_s, 0.1))
