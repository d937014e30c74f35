"""Read messages that kombu cannot read. From a broker that stores JSON (Redis), a broken one would end the worker.

kombu reads one message from Redis in each turn of the event loop. If each turn leased what it read, each transaction
would lease one task. So what follows in the same list is read as well, up to what the worker can take now.
"""

from __future__ import annotations

import base64
import json
import logging
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from mirepoix.delivery import private

logger = logging.getLogger("mirepoix.delivery")

READ_FROM = "mirepoix_read_from"
"""The attribute of kombu's channel for Redis that has the name of the queue that was read last."""


READ_MOST = 100
"""The most messages that are read from Redis after one, in one round trip."""


def tolerate(channel: Any, wanted: Callable[[], int] = lambda: 0) -> None:
    """Let *channel* make a message of everything that it reads, if it is a virtual channel of kombu's.

    From Redis it reads up to *wanted* messages after each one. There are never more unacknowledged messages than the
    prefetch count.
    """
    if not isinstance(channel, virtual.Channel):
        return
    if not issubclass(channel.Message, TolerantMessage):
        private.subclass_message(channel, lambda cls: type(cls.__name__, (TolerantMessage, cls), {}))
    read = private.blocking_reader(channel)
    if read is not None and not hasattr(channel, READ_FROM):
        setattr(channel, READ_FROM, "")
        private.replace_blocking_reader(channel, partial(_read, channel, read, wanted))


class TolerantMessage(virtual.Message):  # type: ignore[misc]
    """A mixin before kombu's class. A broken message becomes one without headers, with all its data as the body."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            info = payload["properties"]["delivery_info"]
            _ = info["exchange"], info["routing_key"]
            super().__init__(payload, channel=channel, **options)
        except Exception as error:  # noqa: BLE001 (a sender may send anything)
            logger.warning("a message of the broker is broken: %s: %s", type(error).__name__, error)
            super().__init__(_stand_in(payload, getattr(channel, READ_FROM, "")), channel=channel, **options)


def _read(channel: Any, read: Callable[..., Any], wanted: Callable[[], int], **options: Any) -> Any:
    """Read from Redis as kombu does, and what follows in the same list."""
    has_read, redis_list = _read_one(channel, read, **options)
    if has_read and redis_list:
        _read_more(channel, redis_list, wanted())
    return has_read


def _read_one(channel: Any, read: Callable[..., Any], **options: Any) -> tuple[Any, str]:
    """Read one message; return what kombu returns, and the list that it was in.

    An item that is no JSON has left its list: deliver a stand-in for it.
    """
    client = channel.client
    parse, answers = client.parse_response, []

    def remembering(*args: Any, **kwargs: Any) -> Any:
        answer = parse(*args, **kwargs)
        if answer:
            answers.append(answer)
            setattr(channel, READ_FROM, bytes_to_str(answer[0]).rsplit(channel.sep, 1)[0])
        return answer

    private.replace_parser(client, remembering)
    try:
        return read(**options), bytes_to_str(answers[-1][0]) if answers else ""
    except Exception as error:
        if not answers or _is_json(answers[-1][1]):
            raise
        logger.warning("a message of the broker is no JSON: %s: %s", type(error).__name__, error)
    finally:
        private.restore_parser(client)
    queue = getattr(channel, READ_FROM)
    private.deliver(channel.connection, _stand_in(answers[-1][1], queue), queue)
    return True, bytes_to_str(answers[-1][0])


def _read_more(channel: Any, redis_list: str, wanted: int) -> None:
    room = channel.qos.can_consume_max_estimate()  # None: any number
    count = min(wanted, READ_MOST if room is None else room, READ_MOST)
    if count < 1:
        return
    # A list of RPOPs, because Redis before 6.2 has no RPOP with a count.
    with channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
        for _ in range(count):
            pipe.rpop(redis_list)
        items = [item for item in pipe.execute() if item is not None]
    queue = getattr(channel, READ_FROM)
    while items:
        item = items.pop(0)
        payload = loads(bytes_to_str(item)) if _is_json(item) else _stand_in(item, queue)
        try:
            private.deliver(channel.connection, payload, queue)
        except BaseException:
            if items:
                with channel.conn_or_acquire() as client:
                    client.rpush(redis_list, *reversed(items))
            raise


def _is_json(item: bytes | str) -> bool:
    try:
        loads(bytes_to_str(item))
    except Exception:  # noqa: BLE001 (kombu calls functions that make objects of it)
        return False
    return True


def _stand_in(payload: Any, queue: str) -> dict[str, Any]:
    """A message with *payload* as its body. It can be requeued to *queue*."""
    properties = payload.get("properties") if isinstance(payload, dict) else None
    tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
    own: dict[str, Any] = {
        "delivery_tag": tag if isinstance(tag, str) else str(uuid.uuid4()),
        "delivery_info": {"exchange": "", "routing_key": queue},
    }
    if isinstance(payload, bytes):
        body, own["body_encoding"] = base64.b64encode(payload).decode("ascii"), "base64"
    else:
        body = json.dumps(payload, default=repr)
    return {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": own,
    }
