"""Change the payload of a task that no worker has, if it has not changed since it was read; record who and why."""

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
    """The parts of a task's row that it is run from."""

    name: str
    version: int
    content_type: str
    body_encoding: str
    body: str
    headers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A task and its payload at one moment. An edit is refused if they have changed since."""

    task_id: str
    state: State
    generation: int
    fence: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class Written:
    """A call as people read it, and as the record of an edit stores it. Arguments are in JSON's own types."""

    name: str
    version: int
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edited:
    """The new payload, its shape (`mirepoix.signatures.call_codec`), and the calls before and after."""

    payload: Payload
    shape: str | None
    before: Written
    after: Written


def look(tx: Tx, task_id: str) -> Seen | None:
    """Return the task with that id and its payload, or None."""
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
    """Replace the payload and record who did it and why. The payloads must differ.

    It returns False and writes nothing if the task has changed since it was *seen*, or if a worker has it. Only the
    payload changes. Workers resume a task that is parked for other code if their code can take it now; other tasks need
    a requeue.
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
