"""The state of Redis: the keys that a task wrote to, as they were before.

The test does not name the server, because the task's own client leads to it. The tester saves a key just before the
first write to it. Keys with names that differ only in a UUID or a moment count as one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from mirepoix.crashtest.databases.database import Found
from mirepoix.crashtest.normalise import Rows, Table, plain
from mirepoix.crashtest.points import Delivery

MOST_KEYS = 500
"""At most so many keys with one name are compared and restored. Writes to more are reported as unmodelled."""

_OWN = ("host", "port", "db", "username", "password", "path", "ssl")
"""The options that an asynchronous client and this thread's client share."""


@dataclass(frozen=True, slots=True)
class _Kept:
    client: Any
    dump: bytes | None
    ttl_ms: int


class RedisKeys(Found):
    """Every key that is known to have been written to, on all servers."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[tuple[str, Any], _Kept]] = {}
        self._columns: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The name of the state, for people. Empty if no task wrote to it."""
        return "Redis" if self._kept else ""

    @property
    def takes_two(self) -> bool:
        return True

    def keep(self, client: Any, keys: Iterable[Any], delivery: Delivery) -> None:
        """Save the values of *keys* before their first write."""
        for key in keys:
            name = plain(_text(key))
            server = _server(client)
            alias = f"redis-{f'{server} {name}'.encode().hex()}.Redis"
            if alias not in self._kept and len(self._kept) >= MOST_KEYS:
                delivery.unmodelled.add(f"Redis, more than {MOST_KEYS} keys")
                continue
            delivery.tables.add(alias)
            self._columns[alias] = name
            known = self._kept.setdefault(alias, {})
            if (server, _text(key)) not in known:
                own = _blocking(client)
                known[server, _text(key)] = _Kept(own, own.dump(key), own.pttl(key))

    def restore(self) -> None:
        """Restore the value and the expiry of each key."""
        for known in self._kept.values():
            for (_, key), kept in known.items():
                kept.client.delete(key)
                if kept.dump is not None:
                    kept.client.restore(key, max(kept.ttl_ms, 0), kept.dump)

    def crashed(self) -> None:
        """Do nothing: a client manages its own connections."""

    def disconnect(self) -> None:
        """Do nothing: a client of Redis notices that it is in another process."""

    def tables(self, written: set[str]) -> dict[str, Table]:
        """Return a table for each name, with one column of that name."""
        known = (alias for alias in self._kept if alias in written)
        return {alias: Table((self._columns[alias],), ("server",), {}) for alias in known}

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        """Return the values of the keys."""
        found: dict[str, Rows] = {}
        for alias in tables:
            if alias in self._kept:
                held = [value(kept.client, key) for (_, key), kept in sorted(self._kept[alias].items(), key=_first)]
                there = [text for text in held if text is not None]
                row = {self._columns[alias]: "; ".join(there) if there else "not there"}
                (server, _), *_ = self._kept[alias]
                found[alias] = {(server,): row}
        return found


def value(client: Any, key: Any) -> str | None:
    """Return the value of *key* as text that can be compared, or None if the key does not exist."""
    try:
        kind = _text(client.type(key))
        read = _READ.get(kind)
        if kind == "none":
            return None
        text = client.dump(key).hex() if read is None else read(client, key)
    except (UnicodeDecodeError, RedisError):
        text = client.dump(key).hex()
    return f"{text}, expires" if client.pttl(key) > 0 else str(text)


def _list(client: Any, key: Any) -> str:
    return json.dumps([_text(item) for item in client.lrange(key, 0, -1)])


def _set(client: Any, key: Any) -> str:
    return json.dumps(sorted(_text(item) for item in client.smembers(key)))


def _hash(client: Any, key: Any) -> str:
    return json.dumps(dict(sorted((_text(name), _text(held)) for name, held in client.hgetall(key).items())))


def _sorted_set(client: Any, key: Any) -> str:
    return json.dumps([[_text(item), score] for item, score in client.zrange(key, 0, -1, withscores=True)])


def _stream(client: Any, key: Any) -> str:
    entries = (fields for _, fields in client.xrange(key))
    return json.dumps([dict(sorted((_text(n), _text(v)) for n, v in fields.items())) for fields in entries])


_READ = {
    "string": lambda client, key: _text(client.get(key)),
    "list": _list,
    "set": _set,
    "hash": _hash,
    "zset": _sorted_set,
    "stream": _stream,
}


def _first(item: tuple[Any, Any]) -> Any:
    return item[0]


def _text(given: Any) -> str:
    return given.decode() if isinstance(given, (bytes, bytearray)) else str(given)


def _server(client: Any) -> str:
    given = client.connection_pool.connection_kwargs
    return f"{given.get('path') or given.get('host', '')}:{given.get('port', '')}/{given.get('db', 0) or 0}"


def _blocking(client: Any) -> Any:
    """Return *client*, or a blocking client that reaches the same server."""
    if isinstance(client, Redis) and not hasattr(client, "command_stack"):
        return client
    given = client.connection_pool.connection_kwargs
    if isinstance(client, Redis):  # a pipeline
        return Redis(connection_pool=client.connection_pool)
    own = {name: given[name] for name in _OWN if given.get(name) is not None}
    return Redis(unix_socket_path=own.pop("path", None), **own)
