"""Write tasks into the ledger, in whatever transaction is handed in: its COMMIT makes them real."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from operator import attrgetter
from time import monotonic
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from mirepoix.errors import TaskIdTaken
from mirepoix.ledger.rows import batches
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope
from mirepoix.sql.envelope import COLUMNS

logger = logging.getLogger("mirepoix.enqueue")

_COLUMNS = tuple(column.name for column in COLUMNS)
_JSON = tuple(column.name for column in COLUMNS if column.type == "json")
_values = attrgetter(*_COLUMNS)


def add(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    """Enqueue *envelopes*; return the ids that are now waiting because of it.

    An id that the ledger knows and that is finished begins a new generation. One that is still waiting or running
    is left as it is if it is sent with the same arguments: a task is one row, and sending it twice does not make it run
    twice. That is logged, not raised. With other arguments it is another task: what follows from a task gets an id of
    its own, which is logged; for anybody else's call TaskIdTaken is raised.
    """
    envelopes = timed(tx, envelopes)
    unique = _first_of_each_id(envelopes)
    accepted: set[str] = set()
    for rows in batches(as_row(envelope) for envelope in unique):
        accepted |= {row.id for row in tx.fetch("enqueue", rows=rows)}
    known = [envelope for envelope in unique if envelope.id not in accepted]
    accepted |= _rearm(tx, known)
    rest = [one for one in known if one.id not in accepted] + _later_ones(envelopes)
    others = [envelope for envelope in rest if not _is_sent_again(tx, envelope)]
    return accepted | (add(tx, [_as_another(envelope) for envelope in others]) if others else set())


def adopt(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    """Enqueue those of *envelopes* whose id the ledger does not know, and no others; return their ids."""
    unique = _first_of_each_id(timed(tx, envelopes))
    return {row.id for rows in batches(map(as_row, unique)) for row in tx.fetch("enqueue", rows=rows)}


def timed(tx: Tx, envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
    """*envelopes* with the durations that their senders gave as moments of the ledger's clock."""
    if all(one.eta_in_s is None and one.expires_in_s is None for one in envelopes):
        return envelopes
    now_s = float(tx.fetch("now")[0].now_s)
    return [_timed(one, now_s - (monotonic() - one.asked_at)) for one in envelopes]


def _timed(envelope: Envelope, asked_s: float) -> Envelope:
    """*asked_s* is when it was asked for, by the ledger's clock."""
    eta, expires = envelope.eta, envelope.expires
    if envelope.eta_in_s is not None:
        eta = datetime.fromtimestamp(asked_s + envelope.eta_in_s, UTC).isoformat()
    if envelope.expires_in_s is not None:
        expires = datetime.fromtimestamp(asked_s + envelope.expires_in_s, UTC).isoformat()
    return replace(envelope, eta=eta, expires=expires, eta_in_s=None, expires_in_s=None)


def as_row(envelope: Envelope) -> dict[str, Any]:
    """*envelope* as the statements read it from JSON."""
    row = dict(zip(_COLUMNS, _values(envelope), strict=True))
    for name in _JSON:
        row[name] = _as_json(row[name])
    return row


def can_be_header(value: Any) -> bool:
    """Whether a header or a property may hold *value*."""
    try:
        _as_json(value)
    except (TypeError, ValueError):
        return False
    return True


def _as_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, default=_plain)


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


def _later_ones(envelopes: Sequence[Envelope]) -> list[Envelope]:
    """The second, third … of one id that is sent several times at once."""
    seen: set[str] = set()
    return [one for one in envelopes if one.id in seen or seen.add(one.id)]  # type: ignore[func-returns-value]


def _rearm(tx: Tx, known: list[Envelope]) -> set[str]:
    rearmed: set[str] = set()
    for rows in batches(as_row(envelope) for envelope in known):
        tx.run("keep_successes", rows=rows)
        rearmed |= {row.id for row in tx.fetch("rearm", rows=rows)}
    return rearmed


def _is_sent_again(tx: Tx, envelope: Envelope) -> bool:
    """Whether it is the second sending of a task that waits or runs; that is logged. Raises TaskIdTaken."""
    found = tx.fetch("waiting_call", task_id=envelope.id)
    is_same = all(
        (row.name, row.parent_id if envelope.follows else envelope.parent_id) == (envelope.name, envelope.parent_id)
        and _arguments(row.body) == _arguments(envelope.body)
        for row in found
    )
    if not is_same and not envelope.follows:
        raise TaskIdTaken(envelope.name, envelope.id, found[0].name)
    if is_same:
        logger.warning(
            "task %s[%s] is in the ledger and not finished: this second sending of it is ignored",
            envelope.name,
            envelope.id,
        )
    return is_same


def _arguments(body: str) -> Any:
    """Those of a message, without what it carries for later, which has other ids each time; or all of the text."""
    try:
        args, kwargs, _ = json.loads(body)
    except (ValueError, TypeError):
        return body
    return [args, kwargs]


def _as_another(envelope: Envelope) -> Envelope:
    new_id = str(uuid5(NAMESPACE_OID, f"{envelope.id} {envelope.parent_id} {envelope.body}"))  # the same each time
    logger.warning(
        "task %s[%s] is in the ledger with other arguments and not finished: what follows from task %s runs as %s",
        envelope.name,
        envelope.id,
        envelope.parent_id,
        new_id,
    )
    return replace(
        envelope,
        id=new_id,
        headers={**envelope.headers, "id": new_id},
        properties={**envelope.properties, "correlation_id": new_id},
    )
