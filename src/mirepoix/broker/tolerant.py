"""Read what kombu cannot: where messages are JSON in a database (Redis), one that is broken would end the worker."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from kombu.transport import virtual

logger = logging.getLogger("mirepoix.delivery")


def tolerate(channel: Any) -> None:
    """Let *channel*, if it is one of kombu's virtual ones, make a message of whatever it reads."""
    if not isinstance(channel, virtual.Channel):
        return
    cls: type = channel.Message
    if not issubclass(cls, TolerantMessage):
        channel.Message = type(cls.__name__, (TolerantMessage, cls), {})


class TolerantMessage(virtual.Message):  # type: ignore[misc]
    """Before kombu's class. A message without headers, with all that was read as its body, stands for a broken one."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        try:
            info = payload["properties"]["delivery_info"]
            _ = info["exchange"], info["routing_key"]
            super().__init__(payload, channel=channel, **options)
        except Exception as error:  # noqa: BLE001 (whatever somebody sent)
            logger.warning("a message of the broker is broken: %s: %s", type(error).__name__, error)
            super().__init__(_stand_in(payload), channel=channel, **options)


def _stand_in(payload: Any) -> dict[str, Any]:
    properties = payload.get("properties") if isinstance(payload, dict) else None
    tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
    return {
        "body": json.dumps(payload, default=repr),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {
            "delivery_tag": tag if isinstance(tag, str) else str(uuid.uuid4()),
            "delivery_info": {"exchange": "", "routing_key": ""},
        },
    }
