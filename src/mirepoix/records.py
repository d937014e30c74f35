"""The records that modules pass to each other. They are frozen and have no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

LEASE_HEADER = "mirepoix"
"""This header tells a worker's pool which attempt it runs. It is never stored."""

SENT_HEADER = "mirepoix_task"
"""This header, with the value true, marks the message of a task that is in the ledger. It is never stored."""

PROBE_HEADER = "mirepoix_probe"
"""This header marks a probe. A probe is not a task; it shows that a worker still consumes its queue."""

VERSION_HEADER = "mirepoix_version"
"""This header names the version of the task that wrote the payload. Without it the version is 1."""

UNSENT = -1
"""The value of ``Envelope.sent_fence`` for a task that the relay publishes at once."""

PROMISED = -2
"""The value of ``Envelope.sent_fence`` for a task that its sender publishes after the commit. If the sender does not,
the relay does."""

WEIGHT_HEADER = "mirepoix_weight"
"""This header holds how much a call counts towards a rate. Without it a call counts as 1."""


@dataclass(frozen=True, slots=True)
class AtLimitPolicy:
    """What a new call does if its limit has no room for it: ``drop`` itself, or ``cancel`` older calls that wait."""

    action: str
    running: int | None
    """How many calls of a key the code allows at once. It counts until the ledger has the limit."""
    return_ended: Any = field(compare=False)
    """Called with the transaction, the ids of the calls that were ended, and the reason. Their chords count them."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The message of a task as Celery built it, and the columns that the ledger sorts by.

    ``body`` is text: the serialised arguments, or their base64 if they are not UTF-8 (``body_encoding`` says which).
    ``eta`` and ``expires`` are ISO 8601 with an offset, or ``None``.
    """

    id: str
    name: str
    queue: str
    body: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    body_encoding: str = "utf-8"
    priority: int = 0
    exchange: str = ""
    routing_key: str = ""
    eta: str | None = None
    expires: str | None = None
    eta_in_s: float | None = None
    """The duration that the caller gave as ``countdown``. The ledger adds it to its own clock and ignores ``eta``,
    which follows the sender's clock."""
    expires_in_s: float | None = None
    """The duration that the caller gave as ``expires``. The ledger adds it to its own clock and ignores ``expires``."""
    asked_at: float = 0.0
    """When these two durations began, by the monotonic clock of the sender's host."""
    retries: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    sent_fence: int | None = None
    """`UNSENT` or `PROMISED` with a broker, ``None`` without."""
    version: int = 1
    """The version of its task's arguments."""
    shape: str | None = None
    """The shape of the call, without values, as `mirepoix.signatures.call_codec` writes it; ``None`` if unknown."""
    written_by: str | None = None
    """The versions of Celery and kombu that built the message; ``None`` if another program built it."""
    limit_key: str | None = None
    """The key of the task's limit: the limit's name, and a colon and a value if it has one. ``None``: no limit."""
    at_limit: AtLimitPolicy | None = None
    """What happens if the limit has no room. ``None``: the task waits. It has no column."""
    follows: bool = False
    """Whether it follows from a task that has ended (a link, the rest of a chain, a chord's body). It has no column."""


class IncompatibilityKind(StrEnum):
    """Why a worker's code cannot take a task. A worker with fitting code resumes the task automatically."""

    TASK = "task"  # the code has no task of that name
    VERSION = "version"  # the payload is newer than the code, or an upcaster is missing
    ARGUMENTS = "arguments"  # the arguments do not fit the signature
    UPCAST = "upcast"  # an upcaster failed


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a task. It is valid while its worker is alive and no lease with a higher fence exists."""

    task_id: str
    fence: int
    worker_id: str

    @property
    def key(self) -> tuple[str, int]:
        """The task's id and the fence, which together identify the attempt."""
        return (self.task_id, self.fence)


@dataclass(frozen=True, slots=True)
class Taken:
    """A leased task as a worker receives it."""

    lease: Lease
    queue: str
    name: str
    body: str
    body_encoding: str
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    properties: dict[str, Any]
    exchange: str
    routing_key: str
    priority: int
    is_redelivered: bool
    written_by: str | None = None
    is_suspect: bool = False
    """Whether a worker died while it held the task, for an unknown reason."""
    expires: str | None = None
    """When it expires, by the clock of this host, in ISO 8601. The message's header follows the sender's clock."""
    waited_s: float | None = None
    """How long it had been ready; ``None`` if that is unknown."""
    limit_key: str | None = None
    """The key of its limit, if a limit let it through."""
    taken_at: float = 0.0
    """When it was taken, in seconds since 1970 by the clock of this host."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A task at *fence* that has to be published to the broker."""

    envelope: Envelope
    fence: int


