"""The state of Redis: the keys that a task wrote to, as they were before it did.

Nobody names the server: a task's own client says where it is, and what a key held is kept just before it is first
written to. Keys whose names differ in a UUID or a moment alone are one.
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
"""Of these names, keys are compared and put back; what a task writes to more is told as unmodelled."""

_OWN = ("host", "port", "db", "username", "password", "path", "ssl")
"""What a client for asynchronous code and one for this thread have in common."""


@dataclass(frozen=True, slots=True)
class _Kept:
    client: Any
    dump: bytes | None
    ttl_ms: int


class RedisKeys(Found):
    """Every key that is known to have been written to, of all servers."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[tuple[str, Any], _Kept]] = {}
        self._columns: dict[str, str] = {}

    @property
    def name(self) -> str:
        """For people; nothing if no task wrote to it."""
        return "Redis" if self._kept else ""

    @property
    def takes_two(self) -> bool:
        """Clients have connections of their own."""
        return True

    def keep(self, client: Any, keys: Iterable[Any], delivery: Delivery) -> None:
        """Know what *keys* hold before they are written to for the first time."""
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
        """Put back what each key held, and for how long it was to."""
        for known in self._kept.values():
            for (_, key), kept in known.items():
                kept.client.delete(key)
                if kept.dump is not None:
                    kept.client.restore(key, max(kept.ttl_ms, 0), kept.dump)

    def crashed(self) -> None:
        """A client's connections are its own affair."""

    def disconnect(self) -> None:
        """A client of Redis sees that it is in another process."""

    def tables(self, written: set[str]) -> dict[str, Table]:
        """A table for each name, with a column that is called so."""
        known = (alias for alias in self._kept if alias in written)
        return {alias: Table((self._columns[alias],), ("server",), {}) for alias in known}

    def read(self, tables: dict[str, Table]) -> dict[str, Rows]:
        """What the keys hold."""
        found: dict[str, Rows] = {}
        for alias in tables:
            if alias in self._kept:
                held = [value(kept.client, key) for (_, key), kept in sorted(self._kept[alias].items(), key=_first)]
                there = [one for one in held if one is not None]
                row = {self._columns[alias]: "; ".join(there) if there else "not there"}
                (server, _), *_ = self._kept[alias]
                found[alias] = {(server,): row}
        return found


def value(client: Any, key: Any) -> str | None:
    """What *key* holds, as text that can be compared; None if it is not there."""
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
    """*client*, or one for this thread that reaches the same server."""
    if isinstance(client, Redis) and not hasattr(client, "command_stack"):
        return client
    given = client.connection_pool.connection_kwargs
    if isinstance(client, Redis):  # a pipeline
        return Redis(connection_pool=client.connection_pool)
    own = {name: given[name] for name in _OWN if given.get(name) is not None}
    return Redis(unix_socket_path=own.pop("path", None), **own)
