"""Read what kombu cannot: where messages are JSON in a database (Redis), one that is broken would end the worker."""

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

logger = logging.getLogger("mirepoix.delivery")

READ_FROM = "mirepoix_read_from"
"""The attribute of one of kombu's channels for Redis that names the queue which it has just read."""


def tolerate(channel: Any) -> None:
    """Let *channel*, if it is one of kombu's virtual ones, make a message of whatever it reads."""
    if not isinstance(channel, virtual.Channel):
        return
    cls: type = channel.Message
    if not issubclass(cls, TolerantMessage):
        channel.Message = type(cls.__name__, (TolerantMessage, cls), {})
    if hasattr(channel, "_brpop_read") and not hasattr(channel, READ_FROM):
        setattr(channel, READ_FROM, "")
        channel._brpop_read = channel.handlers["BRPOP"] = partial(_read, channel, channel._brpop_read)  # noqa: SLF001


class TolerantMessage(virtual.Message):  # type: ignore[misc]
    """Before kombu's class. A message without headers, with all that was read as its body, stands for a broken one."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            info = payload["properties"]["delivery_info"]
            _ = info["exchange"], info["routing_key"]
            super().__init__(payload, channel=channel, **options)
        except Exception as error:  # noqa: BLE001 (whatever somebody sent)
            logger.warning("a message of the broker is broken: %s: %s", type(error).__name__, error)
            super().__init__(_stand_in(payload, getattr(channel, READ_FROM, "")), channel=channel, **options)


def _read(channel: Any, read: Callable[..., Any], **options: Any) -> Any:
    """Read from Redis as kombu does, which has taken an item out of its list when it finds that it is no JSON."""
    client = channel.client
    parse, answers = client.parse_response, []

    def remembering(*args: Any, **kwargs: Any) -> Any:
        answer = parse(*args, **kwargs)
        if answer:
            answers.append(answer)
            setattr(channel, READ_FROM, bytes_to_str(answer[0]).rsplit(channel.sep, 1)[0])
        return answer

    client.parse_response = remembering
    try:
        return read(**options)
    except Exception as error:
        if not answers or _is_json(answers[-1][1]):
            raise
        logger.warning("a message of the broker is no JSON: %s: %s", type(error).__name__, error)
    finally:
        del client.parse_response
    queue = getattr(channel, READ_FROM)
    channel.connection._deliver(_stand_in(answers[-1][1], queue), queue)  # noqa: SLF001
    return True


def _is_json(item: bytes | str) -> bool:
    try:
        loads(bytes_to_str(item))
    except Exception:  # noqa: BLE001 (kombu calls what makes objects of it)
        return False
    return True


def _stand_in(payload: Any, queue: str) -> dict[str, Any]:
    """What a message would be whose body is *payload*. It can be given back to *queue*."""
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