@dataclass(frozen=True, slots=True)
class Result:
    """The stored result of a task: Celery's name of its status, and the value or error as text.

    ``result`` is what the result serializer wrote, or its base64 if that is not text. ``meta`` is a JSON object with
    the other fields of a result in Celery.
    """

    task_id: str
    status: str
    result: str | None
    traceback: str | None = None
    meta: str = "{}"
    content_type: str = "application/json"
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A member of a chord that has ended, with success or failure. ``result`` is serialised."""

    group_id: str
    task_id: str
    position: int | None
    status: str
    result: str | None
    origin: Any = field(default=None, compare=False)
    """Celery's request of the member. If this part is the last, it sends the chord's body. It is never stored."""


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord that begins. Its body is sent when ``size`` parts have ended. It is written together with its members."""

    group_id: str
    size: int


@dataclass(frozen=True, slots=True)
class SavedGroup:
    """The ids of a group's results, nested as the group was. ``result`` is JSON."""

    group_id: str
    result: str
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event of Celery, in kombu's form of a message, for the queues that are bound to its exchange."""

    exchange: str
    routing_key: str
    message: str
    is_fanout: bool = False


Outgoing = Envelope | Chord | SavedGroup | Event
"""Everything that a transaction can send."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A success that sends nothing. Completions are recorded in batches, with their results."""

    lease: Lease
    run_time_s: float | None = None
    peak_memory_kb: int | None = None
    reason: str | None = None
    pid: int | None = None
    results: tuple[Result, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """Why an attempt failed, as the ledger stores it."""

    reason: str
    error_type: str | None = None
    traceback: str | None = None
    signal: int | None = None
    exit_code: int | None = None
    pid: int | None = None
    run_time_s: float | None = None
    peak_memory_kb: int | None = None
    release: str | None = None
    """The version of the code that failed, if the setting ``release`` names it."""
    evidence: str | None = None
    """More facts about a death, as text for the history of attempts. They are not part of the cause."""
    note: str | None = None
    """What happens next, as text for the task's row: which attempt follows, or why none does."""
    name: str | None = None
    """The task that ran. ``None``: the task's row has its name still, because no retry has changed it."""

    @property
    def full_reason(self) -> str:
        return self.reason if self.note is None else f"{self.reason} ({self.note})"


class RelayRole(IntEnum):
    """Whether a process may publish the tasks that wait for the broker.

    The process with the highest role leads. Among equal roles the oldest process leads.
    """

    NONE = 0
    WORKER = 1
    """A worker that relays beside its tasks."""
    DEDICATED = 2
    """A process that only relays: ``mirepoix relay``."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One incarnation of a worker process, as it registers in the ledger."""

    id: str
    name: str
    host: str
    pid: int
    pool: str = ""
    concurrency: int = 0
    queues: tuple[str, ...] = ()
    software: dict[str, str] = field(default_factory=dict)
    relay_role: RelayRole = RelayRole.NONE
    process: str | None = None
    """Identifies the process and its host, as `mirepoix.daemons.process` writes it."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The row of another worker that is believed to be alive."""

    id: str
    name: str
    liveness_key: int
    process: str | None
    """Identifies the process, as `mirepoix.daemons.process` writes it; ``None`` for a worker of an older release."""
    heartbeat: Any
    """The time of its latest heartbeat, as the database writes it. It is only good for comparisons."""
    ttl_s: float
    """How long a heartbeat counts."""


@dataclass(frozen=True, slots=True)
class LostTask:
    """A task that was taken back from a dead process, and its new state."""

    task_id: str
    name: str
    fence: int
    state: str
    was_started: bool


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert, as every channel gets it.

    It contains no arguments of tasks. ``title`` and ``traceback`` (of the newest failure) have the exception's type,
    and its message without the values. ``occasion`` counts how often the condition came back.
    """

    id: str
    kind: str
    """``new_failure``, ``regression``, ``quarantine``, ``parked``, ``late_queue`` or ``no_workers``."""
    subject: str
    """What it is about: the id of a failure group, a task's name or a queue."""
    title: str
    """One line for people."""
    occasion: int = 1
    opened_at: datetime | None = None
    name: str | None = None
    """The task's name."""
    task_id: str | None = None
    """One task as an example."""
    queue: str | None = None
    release: str | None = None
    url: str | None = None
    """Its page in Django's admin, if ``alerts_base_url`` is set."""
    traceback: str | None = None
    """The files, lines and code of the traceback."""
    lines: tuple[str, ...] = ()
    """The lines of a summary: one for each alert, the worst first."""
    closed_at: datetime | None = None
    """When the condition ended; ``None`` while it lasts. Webhooks and Sentry are notified of the end too."""
