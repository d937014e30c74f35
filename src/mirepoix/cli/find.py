"""Find the ids of tasks from what a person typed: a whole id, a key, or the beginning of one id."""

from __future__ import annotations

from collections.abc import Sequence

from mirepoix.ledger import keys
from mirepoix.ledger.query.tasks import beginning_with, states_of
from mirepoix.ledger.tx import Tx
from mirepoix.operations.format import one_line

CANDIDATES = 4


def resolve(tx: Tx, typed: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the ids, each once, and for each word that matches no task or several tasks the reason."""
    whole = set()
    for start in range(0, len(typed), 500):
        whole |= set(states_of(tx, typed[start : start + 500]))
    found: dict[str, None] = {}
    missing: dict[str, str] = {}
    for word in typed:
        candidates = [word] if word in whole else _named_by(tx, word)
        if len(candidates) == 1:
            found[candidates[0]] = None
        else:
            missing[word] = _why(word, candidates)
    return list(found), missing


def _named_by(tx: Tx, word: str) -> list[str]:
    claimed = keys.find(tx, word)
    if claimed is not None:
        return [claimed.task_id]
    return [task_id for task_id, _, _ in beginning_with(tx, word, CANDIDATES + 1)]


def _why(word: str, candidates: list[str]) -> str:
    if not candidates:
        return (
            f"The ledger has no task {one_line(word)!r}: it was never sent, rolled back, or pruned. See: mirepoix tasks"
        )
    shown = ", ".join(one_line(task_id) for task_id in candidates[:CANDIDATES])
    more = ", …" if candidates[CANDIDATES:] else ""
    return f"Several tasks begin with {one_line(word)!r}: {shown}{more}. Give more of the id."
