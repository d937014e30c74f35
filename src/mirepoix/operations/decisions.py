"""The decisions about tasks: their verbs, the tasks that each changes, and why it refuses the others."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mirepoix.ledger import operate
from mirepoix.ledger.tx import Tx
from mirepoix.operations.format import one_line
from mirepoix.states import ATTENTION, State

Seen = dict[str, tuple[State, bool]]
"""Tasks by id: the state of each, and whether it has a due time."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One verb. *act* gets the tasks with their states, changes those that it may, and returns ``{id: its words}``."""

    verb: str
    done: str
    default_states: frozenset[State]
    act: Callable[[Tx, Seen, str], dict[str, str]]
    why_not: Mapping[State, str]
    is_end: bool = False
    """Whether it ends tasks before they ran. A chord that waits for such a task has to count it."""

    def forecast(self, state: State, *, has_due: bool) -> str:
        """Return in words what it would do to a task in that state."""
        if self.verb == "retry" and state is State.PENDING and has_due:
            return "will run now instead of later"
        why_not = None if state in self.default_states else self.why_not.get(state)
        return f"will be {self.done}" if why_not is None else f"will not be {self.done}: {why_not}"


_BUSY = {
    State.LEASED: "it is handed to a worker",
    State.RUNNING: "a worker is running it",
}
_NOT_WAITING = {
    **dict.fromkeys((State.LEASED, State.RUNNING), "a worker has it already"),
    **dict.fromkeys((State.FAILED, State.QUARANTINED, State.PARKED), "it waits for a decision: requeue it first"),
    **dict.fromkeys((State.SUCCEEDED, State.CANCELLED, State.EXPIRED), "it has ended"),
}
_DONE = {
    State.SUCCEEDED: "it succeeded",
    State.CANCELLED: "it is cancelled already",
    State.EXPIRED: "it has expired",
}


def _retry(tx: Tx, seen: Seen, reason: str) -> dict[str, str]:
    failed = [task_id for task_id, (state, _) in seen.items() if state is State.FAILED]
    waiting = [task_id for task_id, (state, has_due) in seen.items() if state is State.PENDING and has_due]
    done = dict.fromkeys(operate.requeue(tx, failed, reason), "requeued")
    return done | dict.fromkeys(operate.run_now(tx, waiting), "due now")


RETRY = Decision(
    "retry",
    "retried",
    frozenset({State.FAILED}),
    _retry,
    {
        State.PENDING: "it is waiting for a worker already",
        State.QUARANTINED: "it is quarantined: use requeue",
        State.PARKED: "it is parked: use requeue",
        **_BUSY,
        State.SUCCEEDED: "it succeeded: there is nothing to retry",
        State.CANCELLED: "it is cancelled: use requeue",
        State.EXPIRED: "it has expired: use requeue",
    },
)
REQUEUE = Decision(
    "requeue",
    "requeued",
    ATTENTION,
    lambda tx, seen, reason: dict.fromkeys(operate.requeue(tx, list(seen), reason), "requeued"),
    {State.PENDING: "it is waiting already", **_BUSY, State.SUCCEEDED: "it succeeded: send a new task"},
)
CANCEL = Decision(
    "cancel",
    "cancelled",
    frozenset({State.PENDING}),
    lambda tx, seen, reason: dict.fromkeys(operate.cancel(tx, list(seen), reason), "cancelled"),
    {
        State.LEASED: "it is handed to a worker: name the app (--app) to revoke it",
        State.RUNNING: "a worker is running it: name the app (--app) to revoke it, with --terminate to kill it",
        State.FAILED: "it failed: use discard",
        State.QUARANTINED: "it is quarantined: use discard",
        **_DONE,
    },
    is_end=True,
)
DISCARD = Decision(
    "discard",
    "discarded",
    ATTENTION,
    lambda tx, seen, reason: dict.fromkeys(operate.discard(tx, list(seen), reason), "discarded"),
    {State.PENDING: "it is waiting: use cancel", State.LEASED: "it is handed to a worker: use cancel",
     State.RUNNING: "a worker is running it: use cancel", **_DONE},
    is_end=True,
)  # fmt: skip


def moving(queue: str) -> Decision:
    """Return the decision that moves waiting tasks to *queue*."""
    return Decision(
        "move",
        f"moved to {one_line(queue)}",
        frozenset({State.PENDING}),
        lambda tx, seen, _: dict.fromkeys(operate.move(tx, list(seen), queue), f"moved to {one_line(queue)}"),
        {**_NOT_WAITING, State.PENDING: "it is in that queue already"},
    )


def prioritising(priority: int) -> Decision:
    """Return the decision that gives waiting tasks that priority."""
    done = f"set to priority {priority}"
    return Decision(
        "set-priority",
        done,
        frozenset({State.PENDING}),
        lambda tx, seen, _: dict.fromkeys(operate.set_priority(tx, list(seen), priority), done),
        {**_NOT_WAITING, State.PENDING: "it has that priority already"},
    )


def postponing(until: datetime | timedelta) -> Decision:
    """Return the decision that postpones waiting tasks until a time, or for a duration from now."""

    def act(tx: Tx, seen: Seen, _: str) -> dict[str, str]:
        delay_s = until.total_seconds() if isinstance(until, timedelta) else operate.seconds_until(tx, until)
        return dict.fromkeys(operate.postpone(tx, list(seen), max(0.0, round(delay_s, 3))), "postponed")

    return Decision(
        "postpone",
        "postponed",
        frozenset({State.PENDING}),
        act,
        {**_NOT_WAITING, State.PENDING: "it is due later than that already"},
    )


_OFFERED = {
    State.FAILED: ("retry", "discard"),
    State.QUARANTINED: ("requeue", "discard"),
    State.PARKED: ("requeue", "discard"),
    State.CANCELLED: ("requeue",),
    State.EXPIRED: ("requeue",),
    State.PENDING: ("cancel",),
}


def offered(state: State, *, has_due: bool) -> tuple[str, ...]:
    """Return the verbs that change a task in that state, the most useful first."""
    verbs = _OFFERED.get(state, ())
    return ("retry", *verbs) if state is State.PENDING and has_due else verbs


def decided_by(given: str | None) -> str:
    """Return the name that is recorded with a decision: *given*, or the user and host of this process."""
    return one_line(given) or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"
