"""The lists in which kombu keeps a queue in Redis, read so that a crash loses nothing.

kombu takes a message out of its list and writes it down as unacknowledged in a second command: who dies between the two
has lost it. Here a message moves in one command from its list to another, ``mirepoix.drain.QUEUE``, and is deleted
there when it stands in the ledger. What a process that died has left there is found by the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

MOST_READ = 10_000
"""Of so many unacknowledged messages the queue is looked up; the rest is not counted."""


class RedisLists:
    """Those of one channel. Commands carry whole keys: kombu's own client puts its prefix before some of them only."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        with channel.conn_or_acquire() as client:
            plain = next(cls for cls in type(client).__mro__ if cls.__module__.partition(".")[0] == "redis")
            self._client = plain(connection_pool=client.connection_pool)

    @classmethod
    def of(cls, channel: Any) -> RedisLists | None:
        """Those of *channel*; None if it is none of kombu's for Redis."""
        return cls(channel) if hasattr(channel, "_q_for_pri") and hasattr(channel, "unacked_key") else None

    def count(self, queue: str) -> int:
        """How many messages wait, with those that a process that died has left in the second list.

        (kombu looks for a queue under its name without the prefix, and finds none.)
        """
        with self._client.pipeline(transaction=False) as pipe:
            for key in (*self._keys(queue), self._held(queue)):
                pipe.llen(key)
            return sum(map(int, pipe.execute()))

    def hold(self, queue: str, most: int) -> None:
        """Move up to *most* messages into the second list, in the order in which workers would take them."""
        for key in self._keys(queue):
            moving = min(most, int(self._client.llen(key)))
            if moving:
                with self._client.pipeline(transaction=False) as pipe:
                    for _ in range(moving):
                        pipe.rpoplpush(key, self._held(queue))
                    most -= sum(one is not None for one in pipe.execute())
            if most <= 0:
                return

    def held(self, queue: str, most: int, but: int = 0) -> list[bytes]:
        """Up to *most* messages of the second list, the oldest first, beyond the *but* oldest."""
        return list(reversed(self._client.lrange(self._held(queue), -(most + but), -(1 + but))))

    def message(self, payload: bytes) -> Any:
        """The message that it is. Raises what kombu raises for what is none."""
        return self._channel.Message(loads(bytes_to_str(payload)), channel=self._channel)

    def forget(self, queue: str, payloads: Iterable[bytes]) -> None:
        """Delete these from the second list."""
        with self._client.pipeline(transaction=False) as pipe:
            for payload in payloads:
                pipe.lrem(self._held(queue), -1, payload)
            pipe.execute()

    def give_back(self, queue: str, payloads: Sequence[bytes]) -> None:
        """Move these from the second list to where workers take them next, in their order."""
        for payload in reversed(payloads):
            with self._client.pipeline(transaction=True) as pipe:
                pipe.lrem(self._held(queue), -1, payload)
                pipe.rpush(self._key_of(queue, payload), payload)
                pipe.execute()

    def unacknowledged(self) -> Counter[str]:
        """How many messages workers have taken and not acknowledged, by their queues."""
        found: Counter[str] = Counter()
        for _, queues in self._unacknowledged():
            found.update(queues)
        return found

    def restore(self, queue: str) -> int:
        """Move what workers have taken from *queue* and not acknowledged back into it; return how many messages."""
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
                continue  # nothing that kombu has written, so nothing that a worker has taken
            found.append((bytes_to_str(tag), list(self._channel._lookup(exchange, routing_key))))  # noqa: SLF001
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
        return [self._prefix + self._channel._q_for_pri(queue, step) for step in steps]  # noqa: SLF001

    def _key_of(self, queue: str, payload: bytes) -> str:
        try:
            priority = self._channel._get_message_priority(loads(bytes_to_str(payload)), reverse=False)  # noqa: SLF001
        except Exception:  # noqa: BLE001 (it may be anything)
            priority = 0
        return self._prefix + str(self._channel._q_for_pri(queue, priority))  # noqa: SLF001
