"""Write tasks into the ledger, in whatever transaction is handed in: its COMMIT makes them real."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope

logger = logging.getLogger("mirepoix.enqueue")

ROWS_A_STATEMENT = 1_000
"""How many tasks one statement carries; more brought nothing (measured: benchmarks/enqueue.py)."""


def add(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    """Enqueue *envelopes*; return the ids that are now waiting because of it.

    An id that the ledger knows and that is finished begins a new generation. One that is still waiting or running
    is left as it is: a task is one row, and sending it twice does not make it run twice. That is logged, not raised.
    """
    accepted: set[str] = set()
    rest = iter(envelopes)
    while chunk := list(islice(rest, ROWS_A_STATEMENT)):
        accepted |= _add_chunk(tx, chunk)
    return accepted


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


def _add_chunk(tx: Tx, chunk: list[Envelope]) -> set[str]:
    added = {row[0] for row in tx.fetch("enqueue", rows=json.dumps([as_row(e) for e in chunk]))}
    known = [e for e in chunk if e.id not in added]
    if not known:
        return added
    again = json.dumps([as_row(e) for e in known])
    tx.run("keep_successes", rows=again)
    rearmed = {row[0] for row in tx.fetch("rearm", rows=again)}
    for envelope in known:
        if envelope.id not in rearmed:
            logger.warning(
                "task %s[%s] is in the ledger and not finished: this second sending of it is ignored",
                envelope.name,
                envelope.id,
            )
    return added | rearmed
