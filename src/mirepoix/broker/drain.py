"""Move the messages of the app's former broker into the ledger: write them there first, then delete them in the broker.

The ledger is authoritative from its COMMIT on. If the process dies before that, the message is still in the broker. If
it dies between the COMMIT and the acknowledgement, the next run finds the id in the ledger and adds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from kombu import Queue

from mirepoix.broker.acknowledge import acknowledge
from mirepoix.broker.former import size
from mirepoix.broker.message import adopted, is_of_ledger, is_probe, task_id_of
from mirepoix.broker.publisher import COUNTING
from mirepoix.broker.redis_lists import RedisLists
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.delivery.host import Host
from mirepoix.ledger import enqueue
from mirepoix.records import Envelope

if TYPE_CHECKING:
    from mirepoix.connect.source import OwnConnection

BATCH = 200
"""The largest number of messages in a transaction."""

TIMEOUT_S = 10.0


@dataclass(slots=True)
class Drained:
    """How many messages of one queue were moved, and how many were not."""

    queue: str
    moved: int = 0
    known: int = 0
    """How many tasks the ledger had already."""
    left: Counter[str] = field(default_factory=Counter)
    """How many messages stay in the broker, by the reason."""


class Taking(Protocol):
    """Takes messages from one queue, and deletes them there."""

    def batch(self) -> list[Any]:
        """The next messages, each once; empty if there are no more."""

    def done(self, messages: Sequence[Any]) -> None:
        """Delete *messages* in the broker."""

    def leave(self, message: Any) -> None:
        """Leave *message* in the broker."""

    def close(self) -> None:
        """Give back the messages that stay in the broker."""


def drain(
    connection: Any,
    ledger: OwnConnection,
    installation: Host,
    drained: Drained,
    *,
    is_whole: bool = False,
    advanced: Callable[[int], None] = lambda _: None,
) -> None:
    """Move the messages of a queue in batches, and count them in *drained*. *connection* leads to the broker.

    A message stays in the broker if it is no task of Celery's protocol 2, or if the ledger cannot store it. Messages
    that workers have taken from Redis and not acknowledged stay there too, unless *is_whole*: then their tasks run
    again. After each batch *advanced* is called with the number of messages so far.
    """
    lists = RedisLists.of(connection.default_channel)
    taking: Taking
    if lists is not None:
        if is_whole:
            lists.restore(drained.queue)
        taking = FromRedis(lists, drained.queue)
    elif connection.transport.driver_type not in COUNTING or size(connection, drained.queue):
        taking = FromQueue(connection, drained.queue)
    else:
        return  # to fetch a message from a queue that does not exist would close the channel
    try:
        while messages := taking.batch():
            _move(messages, taking, ledger, installation, drained)
            advanced(drained.moved + drained.known + drained.left.total())
    finally:
        taking.close()


def _move(messages: Sequence[Any], taking: Taking, ledger: OwnConnection, installation: Host, drained: Drained) -> None:
    envelopes: dict[str, Envelope] = {}
    done: list[Any] = []
    carried: list[tuple[Any, str]] = []
    for message in messages:
        if is_probe(message) or is_of_ledger(message):
            done.append(message)  # it is only a notification
            continue
        try:
            envelope = _envelope(message, drained.queue, installation)
        except (TypeError, ValueError, KeyError) as error:
            taking.leave(message)
            drained.left[str(error)] += 1
        else:
            envelopes.setdefault(envelope.id, envelope)
            carried.append((message, envelope.id))
    added, refused = _write(ledger, installation, list(envelopes.values()))
    for message, task_id in carried:
        if task_id in refused:
            taking.leave(message)
            drained.left[refused[task_id]] += 1
        else:
            done.append(message)
    drained.moved += len(added)
    drained.known += len(envelopes) - len(added) - len(refused)
    taking.done(done)


def _envelope(message: Any, queue: str, installation: Host) -> Envelope:
    if task_id_of(message) is None:
        raise ValueError("not a task of Celery's message protocol 2")
    return replace(adopted(message, queue), sent_fence=installation.sent_fence)


def _write(ledger: OwnConnection, installation: Host, envelopes: list[Envelope]) -> tuple[set[str], dict[str, str]]:
    """Write them into the ledger. Return the ids that it did not have, and by id why it cannot store others."""
    if not envelopes:
        return set(), {}
    try:
        with ledger.transaction() as tx:
            added = enqueue.adopt(tx, envelopes)
            reached(Crashpoint.DRAIN_BEFORE_COMMIT)
    except installation.source.disconnects:
        raise
    except Exception as error:  # noqa: BLE001 (every driver has its own class for a value that no column can hold)
        if len(envelopes) == 1:
            why = str(error).strip().partition("\n")[0]
            return set(), {envelopes[0].id: f"the ledger cannot hold it: {why}"}
    else:
        reached(Crashpoint.DRAIN_AFTER_COMMIT)
        return added, {}
    added = set()
    refused: dict[str, str] = {}
    for envelope in envelopes:
        newly_added, newly_refused = _write(ledger, installation, [envelope])
        added |= newly_added
        refused |= newly_refused
    return added, refused


class FromRedis:
    """Takes messages from Redis' lists."""

    def __init__(self, lists: RedisLists, queue: str) -> None:
        self._lists = lists
        self._queue = queue
        self._payloads: dict[int, bytes] = {}
        self._left: list[bytes] = []

    def batch(self) -> list[Any]:
        """The next messages. Those that a dead process left in the second list come first."""
        found: list[Any] = []
        while not found:
            payloads = self._lists.held(self._queue, BATCH, but=len(self._left))
            if not payloads:
                self._lists.hold(self._queue, BATCH)
                payloads = self._lists.held(self._queue, BATCH, but=len(self._left))
            if not payloads:
                return []
            self._payloads = {}
            for payload in payloads:
                message = self._message(payload)
                self._payloads[id(message)] = payload
                found.append(message)
        return found

    def _message(self, payload: bytes) -> Any:
        try:
            return self._lists.message(payload)
        except Exception:  # noqa: BLE001 (it may be anything)
            return _Unreadable()

    def done(self, messages: Sequence[Any]) -> None:
        """Delete *messages* from the second list."""
        self._lists.forget(self._queue, [self._payloads[id(message)] for message in messages])

    def leave(self, message: Any) -> None:
        """Leave *message* in the second list, with the oldest, until `close`."""
        self._left.append(self._payloads[id(message)])

    def close(self) -> None:
        """Move the messages that stay back into their queue."""
        if self._left:
            self._lists.give_back(self._queue, self._left)


class _Unreadable:
    """An item of a list that is no message."""

    headers = None


class FromQueue:
    """Takes messages from any other broker. It sends unacknowledged messages again after the connection ends."""

    def __init__(self, connection: Any, queue: str) -> None:
        self._connection = connection
        self._queue = Queue(queue, channel=connection.default_channel)
        self._left: list[Any] = []

    def batch(self) -> list[Any]:
        """The next messages. kombu fetches them one by one."""
        found: list[Any] = []
        while len(found) < BATCH:
            message = self._queue.get(no_ack=False)
            if message is None:
                break
            found.append(message)
        return found

    def done(self, messages: Sequence[Any]) -> None:
        """Acknowledge *messages*."""
        acknowledge(messages, self._left, self._connection.connection_errors)

    def leave(self, message: Any) -> None:
        """Leave *message* unacknowledged, so that this connection does not receive it again."""
        self._left.append(message)

    def close(self) -> None:
        """Requeue the messages that stay."""
        for message in self._left:
            message.requeue()
