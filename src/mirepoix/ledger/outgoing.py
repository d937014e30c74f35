"""Write what a transaction sends: tasks, their chords and groups, and their events."""

from __future__ import annotations

from collections.abc import Sequence

from mirepoix.ledger import chords, enqueue, messages, results
from mirepoix.ledger.tx import Tx
from mirepoix.records import Chord, Envelope, Event, Outgoing, SavedGroup


def add(tx: Tx, items: Sequence[Outgoing]) -> None:
    """Write all of *items* in *tx*, chords before their members."""
    for item in items:
        if isinstance(item, Chord):
            chords.begin(tx, item)
        elif isinstance(item, SavedGroup):
            results.save_group(tx, item)
    enqueue.add(tx, [item for item in items if isinstance(item, Envelope)])
    for item in items:
        if isinstance(item, Event):
            messages.publish(tx, item)
