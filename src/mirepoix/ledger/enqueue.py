"""Write tasks into the ledger in the caller's transaction. Its COMMIT makes them real."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
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
    """Enqueue *envelopes*; return the ids that are waiting now because of this call.

    A finished task that is sent again begins a new generation. A task that still waits or runs is left as it is if it
    is sent again with the same arguments: a task is one row, and runs once. That is logged. With other arguments it is
    another task. If it follows from a task, it gets a new id, and that is logged. Otherwise TaskIdTaken is raised.

    The ids leave out tasks that were ended at once because their limit has no room (`mirepoix.ledger.at_limit`).
    """
    return _with_limits(tx, envelopes, _add)


def _add(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    envelopes = timed(tx, envelopes)
    unique = _first_of_each_id(envelopes)
    accepted: set[str] = set()
    for rows in batches(as_row(envelope) for envelope in unique):
        accepted |= {row.id for row in tx.fetch("enqueue", rows=rows)}
    known = [envelope for envelope in unique if envelope.id not in accepted]
    accepted |= _rearm(tx, known)
    rest = [envelope for envelope in known if envelope.id not in accepted] + _later_ones(envelopes)
    others = [envelope for envelope in rest if not _is_sent_again(tx, envelope)]
    return accepted | (_add(tx, [_as_another(envelope) for envelope in others]) if others else set())


def adopt(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    """Enqueue the *envelopes* with ids that the ledger does not have; return these ids.

    The ids leave out tasks that were ended at once because their limit has no room (`mirepoix.ledger.at_limit`).
    """
    return _with_limits(tx, envelopes, _adopt)


def _with_limits(
    tx: Tx, envelopes: Sequence[Envelope], write: Callable[[Tx, Sequence[Envelope]], set[str]]
) -> set[str]:
    limited = [envelope for envelope in envelopes if envelope.at_limit is not None]
    if not limited:
        return write(tx, envelopes)
    from mirepoix.ledger import at_limit  # only programs with limits need it

    at_limit.lock(tx, limited)
    accepted = write(tx, envelopes)
    return accepted - at_limit.settle(tx, limited, accepted)


def _adopt(tx: Tx, envelopes: Sequence[Envelope]) -> set[str]:
    unique = _first_of_each_id(timed(tx, envelopes))
    return {row.id for rows in batches(map(as_row, unique)) for row in tx.fetch("enqueue", rows=rows)}


def timed(tx: Tx, envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
    """Return *envelopes* with their senders' durations converted to times of the ledger's clock."""
    if all(envelope.eta_in_s is None and envelope.expires_in_s is None for envelope in envelopes):
        return envelopes
    now_s = float(tx.fetch("now")[0].now_s)
    return [_timed(envelope, now_s - (monotonic() - envelope.asked_at)) for envelope in envelopes]


def _timed(envelope: Envelope, asked_s: float) -> Envelope:
    """Convert the durations of one envelope. *asked_s* is when it was sent, by the ledger's clock."""
    eta, expires = envelope.eta, envelope.expires
    if envelope.eta_in_s is not None:
        eta = datetime.fromtimestamp(asked_s + envelope.eta_in_s, UTC).isoformat()
    if envelope.expires_in_s is not None:
        expires = datetime.fromtimestamp(asked_s + envelope.expires_in_s, UTC).isoformat()
    return replace(envelope, eta=eta, expires=expires, eta_in_s=None, expires_in_s=None)


def as_row(envelope: Envelope) -> dict[str, Any]:
    """Return *envelope* as the statements read it from JSON."""
    row = dict(zip(_COLUMNS, _values(envelope), strict=True))
    for name in _JSON:
        row[name] = _as_json(row[name])
    return row


def can_be_header(value: Any) -> bool:
    """Return whether a header or a property can hold *value*."""
    try:
        _as_json(value)
    except (TypeError, ValueError):
        return False
    return True


def _as_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    """Convert a value in a header to a type that JSON has. Raises TypeError if that is not possible."""
    if hasattr(value, "__json__"):  # Celery's signatures, and other types that kombu's encoder supports
        return value.__json__()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    raise TypeError(f"a header or property holds a {type(value).__qualname__}, which JSON cannot hold")


def _first_of_each_id(envelopes: Sequence[Envelope]) -> list[Envelope]:
    """Return the first envelope of each id."""
    first = {envelope.id: envelope for envelope in reversed(envelopes)}
    return list(reversed(first.values()))


def _later_ones(envelopes: Sequence[Envelope]) -> list[Envelope]:
    """Return the second, third … envelope of each id that is sent several times at once."""
    seen: set[str] = set()
    return [envelope for envelope in envelopes if envelope.id in seen or seen.add(envelope.id)]  # type: ignore[func-returns-value]


def _rearm(tx: Tx, known: list[Envelope]) -> set[str]:
    rearmed: set[str] = set()
    for rows in batches(as_row(envelope) for envelope in known):
        tx.run("keep_successes", rows=rows)
        rearmed |= {row.id for row in tx.fetch("rearm", rows=rows)}
    return rearmed


def _is_sent_again(tx: Tx, envelope: Envelope) -> bool:
    """Return whether a task that waits or runs is sent again, and log that. Raises TaskIdTaken."""
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
            "task %s[%s] is in the ledger and not finished: it was sent again, and that is ignored",
            envelope.name,
            envelope.id,
        )
    return is_same


def _arguments(body: str) -> Any:
    """Return a message's arguments without its links, which have new ids each time; or the text if it is not JSON."""
    try:
        args, kwargs, _ = json.loads(body)
    except (ValueError, TypeError):
        return body
    return [args, kwargs]


def _as_another(envelope: Envelope) -> Envelope:
    new_id = str(uuid5(NAMESPACE_OID, f"{envelope.id} {envelope.parent_id} {envelope.body}"))  # the same each time
    logger.warning(
        "task %s[%s] is in the ledger with other arguments and not finished: the task that %s sends runs as %s",
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
