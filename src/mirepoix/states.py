"""The states of a task and every transition between them: the only place where they are defined.

Each SQL file that writes a state names its transition in its first line, and a test compares the two. The drawing in
``docs/design/states.md`` is made from this table.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The state of a task. Every row of the ledger has exactly one."""

    PENDING = "pending"  # waits for a worker, now or until it is due
    LEASED = "leased"  # a worker has it; user code is not known to have begun
    RUNNING = "running"  # a worker has it; user code is known to have begun
    SUCCEEDED = "succeeded"  # final: the code returned (or raised Ignore)
    FAILED = "failed"  # final: the code raised and no retry is left; kept until a person decides
    QUARANTINED = "quarantined"  # it killed its worker too often; kept until a person decides
    PARKED = "parked"  # the workers' code cannot take it; kept until other code can or a person decides
    CANCELLED = "cancelled"  # final: revoked, purged or discarded before it ended
    EXPIRED = "expired"  # final: its expiry passed before it began


WAITING = frozenset({State.PENDING})
HELD = frozenset({State.LEASED, State.RUNNING})
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})
ATTENTION = frozenset({State.FAILED, State.QUARANTINED, State.PARKED})
"""Tasks in these states are kept until a person decides or newer code can take them."""


class AttemptOutcome(StrEnum):
    """How an attempt ended: the column ``outcome`` of its row in the history of attempts.

    A success has no row there unless its beginning was recorded. To add an outcome, add it here, pass it
    to `record` in `mirepoix.ledger.finish`, and describe it in docs/reference/schema.md.
    """

    SUCCEEDED = "succeeded"  # the code returned
    FAILED = "failed"  # the code raised, and no retry follows
    RETRIED = "retried"  # the code asked to run again, or a policy did
    PARKED = "parked"  # the code here cannot take the task
    CANCELLED = "cancelled"  # it was revoked
    EXPIRED = "expired"  # its expiry passed before it began
    RETURNED = "returned"  # it began, and its worker handed it back when it stopped
    REJECTED = "rejected"  # the task rejected itself back to its queue
    ROLLED_BACK = "rolled back"  # the database refused the COMMIT of a transactional task for the moment
    KILLED = "killed"  # its pool process died
    LOST = "lost"  # its worker died, or could not give it to its pool


UNSETTLED = frozenset({AttemptOutcome.LOST, AttemptOutcome.KILLED, AttemptOutcome.RETURNED})
"""After these outcomes the attempt's own process may still report another one."""


class Transition(NamedTuple):
    """A verb, the states that it starts from and the state that it ends in. ``None`` means that no row exists yet."""

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
    Transition(
        "replace_waiting", _from(State.PENDING), State.PENDING, "the sender of a unique task, in place of its call"
    ),
    Transition(
        "hold_taken",
        _from(State.LEASED),
        State.PENDING,
        "the lease holder: its name is paused; nothing is counted",
    ),
    Transition("hold_ready", _from(State.PENDING), State.PENDING, "a worker: the task's name is paused"),
    Transition("release_held", _from(State.PENDING), State.PENDING, "an operator or a worker: it is no longer paused"),
    Transition("postpone", _from(State.PENDING), State.PENDING, "an operator: it is due later"),
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
    Transition("cancel_at_limit", _from(State.PENDING), State.CANCELLED, "a sender: the limit has no room for it"),
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
