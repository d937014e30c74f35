"""Write tasks into the ledger, in whatever transaction is handed in: its COMMIT makes them real."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from mirepoix.ledger.rows import batches
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope

logger = logging.getLogger("mirepoix.enqueue")


def add(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    """Enqueue *envelopes*; return the ids that are now waiting because of it.

    An id that the ledger knows and that is finished begins a new generation. One that is still waiting or running
    is left as it is: a task is one row, and sending it twice does not make it run twice. That is logged, not raised.
    """
    unique = _first_of_each_id(envelopes)
    accepted: set[str] = set()
    for rows in batches(as_row(envelope) for envelope in unique):
        accepted |= {row[0] for row in tx.fetch("enqueue", rows=rows)}
    known = [envelope for envelope in unique if envelope.id not in accepted]
    return accepted | _add_again(tx, known)


def adopt(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    """Enqueue those of *envelopes* whose id the ledger does not know, and no others; return their ids."""
    if not envelopes:
        return set()
    rows = json.dumps([as_row(envelope) for envelope in _first_of_each_id(envelopes)])
    return {row[0] for row in tx.fetch("enqueue", rows=rows)}


def as_row(envelope: Envelope) -> dict[str, Any]:
    """*envelope* as the statements read it from JSON."""
    return {
        "id": envelope.id,
        "name": envelope.name,
        "queue": envelope.queue,
        "priority": envelope.priority,
        "retries": envelope.retries,
        "root_id": envelope.root_id,
        "parent_id": envelope.parent_id,
        "group_id": envelope.group_id,
        "eta": envelope.eta,
        "expires": envelope.expires,
        "content_type": envelope.content_type,
        "content_encoding": envelope.content_encoding,
        "body_encoding": envelope.body_encoding,
        "body": envelope.body,
        "headers": json.dumps(envelope.headers, allow_nan=False, default=_plain),
        "properties": json.dumps(envelope.properties, allow_nan=False, default=_plain),
        "exchange": envelope.exchange,
        "routing_key": envelope.routing_key,
        "sent_fence": envelope.sent_fence,
        "version": envelope.version,
        "shape": envelope.shape,
        "written_by": envelope.written_by,
    }


def _plain(value: Any) -> Any:
    """What JSON has for a value in a header that it does not know. Raises TypeError for what has no such form."""
    if hasattr(value, "__json__"):  # Celery's signatures, and whatever kombu's own encoder asks
        return value.__json__()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    raise TypeError(f"a header or property holds a {type(value).__qualname__}, which JSON cannot hold")


def _first_of_each_id(envelopes: Sequence[Envelope]) -> list[Envelope]:
    """Of one id that is sent twice at once the first counts."""
    first = {envelope.id: envelope for envelope in reversed(envelopes)}
    return list(reversed(first.values()))


def _add_again(tx: Tx, known: list[Envelope]) -> set[str]:
    rearmed: set[str] = set()
    for rows in batches(as_row(envelope) for envelope in known):
        tx.run("keep_successes", rows=rows)
        rearmed |= {row[0] for row in tx.fetch("rearm", rows=rows)}
    for envelope in known:
        if envelope.id not in rearmed:
            logger.warning(
                "task %s[%s] is in the ledger and not finished: this second sending of it is ignored",
                envelope.name,
                envelope.id,
            )
    return rearmed
