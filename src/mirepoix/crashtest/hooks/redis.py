"""Redis through redis-py, also asynchronously. Each command that writes, and each pipeline, is a point.

Commands that are not listed here are assumed to read. A cluster's client is not hooked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.client import Pipeline as AsyncPipeline
from redis.client import Pipeline

from mirepoix.crashtest.databases.redis import RedisKeys
from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import Delivery, Died, current, is_within

_FIRST_KEY = (
    "APPEND BITFIELD BLPOP BRPOP BZPOPMAX BZPOPMIN DECR DECRBY EXPIRE EXPIREAT GEOADD GETDEL GETEX GETSET HDEL "
    "HEXPIRE HINCRBY HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HSET HSETNX INCR INCRBY INCRBYFLOAT LINSERT LPOP "
    "LPUSH LPUSHX LREM LSET LTRIM PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX RESTORE RPOP RPUSH RPUSHX "
    "SADD SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SPOP SREM SUNIONSTORE XACK XADD XDEL XTRIM "
    "ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK "
    "ZREMRANGEBYSCORE ZUNIONSTORE"
)
_FIRST = frozenset(_FIRST_KEY.split())
"""Commands that write to their first key."""

_EACH = frozenset({"DEL", "UNLINK"})
_EVERY_OTHER = frozenset({"MSET", "MSETNX"})
_BOTH = frozenset({"BLMOVE", "BRPOPLPUSH", "COPY", "LMOVE", "RENAME", "RENAMENX", "RPOPLPUSH", "SMOVE"})
_SCRIPTS = frozenset({"EVAL", "EVALSHA", "FCALL"})
_SAYS = frozenset({"PUBLISH", "SPUBLISH"})


def install(stack: ExitStack, keys: RedisKeys) -> None:
    """Install the fault points until *stack* is closed. Keys that are written to are reported to *keys*."""
    replace(stack, redis.Redis, "execute_command", partial(_executing, keys))
    replace(stack, Pipeline, "immediate_execute_command", partial(_executing, keys))
    replace(stack, Pipeline, "execute", partial(_executing_all, keys))
    replace(stack, redis.asyncio.Redis, "execute_command", partial(_awaiting, keys))
    replace(stack, AsyncPipeline, "immediate_execute_command", partial(_awaiting, keys))
    replace(stack, AsyncPipeline, "execute", partial(_awaiting_all, keys))


def written(command: tuple[Any, ...]) -> list[Any] | None:
    """Return the keys that *command* writes to: none if it publishes a message, None if it reads."""
    name, *given = str(command[0]).upper().split(" ") + list(command[1:])
    if name in _FIRST:
        return given[:1]
    if name in _EACH:
        return given
    if name in _EVERY_OTHER:
        return given[::2]
    if name in _BOTH:
        return given[:2]
    if name in _SCRIPTS:
        return given[2 : 2 + int(given[1])]
    return [] if name in _SAYS else None


def _executing(keys: RedisKeys, original: Any) -> Any:
    def execute(self: Any, *command: Any, **options: Any) -> Any:
        with _point(keys, self, [command]):
            return original(self, *command, **options)

    return execute


def _executing_all(keys: RedisKeys, original: Any) -> Any:
    def execute(self: Any, *args: Any, **options: Any) -> Any:
        with _point(keys, self, _queued(self)):
            return original(self, *args, **options)

    return execute


def _awaiting(keys: RedisKeys, original: Any) -> Any:
    async def execute(self: Any, *command: Any, **options: Any) -> Any:
        with _point(keys, self, [command]):
            return await original(self, *command, **options)

    return execute


def _awaiting_all(keys: RedisKeys, original: Any) -> Any:
    async def execute(self: Any, *args: Any, **options: Any) -> Any:
        with _point(keys, self, _queued(self)):
            return await original(self, *args, **options)

    return execute


@contextmanager
def _point(keys: RedisKeys, client: Any, commands: list[tuple[Any, ...]]) -> Iterator[None]:
    """Surround *commands*. They are a point if one of them writes for a delivery."""
    delivery = _writer(commands)
    if delivery is None:
        yield
        return
    keys.keep(client, _all_written(commands), delivery)
    with delivery.point("redis", _label(commands), is_durable=True) as note:
        yield
        _note(note, commands)


def _queued(pipeline: Any) -> list[tuple[Any, ...]]:
    """Return the commands that a pipeline holds."""
    return [tuple(entry[0]) for entry in pipeline.command_stack]


def _all_written(commands: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [key for command in commands for key in written(command) or ()]


def _writer(commands: Iterable[tuple[Any, ...]]) -> Delivery | None:
    """Return the delivery that these commands write for, if any of them writes. Raises Died if its process is dead."""
    delivery = current()
    if delivery is None or is_within():
        return None
    if any(written(command) is not None for command in commands):
        return delivery
    if delivery.is_dead:
        raise Died
    return None


def _label(commands: list[tuple[Any, ...]]) -> str:
    """Return the commands and their keys, without values."""
    said = [f"{command[0]} {_name(written(command) or command[1:2])}".strip() for command in commands[:3]]
    return "Redis " + ", ".join(said) + (", ..." if len(commands) > len(said) else "")


def _name(keys: Iterable[Any]) -> str:
    return " ".join(key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key) for key in keys)


def _note(note: Any, commands: list[tuple[Any, ...]]) -> None:
    """Record the commands that write to no key. Nothing else shows them."""
    for command in commands:
        if str(command[0]).upper() in _SAYS:
            message = command[2]
            text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
            note({"kind": "redis", "subject": f"{command[0]} {_name(command[1:2])}", "payload": text})
