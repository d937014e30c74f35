"""Convert a row that another Celery wrote into the message that the running Celery would have made of the same call.

A row is the call in our own form (docs/design/upgrades.md): its columns, its headers with their names in Celery 5.5,
and its arguments as `mirepoix.ledger.arguments` reads them. It may be older than the running Celery.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import celery
import kombu
from kombu.serialization import dumps

from mirepoix.ledger import arguments
from mirepoix.ledger.arguments import Arguments
from mirepoix.records import Taken

logger = logging.getLogger("mirepoix.delivery")

WRITER = f"celery {celery.__version__} kombu {kombu.__version__}"
"""The Celery and kombu of this process, as the column ``written_by`` names them."""


def as_of_now(taken: Taken, app: Any) -> Taken:
    """*taken* as the running Celery would have written it; *taken* itself if the running Celery wrote it.

    This adds what the running Celery expects and the row lacks. Headers that it does not know stay. Our reader reads
    the arguments, and the running kombu writes them. Bodies of other serialisers, compressed bodies and unreadable
    bodies stay unchanged: the consumer parks what the running code cannot take.
    """
    if taken.written_by == WRITER:
        return taken
    if not isinstance(taken.headers, dict) or not isinstance(taken.properties, dict) or not _is_plain(taken):
        return taken
    call = arguments.read(taken.body)
    if call is None:
        return taken
    try:
        return _rewritten(taken, call, app)
    except Exception:
        # A header may hold anything, and an application's own encoder may refuse. The worker must see the message.
        logger.exception(
            "task %s[%s], which %s wrote, is run as it was written", taken.name, taken.lease.task_id, taken.written_by
        )
        return taken


def _is_plain(taken: Taken) -> bool:
    return (
        taken.content_type == arguments.CONTENT_TYPE
        and taken.body_encoding == "utf-8"
        and not taken.headers.get("compression")
    )


def _rewritten(taken: Taken, call: Arguments, app: Any) -> Taken:
    headers, stamped = taken.headers, taken.headers.get("stamped_headers")
    time_limit, soft_time_limit = _pair(headers.get("timelimit"))
    known = {key: headers[key] for key in _SAME_NAMES if headers.get(key) is not None}
    model = app.amqp.as_task_v2(
        taken.lease.task_id,
        taken.name,
        args=call.args,
        kwargs=call.kwargs,
        group_id=headers.get("group"),
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
        reply_to=taken.properties.get("reply_to"),
        ignore_result=_ignores_result(taken),
        # Without an origin, Celery would name this process.
        origin=headers.get("origin") or taken.written_by or "unknown",
        stamped_headers=stamped,
        **{name: headers.get("stamps", {}).get(name) for name in stamped or ()},
        **{key: call.embed.get(key) for key in ("callbacks", "errbacks", "chain", "chord")},
        **known,
    )
    args, kwargs, embed = model.body
    content_type, content_encoding, body = dumps((args, kwargs, {**embed, **call.embed}), serializer="json")
    return replace(
        taken,
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        headers={**model.headers, **headers, "ignore_result": _ignores_result(taken)},
        properties={**model.properties, **taken.properties},
    )


_SAME_NAMES = (
    *("shadow", "eta", "expires", "group_index", "retries", "root_id", "parent_id"),
    *("argsrepr", "kwargsrepr", "replaced_task_nesting"),
)
"""Headers that Celery's function takes as parameters of the same names."""


def _ignores_result(taken: Taken) -> bool | None:
    """Whether the caller wants no result; None: the task decides.

    Celery 5.5 wrote False if the caller did not choose. From 5.6 on, False means that the caller wants a result, even
    if the task ignores it.
    """
    ignores: bool | None = taken.headers.get("ignore_result")
    return ignores or None if (taken.written_by or "").startswith("celery 5.5.") else ignores


def _pair(timelimit: Any) -> Any:
    return timelimit if isinstance(timelimit, (list, tuple)) and len(timelimit) == len(_NO_LIMIT) else _NO_LIMIT


_NO_LIMIT = (None, None)
