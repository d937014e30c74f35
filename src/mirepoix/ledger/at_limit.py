"""If a limit has no room for new calls, drop them, or cancel older calls that wait.

It is decided in the transaction that sends. Senders with the same key wait for each other, by a lock on a row that no
worker reads. Workers only make room: what they take, finish or give back adds no call. So what a sender counts is never
too low when it commits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mirepoix.ledger.limits import name_of
from mirepoix.ledger.tx import Tx
from mirepoix.records import AtLimitPolicy, Envelope
from mirepoix.states import State

logger = logging.getLogger("mirepoix.enqueue")

DROP, CANCEL = "drop", "cancel"

MARK = " limit "
"""The rows of ``mirepoix_key`` that senders lock begin with it. No key of `submit_once` begins with a space."""

LOCK_KEPT_S = 3600.0
"""How long such a row stays that nobody uses."""

EVERY = 2**31 - 1
"""No end to what is read."""


def lock(tx: Tx, envelopes: Sequence[Envelope]) -> None:
    """Let other senders with the keys of *envelopes* wait until the end of *tx*.

    It waits for open transactions that have sent calls with these keys. Two transactions that lock several keys one by
    one, in another order, end in a deadlock, which the database detects.
    """
    first = {envelope.limit_key: envelope for envelope in reversed(envelopes)}
    for key in sorted(str(key) for key in first):
        tx.run("lock_senders_of_key", key=MARK + key, task_id=first[key].id, kept_s=LOCK_KEPT_S)


def settle(tx: Tx, envelopes: Sequence[Envelope], accepted: set[str]) -> set[str]:
    """End the calls that have no room, after *envelopes* were written; return the ids of those that were ended.

    *accepted* are the ids that wait because of this sending. The others were sent before, and nothing is decided again.
    """
    by_key: dict[str, list[Envelope]] = {}
    for envelope in envelopes:
        if envelope.id in accepted:
            by_key.setdefault(str(envelope.limit_key), []).append(envelope)
    return {task_id for key, sent in sorted(by_key.items()) for task_id in _settle(tx, key, sent)}


def _settle(tx: Tx, key: str, sent: Sequence[Envelope]) -> list[str]:
    policy = sent[0].at_limit
    running = None if policy is None else _running(tx, key, policy)
    if policy is None or running is None:
        return []
    new = [envelope.id for envelope in sent]
    if policy.action == DROP:
        calls = len(tx.fetch("open_calls", key=key, most=running + len(new)))
        reason = f"dropped: the limit {name_of(key)!r} allows {running:,} at once"
        ended = _end(tx, new[::-1], calls - running, reason)
    else:
        rows = sorted(tx.fetch("open_calls", key=key, most=EVERY), key=lambda row: int(row.seq))
        own = set(new)
        before = [row.id for row in rows if row.state == State.PENDING and row.id not in own]
        reason = f"cancelled in favour of {new[-1]}: the limit {name_of(key)!r} allows {running:,} at once"
        ended = _end(tx, [*before, *new[:-1]], len(rows) - running, reason)
    if ended:
        policy.return_ended(tx, ended, reason)
        logger.info("%d tasks were %s", len(ended), reason)
    return ended


def _running(tx: Tx, key: str, policy: AtLimitPolicy) -> int | None:
    """Return how many calls of the key may run at once; None for any number."""
    rows = tx.fetch("running_of_limit", name=name_of(key))
    return rows[0].running if rows else policy.running


def _end(tx: Tx, candidates: Sequence[str], excess: int, reason: str) -> list[str]:
    """End the first *excess* of these calls that still wait; return their ids. A worker may take some meanwhile."""
    ended: list[str] = []
    for task_id in candidates:
        if len(ended) >= excess:
            break
        ended += [row.id for row in tx.fetch("cancel_at_limit", task_id=task_id, reason=reason)]
    return ended
