"""Keys of sends that happen once: the INSERT of a key decides which of several calls creates the task.

The key and its task are written in one transaction. If another transaction has claimed the key and not committed, the
database waits for it: after its COMMIT the key is taken, after its ROLLBACK it is free.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.ledger.arguments import CONTENT_TYPE
from mirepoix.ledger.tx import Tx
from mirepoix.sql.columns import Row

PRUNED_AT_ONCE = 5_000

FOR_EVER_S = 100 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Call:
    """The call that a key stands for: a task and its arguments, as plain JSON values."""

    name: str
    args: list[Any]
    kwargs: dict[str, Any]

    def hash_under(self, key: str) -> str:
        """Return a hash of the call. The key is part of it, so that equal calls under two keys have other hashes."""
        text = json.dumps([key, self.name, self.args, self.kwargs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def shape(self) -> str:
        """The types of the arguments, without their values."""
        kinds = {name: kind(value) for name, value in sorted(self.kwargs.items())}
        return json.dumps([[kind(value) for value in self.args], kinds])


@dataclass(frozen=True, slots=True)
class Claimed:
    """The task that was sent under a key, with a hash and the shape of its call."""

    task_id: str
    name: str
    call_hash: str
    shape: str
    is_unsent: int
    """1: the task was never sent. The process that claimed the key died between two commits of its connection."""


@dataclass(frozen=True, slots=True)
class Due:
    """A task that has ended, and the callback that is due."""

    key: str
    task_id: str
    callback: str


def find(tx: Tx, key: str) -> Claimed | None:
    """Return the task that has the key, as far as *tx* can see."""
    rows = tx.fetch("find_key", key=key)
    return _claimed(rows[0]) if rows else None


def claim(tx: Tx, key: str, call: Call, task_id: str) -> Claimed:
    """Claim the key for *call* and its task, unless it is taken; return the task that has it now.

    It waits for an open transaction that has claimed the key.
    """
    tx.run("claim_key", key=key, task_id=task_id, task_name=call.name, call_hash=call.hash_under(key), shape=call.shape)
    (row,) = tx.fetch("claimed_key", key=key)
    return _claimed(row)


def _claimed(row: Row) -> Claimed:
    return Claimed(row.task_id, row.task_name, row.call_hash, row.shape, row.is_unsent)


def release(tx: Tx, key: str, task_id: str) -> None:
    """Free a key that this transaction has claimed, because its task was not sent."""
    tx.run("release_key", key=key, task_id=task_id)


def differences(tx: Tx, claimed: Claimed, call: Call) -> list[str]:
    """Return in which arguments *call* differs from the key's call, in words without any value."""
    if claimed.name != call.name:
        return [f"the task was {claimed.name}"]
    was_args, was_kwargs = json.loads(claimed.shape)
    before = _places(was_args, was_kwargs)
    now = _places([kind(value) for value in call.args], {name: kind(value) for name, value in call.kwargs.items()})
    found = [f"{place} was not there" for place in now if place not in before]
    found += [f"{place} is missing" for place in before if place not in now]
    found += [
        f"{place} was {before[place]}, is {now[place]}"
        for place in now
        if before.get(place, "") not in ("", now[place])
    ]
    return found or _other_values(tx, claimed, call)


def expire(tx: Tx, task_ids: Sequence[str], kept_s: float | None) -> None:
    """Let the keys of these tasks expire in *kept_s*, or never if it is None. The tasks are being pruned."""
    if task_ids:
        tx.run("expire_keys", task_ids=json.dumps(list(task_ids)), kept_s=FOR_EVER_S if kept_s is None else kept_s)


def prune(tx: Tx, batch: int = PRUNED_AT_ONCE) -> int:
    """Delete expired keys; return how many."""
    return tx.run("prune_keys", batch=batch)


def ask_callback(tx: Tx, key: str, callback_to: str, callback: str) -> None:
    """Record the callback for the task's end. It replaces an earlier callback."""
    tx.run("ask_callback", key=key, callback_to=callback_to, callback=callback)


def drop_callback(tx: Tx, due: Due) -> bool:
    """Delete a callback that was made. False if it was replaced since, or if another process has made it."""
    return tx.run("drop_callback", key=due.key, callback=due.callback) == 1


def due_callbacks(tx: Tx, callback_to: str, batch: int = 100) -> list[Due]:
    """Return the callbacks of ended tasks that were not made yet, the oldest first."""
    return [Due(*row) for row in tx.fetch("due_callbacks", callback_to=callback_to, batch=batch)]


def kind(value: Any) -> str:
    """Return JSON's name for the type of *value*."""
    if value is None:
        return "null"
    if isinstance(value, dict) and value.keys() == {"__type__", "__value__"}:
        return str(value["__type__"])
    kinds = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "mapping"}
    return kinds.get(type(value), type(value).__name__)


def _places(args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by the words for their places."""
    numbered = {f"argument {number}": value for number, value in enumerate(args, 1)}
    return numbered | {f"keyword {name!r}": value for name, value in kwargs.items()}


def _other_values(tx: Tx, claimed: Claimed, call: Call) -> list[str]:
    for content_type, body_encoding, body in tx.fetch("body_of_task", task_id=claimed.task_id):
        if content_type == CONTENT_TYPE and body_encoding == "utf-8":
            args, kwargs, _ = json.loads(body)
            before, now = _places(args, kwargs), _places(call.args, call.kwargs)
            return [f"{place} has another value" for place in now if before.get(place) != now[place]]
    return ["an argument has another value"]
