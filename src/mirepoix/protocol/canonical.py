"""Make of a row that another Celery wrote the message that the running one would have made of the same call.

A row is the call in a form of our own (docs/design/upgrades.md): its columns, its headers under the names they had
in Celery 5.5, and its arguments as `mirepoix.ledger.arguments` reads them. It outlives the Celery that wrote it.
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
"""Who writes the messages of this process, as the column ``written_by`` has it."""


def as_of_now(taken: Taken, app: Any) -> Taken:
    """*taken* as the running Celery would have written it; itself if that is what wrote it.

    What the running Celery expects and the row lacks is filled in, what it does not know stays, and the arguments are
    read by our reader and written by the running kombu. Bodies of other serialisers, compressed ones, and what cannot
    be read stay untouched: the consumer parks what the running code cannot take.
    """
    if taken.written_by == WRITER:
        return taken
    told = taken.headers
    if not isinstance(told, dict) or not isinstance(taken.properties, dict) or not _is_plain(taken):
        return taken
    call = arguments.read(taken.body)
    if call is None:
        return taken
    try:
        return _rewritten(taken, call, app)
    except Exception:
        # Anything may stand in a header, and an application's own encoder may refuse. The worker must come to see it.
        logger.exception("task %s[%s], by %s, is run as written", taken.name, taken.lease.task_id, taken.written_by)
        return taken


def _is_plain(taken: Taken) -> bool:
    return (
        taken.content_type == arguments.CONTENT_TYPE
        and taken.body_encoding == "utf-8"
        and not taken.headers.get("compression")
    )


def _rewritten(taken: Taken, call: Arguments, app: Any) -> Taken:
    told, stamped = taken.headers, taken.headers.get("stamped_headers")
    time_limit, soft_time_limit = _pair(told.get("timelimit"))
    known = {key: told[key] for key in _SAME_NAMES if told.get(key) is not None}
    model = app.amqp.as_task_v2(
        taken.lease.task_id,
        taken.name,
        args=call.args,
        kwargs=call.kwargs,
        group_id=told.get("group"),
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
        reply_to=taken.properties.get("reply_to"),
        ignore_result=_ignores_result(taken),
        # Otherwise this process would be named.
        origin=told.get("origin") or taken.written_by or "unknown",
        stamped_headers=stamped,
        **{name: told.get("stamps", {}).get(name) for name in stamped or ()},
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
        headers={**model.headers, **told, "ignore_result": _ignores_result(taken)},
        properties={**model.properties, **taken.properties},
    )


_SAME_NAMES = (
    *("shadow", "eta", "expires", "group_index", "retries", "root_id", "parent_id"),
    *("argsrepr", "kwargsrepr", "replaced_task_nesting"),
)
"""Headers that Celery's function takes under their own names."""


def _ignores_result(taken: Taken) -> bool | None:
    """Whether the caller wants no result; None: as the task has it.

    In 5.5 that was written, and read, as False; from 5.6 on False is the caller's word against the task's.
    """
    said: bool | None = taken.headers.get("ignore_result")
    return said or None if (taken.written_by or "").startswith("celery 5.5.") else said


def _pair(timelimit: Any) -> Any:
    return timelimit if isinstance(timelimit, (list, tuple)) and len(timelimit) == len(_NO_LIMIT) else _NO_LIMIT


_NO_LIMIT = (None, None)
