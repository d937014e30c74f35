"""Change the payload of a task that no worker has: guarded by what was seen of it, and noted with who and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.states import State

EDITABLE = frozenset({State.PENDING, State.PARKED, State.FAILED, State.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Payload:
    """What a task is run from, as it stands in the ledger."""

    name: str
    version: int
    content_type: str
    body_encoding: str
    body: str
    headers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A task and its payload at one moment: an edit is refused if it is not like that any more."""

    task_id: str
    state: State
    generation: int
    fence: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class Written:
    """A call as people read it, and as the note of an edit keeps it. Arguments are in JSON's own types."""

    name: str
    version: int
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edited:
    """The new payload, what it calls (`mirepoix.signatures.call_codec`), and both calls in words."""

    payload: Payload
    shape: str | None
    before: Written
    after: Written


def look(tx: Tx, task_id: str) -> Seen | None:
    """The task with that id and its payload, or None."""
    rows = tx.fetch("look_at_payload", task_id=task_id)
    if not rows:
        return None
    (row,) = rows
    payload = Payload(
        name=row.name,
        version=row.version,
        content_type=row.content_type,
        body_encoding=row.body_encoding,
        body=row.body,
        headers=json.loads(row.headers),
    )
    return Seen(task_id, State(row.state), row.generation, row.fence, payload)


def edit(tx: Tx, seen: Seen, edited: Edited, by: str, reason: str) -> bool:
    """Replace the payload and note who did it, and why. They must differ.

    False, and nothing is written, if the task is not as it was *seen* any more, or a worker has it. Only the payload
    changes: what is parked for other code is taken up by itself if that can take it now; else a requeue runs it.
    """
    changed = tx.fetch(
        "edit_payload",
        task_id=seen.task_id,
        state=seen.state.value,
        generation=seen.generation,
        fence=seen.fence,
        seen_name=seen.payload.name,
        seen_version=seen.payload.version,
        seen_body=seen.payload.body,
        name=edited.payload.name,
        version=edited.payload.version,
        shape=edited.shape,
        headers=json.dumps(edited.payload.headers),
        body=edited.payload.body,
        reason=storable(f"edited, and not tried since: {reason}"),
    )
    if not changed:
        return False
    tx.run(
        "note_edit",
        task_id=seen.task_id,
        edited_by=storable(by),
        reason=storable(reason),
        before_edit=_noted(edited.before),
        after_edit=_noted(edited.after),
    )
    return True


def _noted(written: Written) -> str:
    return json.dumps(
        {"name": written.name, "version": written.version, "args": written.args, "kwargs": written.kwargs}
    )
