"""Read the lists in which kombu stores a queue in Redis, so that a crash loses no message.

kombu takes a message out of its list, and records it as unacknowledged in a second command. A process that dies between
the two loses the message. Here one command moves a message from its list to another, ``mirepoix.drain.QUEUE``. It is
deleted there after its task is in the ledger. The next run finds what a dead process left there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from mirepoix.delivery import private

MOST_READ = 10_000
"""How many unacknowledged messages are read. The rest is not counted."""


class RedisLists:
    """The lists of one channel. Commands use complete keys, since kombu's client adds its prefix only to some keys."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        with channel.conn_or_acquire() as client:
            plain = next(cls for cls in type(client).__mro__ if cls.__module__.partition(".")[0] == "redis")
            self._client = plain(connection_pool=client.connection_pool)

    @classmethod
    def of(cls, channel: Any) -> RedisLists | None:
        """The lists of *channel*; None if it is no channel of kombu's transport for Redis."""
        return cls(channel) if private.is_redis_channel(channel) else None

    def count(self, queue: str) -> int:
        """How many messages wait, with those that a dead process left in the second list.

        kombu's own count uses the name without the prefix, and finds no queue.
        """
        with self._client.pipeline(transaction=False) as pipe:
            for key in (*self._keys(queue), self._held(queue)):
                pipe.llen(key)
            return sum(map(int, pipe.execute()))

    def bound(self) -> set[str]:
        """The names of all queues that anybody has declared, without those of remote control and of events.

        It looks at every key of Redis' database, in small steps.
        """
        pattern, separator = private.bindings(self._channel, "*")
        names = {
            bytes_to_str(member).rpartition(separator)[2]
            for key in self._client.scan_iter(self._prefix + pattern, count=1_000)
            for member in self._client.smembers(key)
        }
        return {name for name in names if not name.startswith("celeryev") and not name.endswith(".pidbox")}

    def hold(self, queue: str, most: int) -> None:
        """Move up to *most* messages into the second list, in the order in which workers would take them."""
        for key in self._keys(queue):
            moving = min(most, int(self._client.llen(key)))
            if moving:
                with self._client.pipeline(transaction=False) as pipe:
                    for _ in range(moving):
                        pipe.rpoplpush(key, self._held(queue))
                    most -= sum(payload is not None for payload in pipe.execute())
            if most <= 0:
                return

    def held(self, queue: str, most: int, but: int = 0) -> list[bytes]:
        """Up to *most* messages of the second list, the oldest first. The *but* oldest are skipped."""
        return list(reversed(self._client.lrange(self._held(queue), -(most + but), -(1 + but))))

    def message(self, payload: bytes) -> Any:
        """The message in *payload*. Raises what kombu raises if it is no message."""
        return self._channel.Message(loads(bytes_to_str(payload)), channel=self._channel)

    def forget(self, queue: str, payloads: Iterable[bytes]) -> None:
        """Delete *payloads* from the second list."""
        with self._client.pipeline(transaction=False) as pipe:
            for payload in payloads:
                pipe.lrem(self._held(queue), -1, payload)
            pipe.execute()

    def give_back(self, queue: str, payloads: Sequence[bytes]) -> None:
        """Move *payloads* from the second list to the end of the queue where workers take them next, in their order."""
        for payload in reversed(payloads):
            with self._client.pipeline(transaction=True) as pipe:
                pipe.lrem(self._held(queue), -1, payload)
                pipe.rpush(self._key_of(queue, payload), payload)
                pipe.execute()

    def unacknowledged(self) -> Counter[str]:
        """How many messages workers have taken and not acknowledged, by queue."""
        found: Counter[str] = Counter()
        for _, queues in self._unacknowledged():
            found.update(queues)
        return found

    def restore(self, queue: str) -> int:
        """Move the messages that workers took from *queue* and did not acknowledge back into it. Return how many."""
        tags = [tag for tag, queues in self._unacknowledged() if queue in queues]
        for tag in tags:
            self._channel.qos.restore_by_tag(tag)
        return len(tags)

    def _unacknowledged(self) -> list[tuple[str, list[str]]]:
        found = []
        for tag, written in self._client.hscan_iter(self._prefix + self._channel.unacked_key, count=100):
            try:
                _, exchange, routing_key = loads(bytes_to_str(written))
            except (TypeError, ValueError, RecursionError):
                continue  # kombu did not write it, so no worker has taken it
            found.append((bytes_to_str(tag), private.queues_routed_to(self._channel, exchange, routing_key)))
            if len(found) >= MOST_READ:
                break
        return found

    @property
    def _prefix(self) -> str:
        return str(self._channel.global_keyprefix)

    def _held(self, queue: str) -> str:
        return f"{self._prefix}mirepoix.drain.{queue}"

    def _keys(self, queue: str) -> list[str]:
        steps = self._channel.priority_steps
        return [self._prefix + private.list_of(self._channel, queue, step) for step in steps]

    def _key_of(self, queue: str, payload: bytes) -> str:
        try:
            priority = private.priority_of(self._channel, loads(bytes_to_str(payload)))
        except Exception:  # noqa: BLE001 (it may be anything)
            priority = 0
        return self._prefix + private.list_of(self._channel, queue, priority)
