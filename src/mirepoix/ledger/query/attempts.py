"""Read attempts that ended, with what their messages said, to trace them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mirepoix.ledger.query.values import seconds
from mirepoix.ledger.tx import Tx


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """One attempt that did not succeed. ``…_ago_s`` is how long ago something happened, by the ledger's clock."""

    task_id: str
    fence: int
    name: str
    queue: str
    retries: int
    outcome: str
    headers: Mapping[str, Any]
    """The headers of the task's message as it is now. A retry has replaced those of an earlier attempt."""
    leased_ago_s: float | None
    started_ago_s: float | None
    finished_ago_s: float
    waited_s: float | None
    error_type: str | None
    signal: int | None


def attempts_ended(tx: Tx, which: Iterable[tuple[str, int]]) -> list[AttemptEnded]:
    """Return the attempts among *which*, each a task's id and a fence, that have a row."""
    found = []
    for task_id, fence in which:
        for row in tx.fetch("attempt_ended", task_id=task_id, fence=fence):
            values = row.as_dict()
            values["headers"] = _headers(row.headers)
            values["leased_ago_s"], values["started_ago_s"] = seconds(row.leased_ago_s), seconds(row.started_ago_s)
            values["finished_ago_s"] = seconds(row.finished_ago_s) or 0.0
            found.append(AttemptEnded(**values))
    return found


def _headers(text: Any) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
