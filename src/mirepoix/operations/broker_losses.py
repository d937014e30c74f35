"""Judge what a broker has lost, and which workers it sends nothing to, by comparing its messages with the ledger.

The ledger is authoritative: a task that waits there has to be taken, and the broker's message only says so. Three
signs show that messages are missing, the fastest first:

* the broker was away, and now has fewer messages in a queue than it should have;
* a queue is empty or gone, and tasks with older messages still wait `EMPTY_S` later (a worker that cannot take a task
  gives its message back sooner);
* a task waits longer than a deadline, which depends on how long others of its queue have waited lately.

A wrong guess costs a second message, which is refused. If a broker can only estimate its messages (SQS, for example),
only the deadline works. Nothing here reads the broker or the ledger: the caller counts, and publishes again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mirepoix.config import MOST_AHEAD, Settings
from mirepoix.ledger.sending import Listener, QueueInBroker, QueueSeen

EMPTY_S = 2.5
"""How long a queue must be empty. Workers hold messages that they cannot take for `broker_consumer.HOLD_S`, 1 s."""

WAITS = 3.0
"""A task may wait so many times as long as the slowest task of its queue lately."""

LONGEST_WITHOUT_SIGN_S = 600.0
"""If the broker has enough messages, a task is published again after this time at the earliest. Messages of other
programs may make up the number."""

FADES = 0.98
"""The factor by which each look reduces the longest wait."""

PROBES_MISSED = 2.5
"""The least number of probe intervals between a stalled worker's last message and the newest probe. A single probe
proves nothing, because another worker may have taken it."""


@dataclass(frozen=True, slots=True)
class Balance:
    """One queue. *missing* counts messages that the broker should have and that neither it nor a worker has.

    If the broker cannot count its messages, *in_broker* is None and *missing* is 0.
    """

    queue: str
    ready: int
    sent: int
    unsent: int
    in_broker: int | None
    in_hand: int
    missing: int
    sent_again: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """The messages of one queue that were published more than *older_than_s* ago have to be published again."""

    older_than_s: float
    why: str


class LossJudge:
    """The judge of one broker. It remembers earlier looks."""

    def __init__(self, settings: Settings, prefetch: int) -> None:
        self._settings = settings
        self._prefetch = prefetch
        self._empty_since: dict[str, float] = {}
        self._waits: dict[str, float] = {}

    def forget_empty(self, *, but: Collection[str] = ()) -> None:
        """Forget since when queues have been empty, except for these."""
        self._empty_since = {queue: since for queue, since in self._empty_since.items() if queue in but}

    def note_waits(self, longest_s: Mapping[str, float]) -> None:
        """Record how long the slowest task of each queue has waited lately."""
        self._waits = {
            queue: max(longest_s.get(queue, 0.0), FADES * self._waits.get(queue, 0.0))
            for queue in {*longest_s, *self._waits}
        }

    def after_outage(
        self, queue: QueueInBroker, messages: int | None, listeners: Iterable[Listener], *, was_away: bool
    ) -> Loss | None:
        """Return the loss of a broker that *was_away*, or at the first look. *messages* is None if there is no queue.

        Messages that workers may have received do not count as missing. Workers that have just connected have few;
        others have as many as they take at a time.
        """
        held = in_hand(queue.queue, listeners, self._settings, self._prefetch if was_away else None)
        if messages is None or shortfall(queue, messages, held):
            return Loss(0.0, f"of {queue.sent} messages the broker has {messages or 0}")
        return None

    def at_look(self, queue: str, messages: int | None, now: float) -> Loss | None:
        """Return the loss that an empty or missing queue shows at *now*. *messages* is None if there is no queue."""
        if messages is None:
            return Loss(0.0, "the broker has no such queue")
        if messages:
            self._empty_since.pop(queue, None)
            return None
        since = self._empty_since.setdefault(queue, now)
        if now - since < EMPTY_S:
            return None
        del self._empty_since[queue]
        return Loss(now - since, "the broker's queue is empty")

    def deadline_s(self, queue: QueueInBroker, messages: int | None) -> float:
        """Return how long a published task may wait. *messages* is None if the broker cannot count its messages."""
        has_all = messages is None or messages >= queue.sent
        return max(
            self._settings.resend_after_s,
            WAITS * self._waits.get(queue.queue, 0.0),
            LONGEST_WITHOUT_SIGN_S if has_all else 0.0,
        )


def in_hand(queue: str, listeners: Iterable[Listener], settings: Settings, prefetch: int | None = None) -> int:
    """Return the most messages of a queue that workers may have received and not acknowledged.

    With *prefetch*, for workers that have just connected, it is so many messages for each task that can run at once.
    """
    return sum(
        max(MOST_AHEAD, listener.concurrency) if prefetch is None else prefetch * listener.concurrency
        for listener in listeners
        if queue in listener.queues
    )


def shortfall(queue: QueueInBroker, messages: int, held: int) -> int:
    """Return how many published messages are neither in the broker nor with a worker."""
    return max(0, queue.sent - messages - held)


def balance(queue: QueueInBroker, messages: int | None, listeners: Iterable[Listener], settings: Settings) -> Balance:
    """Compare a queue of the ledger with the broker's. *messages* is None if the broker cannot count them."""
    held = in_hand(queue.queue, listeners, settings)
    missing = 0 if messages is None else min(queue.settled, shortfall(queue, messages, held))
    unsent = queue.ready - queue.sent
    return Balance(queue.queue, queue.ready, queue.sent, unsent, messages, min(held, queue.sent), missing)


def unaccounted(balances: Iterable[Balance], stranded: int, *, is_relayed: bool) -> int:
    """Count the tasks that nobody looks after: lost messages, unsent messages without a relay, and stranded tasks."""
    return stranded + sum(row.missing + (0 if is_relayed else row.unsent) for row in balances)


def stalled_queues(
    silent_s: float, queues: Iterable[str], seen: Iterable[QueueSeen], probe_interval_s: float
) -> list[str]:
    """Return the worker's queues with probes that were newer than its last message, *silent_s* ago."""
    if not probe_interval_s:
        return []
    wanted = set(queues)
    return sorted(
        queue.queue
        for queue in seen
        if queue.queue in wanted
        and queue.probed_s is not None
        and silent_s - queue.probed_s >= PROBES_MISSED * probe_interval_s
    )


def stalled_listeners(
    listeners: Iterable[Listener], seen: Collection[QueueSeen], probe_interval_s: float
) -> list[Listener]:
    """Return the workers that are connected to the broker and receive nothing."""
    return [
        listener for listener in listeners if stalled_queues(listener.silent_s, listener.queues, seen, probe_interval_s)
    ]
