"""Judge what a broker has lost, and which workers it sends nothing to, by comparing what it has with the ledger.

Who is authoritative: the ledger. Whatever waits there is due to be taken; the broker's messages only say so. Three
signs tell that messages are missing, the fastest first:

* the broker was away: what it has now is compared with what it should have, queue by queue;
* a queue is empty or gone, and tasks whose messages were sent before that was seen are still waiting `EMPTY_S` later
  (a worker that cannot take a task gives its message back sooner);
* a task waits longer than a deadline that follows how long others of its queue have waited lately.

A wrong guess costs a message that comes twice, which is refused. Of a broker that cannot tell how many messages wait
(SQS and the like, which estimate) only the deadline is left. Nothing here reads the broker or the ledger: the caller
counts, and mends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mirepoix.config import MOST_AHEAD, Settings
from mirepoix.ledger.sending import Listener, QueueInBroker, QueueSeen

EMPTY_S = 2.5
"""How long an empty queue is watched. Workers hold messages that they cannot take for `broker_consumer.HOLD_S`, 1 s."""

WAITS = 3.0
"""A task may wait this many times as long as the slowest of its queue lately."""

LONGEST_WITHOUT_SIGN_S = 600.0
"""What the broker seems to have, by the number of its messages, is published again after this long at the earliest:
messages of others may make up the number."""

FADES = 0.98
"""How fast a longest wait is forgotten, at each look."""

PROBES_MISSED = 2.5
"""So many probe intervals must lie between the last message that a worker received and the newest probe. One probe that
another worker took proves nothing."""


@dataclass(frozen=True, slots=True)
class Balance:
    """One queue. *missing*: messages that the broker should have, and has not, and that no worker has in hand.

    Where the broker cannot tell how many it has, *in_broker* is None and none are missing.
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
    """The messages of one queue that were sent more than *older_than_s* ago are to be sent again."""

    older_than_s: float
    why: str


class LossJudge:
    """Judges one broker. It remembers what it saw at earlier looks."""

    def __init__(self, settings: Settings, prefetch: int) -> None:
        self._settings = settings
        self._prefetch = prefetch
        self._empty_since: dict[str, float] = {}
        self._waits: dict[str, float] = {}

    def forget_empty(self, *, but: Collection[str] = ()) -> None:
        """Forget since when queues have been empty, except for these."""
        self._empty_since = {queue: since for queue, since in self._empty_since.items() if queue in but}

    def note_waits(self, longest_s: Mapping[str, float]) -> None:
        """Take note of how long the slowest task of each queue has waited lately."""
        self._waits = {
            queue: max(longest_s.get(queue, 0.0), FADES * self._waits.get(queue, 0.0))
            for queue in {*longest_s, *self._waits}
        }

    def after_outage(
        self, queue: QueueInBroker, messages: int | None, listeners: Iterable[Listener], *, was_away: bool
    ) -> Loss | None:
        """The loss of a broker that *was_away*, or that nobody has looked at before. *messages*: None for no queue.

        What workers have in hand does not count as missing: little, if they have just connected, or as much as they
        take at a time.
        """
        held = in_hand(queue.queue, listeners, self._settings, self._prefetch if was_away else None)
        if messages is None or shortfall(queue, messages, held):
            return Loss(0.0, f"of {queue.sent} messages the broker has {messages or 0}")
        return None

    def at_look(self, queue: str, messages: int | None, now: float) -> Loss | None:
        """The loss that an empty or missing queue shows at time *now*. *messages*: None if there is no such queue."""
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
        """How long a sent task of the queue may wait. *messages*: None if the broker cannot tell how many it has."""
        has_all = messages is None or messages >= queue.sent
        return max(
            self._settings.resend_after_s,
            WAITS * self._waits.get(queue.queue, 0.0),
            LONGEST_WITHOUT_SIGN_S if has_all else 0.0,
        )


def in_hand(queue: str, listeners: Iterable[Listener], settings: Settings, prefetch: int | None = None) -> int:
    """How many messages of a queue workers may have received and not acknowledged, at the most.

    *prefetch* messages for each place, for workers that have just connected.
    """
    return sum(
        max(MOST_AHEAD, listener.concurrency) if prefetch is None else prefetch * listener.concurrency
        for listener in listeners
        if queue in listener.queues
    )


def shortfall(queue: QueueInBroker, messages: int, held: int) -> int:
    """How many of the messages that were sent are neither in the broker nor with a worker."""
    return max(0, queue.sent - messages - held)


def balance(queue: QueueInBroker, messages: int | None, listeners: Iterable[Listener], settings: Settings) -> Balance:
    """Compare one queue of the ledger with the broker's. *messages*: None if the broker cannot tell."""
    held = in_hand(queue.queue, listeners, settings)
    missing = 0 if messages is None else min(queue.settled, shortfall(queue, messages, held))
    unsent = queue.ready - queue.sent
    return Balance(queue.queue, queue.ready, queue.sent, unsent, messages, min(held, queue.sent), missing)


def unaccounted(balances: Iterable[Balance], stranded: int, *, is_relayed: bool) -> int:
    """How many tasks nobody looks after: lost messages, unsent messages without a relay, and tasks of dead workers."""
    return stranded + sum(one.missing + (0 if is_relayed else one.unsent) for one in balances)


def stalled_queues(
    silent_s: float, queues: Iterable[str], seen: Iterable[QueueSeen], probe_interval_s: float
) -> list[str]:
    """The queues of a worker that probes went through after it last received a message, *silent_s* ago."""
    if not probe_interval_s:
        return []
    wanted = set(queues)
    return sorted(
        one.queue
        for one in seen
        if one.queue in wanted
        and one.probed_s is not None
        and silent_s - one.probed_s >= PROBES_MISSED * probe_interval_s
    )


def stalled_listeners(
    listeners: Iterable[Listener], seen: Collection[QueueSeen], probe_interval_s: float
) -> list[Listener]:
    """The workers that are connected to the broker and receive nothing."""
    return [one for one in listeners if stalled_queues(one.silent_s, one.queues, seen, probe_interval_s)]
