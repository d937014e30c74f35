"""The values that cross module borders: frozen, and without behaviour of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

LEASE_HEADER = "mirepoix"
"""The header by which a worker tells its pool which attempt it is running. Never stored."""

SENT_HEADER = "mirepoix_task"
"""The header by which a worker knows a message whose task is in the ledger: its value is true. Never stored."""

PROBE_HEADER = "mirepoix_probe"
"""The header of a message that is no task: it only shows that somebody still listens to its queue."""

VERSION_HEADER = "mirepoix_version"
"""The header that says under which version of its task a payload was written; without it: version 1."""

UNSENT = -1
"""As an envelope's ``sent_fence``: the relay publishes it, at once."""

PROMISED = -2
"""As an envelope's ``sent_fence``: its sender publishes it after the commit; the relay does if that did not happen."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The message of one task as Celery built it, and the facts the ledger sorts by.

    ``body`` is text: the serialised arguments as they are, or base64 of them where they are not UTF-8
    (``body_encoding``). ``eta`` and ``expires`` are ISO 8601 with an offset, or ``None``.
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
    """Where the caller gave a duration (``countdown``): that. The ledger adds it to its own clock. Then ``eta`` does
    not count: the sender made it by its own clock."""
    expires_in_s: float | None = None
    """The same for ``expires``."""
    asked_at: float = 0.0
    """When these durations began, by the monotonic clock of the sender's host."""
    retries: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    sent_fence: int | None = None
    """Who tells the broker of it, `UNSENT` or `PROMISED`; None where the ledger delivers it itself."""
    version: int = 1
    """The version of its task's arguments."""
    shape: str | None = None
    """What it calls, without values, as `mirepoix.signatures.call_codec` writes it; None if that cannot be told."""
    written_by: str | None = None
    """The versions of Celery and kombu that built it; None where another program did."""
    follows: bool = False
    """Whether it follows from a task that has ended (a link, the rest of a chain, a chord's body); no column."""


class IncompatibilityKind(StrEnum):
    """What the code that took a task lacks. Other code may have it: then the task is taken up by itself."""

    TASK = "task"  # no task of that name
    VERSION = "version"  # the payload is newer, or there is no upcaster on the way
    ARGUMENTS = "arguments"  # they do not fit the signature
    UPCAST = "upcast"  # an upcaster failed


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run one task: valid while its worker lives and nobody took a higher fence."""

    task_id: str
    fence: int
    worker_id: str

    @property
    def key(self) -> tuple[str, int]:
        """What identifies the attempt: ``(task id, fence)``."""
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
    """Whether a worker died that held it, and nobody knows of what."""
    expires: str | None = None
    """When it expires, by the clock of this host: ISO 8601. Its header is by the clock of whoever sent it."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A task that the broker is to be told of, as it stands at that *fence*."""

    envelope: Envelope
    fence: int


@dataclass(frozen=True, slots=True)
class Result:
    """What is kept of a task for those who ask: its status in Celery's words, and the value or error as text.

    ``result`` is as the result serializer wrote it, base64 of that where it is not text. ``meta`` is a JSON object of
    everything else that Celery tells of a result.
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
    """One member of a chord that has returned, whether it succeeded or not. ``result`` is serialised."""

    group_id: str
    task_id: str
    position: int | None
    status: str
    result: str | None
    origin: Any = field(default=None, compare=False)
    """What the chord's body is sent with, if this part is the last: Celery's request of the member. Never stored."""


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord that begins: how many parts have to return before its body is sent. Written with its members."""

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
    """One of Celery's events, as kombu holds a message, for the queues that are bound to its exchange."""

    exchange: str
    routing_key: str
    message: str
    is_fanout: bool = False


Outgoing = Envelope | Chord | SavedGroup | Event
"""What a transaction may send."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A task that ran to its end and sends nothing: recorded in batches, with its result."""

    lease: Lease
    run_time_s: float | None = None
    peak_memory_kb: int | None = None
    reason: str | None = None
    pid: int | None = None
    results: tuple[Result, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """What went wrong in an attempt, in words that the ledger keeps."""

    reason: str
    error_type: str | None = None
    traceback: str | None = None
    signal: int | None = None
    exit_code: int | None = None
    pid: int | None = None
    run_time_s: float | None = None
    peak_memory_kb: int | None = None
    release: str | None = None
    """The version of the code that failed, where it says so."""
    evidence: str | None = None
    """What else was seen of a death, in words for the history of attempts; it is no part of the cause."""
    note: str | None = None
    """What follows from it, in words for the task's row: which attempt comes next, or why none does."""

    @property
    def full_reason(self) -> str:
        """The reason with the note."""
        return self.reason if self.note is None else f"{self.reason} ({self.note})"


class RelayRole(IntEnum):
    """Whether a process publishes what waits for the broker. The highest role leads, and of equal ones the oldest."""

    NONE = 0
    WORKER = 1
    """A worker that relays beside its tasks."""
    DEDICATED = 2
    """A process that only relays: ``mirepoix relay``."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One incarnation of a worker process, as it registers itself."""

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
    """Which process of which host it is, as `mirepoix.daemons.process` writes it."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another worker that is believed to be alive, as its row stands at one moment."""

    id: str
    name: str
    liveness_key: int
    process: str | None
    """Which process it is, as `mirepoix.daemons.process` writes it; None for one of an older release."""
    heartbeat: Any
    """When its latest heartbeat came, as the database writes it: only to be compared."""
    ttl_s: float
    """How long that is good for."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A task that was taken back from a dead process, and where it went."""

    task_id: str
    name: str
    fence: int
    state: str
    was_started: bool


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person would want to hear, as every channel gets it.

    It holds no arguments of tasks and no message of an exception: ``title`` and ``traceback`` (of the newest failure)
    have the exception's type and its message without the values. ``occasion`` counts how often it came back.
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
    """Its place in Django's admin, where ``alerts_base_url`` says where that is."""
    traceback: str | None = None
    """Where it was raised: files, lines and code."""
    lines: tuple[str, ...] = ()
    """Of a summary: each alert in a line, the worst first."""
    closed_at: datetime | None = None
    """When it was over; None: it is open. Webhooks and Sentry are told of that too."""
