"""The states of a task and every transition between them: the only place where they are defined.

Each SQL file that writes a state names its transition in its first line; a test compares the two,
and the drawing in ``docs/design/states.md`` is made from this table.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a task is. Every row of the ledger is in exactly one of these."""

    PENDING = "pending"  # waiting to be taken, now or when it is due
    LEASED = "leased"  # handed to a worker, user code not known to have started
    RUNNING = "running"  # handed to a worker, user code known to have started
    SUCCEEDED = "succeeded"  # final: the code returned (or raised Ignore)
    FAILED = "failed"  # final: the code raised and no retry is left; kept until someone decides
    QUARANTINED = "quarantined"  # killed its worker too often; kept until someone decides
    PARKED = "parked"  # no code here can take it; kept until code or someone can
    CANCELLED = "cancelled"  # final: revoked, purged or discarded before it ran to an end
    EXPIRED = "expired"  # final: its expiry passed before it was started


WAITING = frozenset({State.PENDING})
HELD = frozenset({State.LEASED, State.RUNNING})
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})
ATTENTION = frozenset({State.FAILED, State.QUARANTINED, State.PARKED})
"""What is kept until a person, or newer code, decides."""


class Transition(NamedTuple):
    """One verb: the states it may start from and the one it ends in. ``None`` means no row yet."""

    verb: str
    sources: frozenset[State | None]
    target: State
    who: str


def _from(*sources: State | None) -> frozenset[State | None]:
    return frozenset(sources)


TRANSITIONS: tuple[Transition, ...] = (
    Transition("enqueue", _from(None), State.PENDING, "the caller's transaction"),
    Transition("rearm", _from(*FINAL), State.PENDING, "the sender, when a finished task's id is sent again"),
    Transition("release_due", _from(State.PENDING), State.PENDING, "any worker, when the task is due"),
    Transition("run_now", _from(State.PENDING), State.PENDING, "an operator: a waiting ETA or retry runs now"),
    Transition("take", _from(State.PENDING), State.LEASED, "a worker; the fence rises by one"),
    Transition(
        "resume_parked", _from(State.PARKED), State.LEASED, "a worker with code that can run it; the fence rises by one"
    ),
    Transition("start", _from(State.LEASED), State.RUNNING, "the lease holder"),
    Transition("succeed", _from(*HELD), State.SUCCEEDED, "the lease holder"),
    Transition("fail", _from(*HELD), State.FAILED, "the lease holder"),
    Transition("retry", _from(*HELD), State.PENDING, "the lease holder; the message is replaced"),
    Transition("give_back", _from(*HELD), State.PENDING, "the lease holder; nothing is counted"),
    Transition("park", _from(*HELD), State.PARKED, "the lease holder"),
    Transition("revoke", _from(*HELD), State.CANCELLED, "the lease holder"),
    Transition("expire_held", _from(*HELD), State.EXPIRED, "the lease holder"),
    Transition("lose", _from(*HELD), State.PENDING, "the reaper, or the worker of a dead pool process"),
    Transition("quarantine", _from(*HELD), State.QUARANTINED, "the reaper, or the worker of a dead pool process"),
    Transition("expire", _from(State.PENDING), State.EXPIRED, "the reaper"),
    Transition("cancel", _from(State.PENDING, State.PARKED), State.CANCELLED, "an operator, or Celery's revoke"),
    Transition("purge", _from(State.PENDING), State.CANCELLED, "an operator (celery purge)"),
    Transition("discard", _from(*ATTENTION), State.CANCELLED, "an operator"),
    Transition(
        "requeue",
        _from(State.FAILED, State.QUARANTINED, State.PARKED, State.CANCELLED, State.EXPIRED),
        State.PENDING,
        "an operator",
    ),
    Transition("take_back", _from(State.PENDING), State.FAILED, "an operator: a replay is undone"),
    Transition("take_back_quarantined", _from(State.PENDING), State.QUARANTINED, "an operator: a replay is undone"),
)
