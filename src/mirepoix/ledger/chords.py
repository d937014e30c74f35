"""Count the parts of chords. The transaction in which the last part returns also ends the chord."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.ledger.rows import batches
from mirepoix.ledger.text import storable
from mirepoix.ledger.tx import Tx
from mirepoix.records import Chord, Part

SUCCESS = "SUCCESS"


@dataclass(frozen=True, slots=True)
class Returned:
    """A chord with all its parts, in the order of its header. *origin* is the origin of one of the last parts."""

    group_id: str
    parts: tuple[Part, ...]
    origin: Any

    @property
    def failed_part(self) -> Part | None:
        """The first part that did not succeed."""
        return next((part for part in self.parts if part.status != SUCCESS), None)


def begin(tx: Tx, chord: Chord) -> None:
    """Begin to count the parts of a chord. The same transaction has to enqueue its members."""
    tx.run("open_chord", group_id=chord.group_id, size=chord.size)


def grow(tx: Tx, group_id: str, by: int = 1) -> None:
    """Let the chord wait for more parts."""
    tx.run("grow_chord", group_id=group_id, by=by)


def return_parts(tx: Tx, parts: Sequence[Part]) -> list[Returned]:
    """Record that *parts* have returned. Return the chords that are now complete and have not ended.

    Each chord is returned to one transaction only, because its row is locked until the transaction ends. A part does
    not count if it has returned before, or if its chord has ended or is unknown.
    """
    if not parts:
        return []
    waiting = {
        row.group_id for row in tx.fetch("lock_chords", group_ids=json.dumps(sorted({part.group_id for part in parts})))
    }
    rows = [
        {
            "group_id": part.group_id,
            "task_id": part.task_id,
            "position": part.position,
            "status": part.status,
            "result": storable(part.result),
        }
        for part in {(part.group_id, part.task_id): part for part in reversed(parts)}.values()
        if part.group_id in waiting
    ]
    if not rows:
        return []
    added = Counter(row.group_id for batch in batches(rows) for row in tx.fetch("add_chord_parts", rows=batch))
    origins = {part.group_id: part.origin for part in parts}
    complete = []
    for group_id, returned in sorted(added.items()):
        counted = tx.fetch("count_chord_parts", group_id=group_id, returned=returned)
        if counted and counted[0].is_complete:
            complete.append(Returned(group_id, _parts(tx, group_id), origins[group_id]))
    return complete


def end(tx: Tx, group_id: str, *, is_success: bool) -> bool:
    """End a chord. The caller sends its body, or reports its failure, in *tx*. False if it had ended before."""
    if not tx.fetch("end_chord", group_id=group_id, state="fired" if is_success else "failed"):
        return False
    tx.run("drop_chord_parts", group_id=group_id)
    return True


def members(tx: Tx, task_ids: Iterable[str], status: str, error: str) -> list[tuple[Part, str]]:
    """Return the parts that these tasks would have returned, if they had not ended before they ran: ``(part, queue)``.

    *error* is the serialised exception. A task in a chain returns the part of the chain's last task, or the parts of
    the group at its end. The origin of a part is the task's message, as a mapping with the chord and the headers.
    """
    found = []
    ids = list(task_ids)
    for row in tx.fetch("chord_members", ids=json.dumps(ids)) if ids else ():
        embed = _embed(row.body)
        headers = row.headers if isinstance(row.headers, dict) else json.loads(row.headers)
        own = {**headers, **embed, "task_id": row.id}
        for options in [own] if embed.get("chord") else _ends_of_chain(embed):
            group_id = options.get("group") or options.get("group_id")
            if options.get("chord") and group_id and options.get("task_id"):
                origin = {**headers, "chord": options["chord"], "group": group_id, "id": row.id}
                part = Part(group_id, options["task_id"], options.get("group_index"), status, error, origin)
                found.append((part, row.queue))
    return found


def queue_of(tx: Tx, task_ids: Iterable[str]) -> str | None:
    """Return a queue that one of these tasks went through; None if none of them is in the ledger."""
    rows = tx.fetch("queue_of", ids=json.dumps(list(task_ids)))
    return rows[0].queue if rows else None


def prune(tx: Tx, older_than_s: float) -> None:
    """Delete the rows of chords that ended long ago."""
    tx.run("prune_chords", older_than_s=older_than_s)


def _parts(tx: Tx, group_id: str) -> tuple[Part, ...]:
    rows = tx.fetch("chord_parts", group_id=group_id)
    return tuple(Part(group_id, row.task_id, place, row.status, row.result) for place, row in enumerate(rows))


def _embed(body: str) -> dict[str, Any]:
    try:
        _, _, embed = json.loads(body)
    except (ValueError, TypeError):
        return {}
    return embed if isinstance(embed, dict) else {}


def _ends_of_chain(embed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for step in embed.get("chain") or ():
        yield from _ends(step)


def _ends(signature: Any) -> Iterator[dict[str, Any]]:
    """Yield the options of the tasks that return a signature's parts."""
    if not isinstance(signature, dict):
        return
    kwargs = signature.get("kwargs") or {}
    inside = {
        "group": kwargs.get("tasks"),
        "chord": [kwargs.get("body")],
        "chain": (kwargs.get("tasks") or [])[-1:],
    }.get(signature.get("subtask_type") or "")
    if inside is None:
        yield signature.get("options") or {}
        return
    for signature_inside in inside:
        yield from _ends(signature_inside)
