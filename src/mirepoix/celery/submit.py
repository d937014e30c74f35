"""Submit a task once: the same key gives the same task, also after the task has finished, and when two callers race."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery.canvas import Signature
from kombu.exceptions import EncodeError
from kombu.utils.json import dumps

from mirepoix.celery import context, private
from mirepoix.celery.capture import UnserializablePayload, captured, in_transaction, is_in_transaction, tried_again
from mirepoix.celery.handle import Handle
from mirepoix.crashpoints import Crashpoint, reached
from mirepoix.errors import ConfigurationError, InvalidOption, KeyTaken
from mirepoix.ledger import enqueue, keys
from mirepoix.ledger.keys import Call, Claimed
from mirepoix.ledger.tx import Tx
from mirepoix.records import Envelope, Outgoing

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.enqueue")

KEY_LIMIT = 255

Within = Callable[[Tx, Claimed], None]


def submit_once(
    task: Any,
    key: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    /,
    **options: Any,
) -> Handle:
    """Send *task* under *key*, unless that was done before. Return the handle of the task that has the key.

    *task* is a task of an app that Mirepoix is installed on, or a signature of one task. *options* are those of
    ``apply_async``. Only the call that sends the task uses them. `Handle.is_new` is True for that call.

    The task is part of the caller's transaction, as with ``delay()``: a rollback removes the task and the key. If
    another transaction that is still open has submitted the key, this waits for its end. On SQLite it waits until no
    transaction writes. The key is stored as long as the task's row, and ``key_retention_s`` longer, also if the task
    fails.

    Raises KeyTaken if the key belongs to another task or other arguments. Raises ConfigurationError for a key that is
    no printable text of 1 to 255 characters, and in an asynchronous transaction. Raises what ``apply_async`` raises.
    """
    return submit_within(task, key, args, kwargs, options, None)


def submit_within(
    task: Any,
    key: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    within: Within | None,
) -> Handle:
    """Do what `submit_once` does, and call *within* in the same transaction, with the task that has the key."""
    from mirepoix.celery.installation import installation_of

    kwargs = kwargs or {}
    name, all_args, all_kwargs = _called(task, args, kwargs)
    _check(key, name, options)
    installation = installation_of(task.app)
    _require_capture(installation, name)
    call = _call(name, all_args, all_kwargs)
    work = _Submission(installation, task, key, call, args, kwargs, dict(options), within)
    with context.outside():
        claimed, is_new = work.done()
    return Handle(task.app, key, claimed.task_id, claimed.name, is_new=is_new)


class _Submission:
    """One call of `submit_once`."""

    def __init__(
        self,
        installation: Installation,
        task: Any,
        key: str,
        call: Call,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: dict[str, Any],
        within: Within | None,
    ) -> None:
        self._installation = installation
        self._source = installation.source
        self._task = task
        self._key = key
        self._call = call
        self._args = args
        self._kwargs = kwargs
        self._options = options
        self._within = within
        self._id = str(uuid.uuid4())

    def done(self) -> tuple[Claimed, bool]:
        """The task that has the key, and whether this call made it."""
        if is_in_transaction(self._installation):
            return self._in_transaction()
        # If the answer to a COMMIT was lost, the second try finds the key with the id that the first wrote.
        return tried_again(self._installation, lambda: self._found_before() or self._in_transaction())

    def _found_before(self) -> tuple[Claimed, bool] | None:
        """Find the key of a repeated call by a read, which waits for no lock."""
        if self._within is not None:
            return None
        with self._source.reading() as tx:
            claimed = keys.find(tx, self._key)
            if claimed is None or claimed.is_unsent:
                return None
            return self._compared(tx, claimed), claimed.task_id == self._id

    def _in_transaction(self) -> tuple[Claimed, bool]:
        with in_transaction(self._installation) as (tx, add):
            if tx is None:
                raise ConfigurationError(IN_ASYNC)
            claimed = self._claimed(tx)
            is_new = claimed.task_id == self._id
            if is_new:
                self._send(tx, add)
            elif claimed.is_unsent:
                # Not `add`: an old snapshot may not show the task, which may have finished already.
                sent = [item for item in self._built(claimed.task_id) if isinstance(item, Envelope)]
                is_new = bool(enqueue.adopt(tx, sent))
            if self._within is not None:
                self._within(tx, claimed)
            reached(Crashpoint.SUBMIT_BEFORE_COMMIT)
        reached(Crashpoint.SUBMIT_AFTER_COMMIT)
        return claimed, is_new

    def _send(self, tx: Tx, add: Callable[[Sequence[Outgoing]], object]) -> None:
        try:
            add(self._built(self._id))
        except BaseException:
            # The caller may catch the error and commit. Then the key must be free.
            with suppress(*self._source.errors):
                keys.release(tx, self._key, self._id)
            raise

    def _claimed(self, tx: Tx) -> Claimed:
        # On SQLite a transaction that has read may be unable to write. So the INSERT comes first there.
        found = None if tx.dialect == "sqlite" else keys.find(tx, self._key)
        return self._compared(tx, found or keys.claim(tx, self._key, self._call, self._id))

    def _compared(self, tx: Tx, claimed: Claimed) -> Claimed:
        given = self._call.hash_under(self._key)
        if claimed.call_hash == given:
            return claimed
        differences = "; ".join(keys.differences(tx, claimed, self._call))
        hashes = f"its call has the hash {claimed.call_hash[:12]}, this one {given[:12]}"
        raise KeyTaken(self._key, self._call.name, claimed.task_id, f"{differences} ({hashes})")

    def _built(self, task_id: str) -> list[Outgoing]:
        """The messages that Celery makes from the call."""
        with captured() as sent:
            self._task.apply_async(tuple(self._args), dict(self._kwargs), **self._options, task_id=task_id)
        return sent


IN_ASYNC = (
    "mirepoix.submit_once() has to ask the database who has the key, and cannot in a transaction that is asynchronous. "
    "With SQLAlchemy: `await session.run_sync(function)`, and in the function `with mirepoix.using(session):`. "
    "Otherwise call it outside of the transaction, by `await asyncio.to_thread(mirepoix.submit_once, ...)`."
)


def _called(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
    """The name of the task and all its arguments, with those of a signature."""
    if not isinstance(task, Signature):
        return task.name, args, kwargs
    if task.subtask_type is not None:
        raise TypeError(f"submit_once() sends one task, and not a {task.subtask_type}: send a task that sends it.")
    return task.task, *private.merged_arguments(task, args, kwargs)


def _call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    try:
        plain_args, plain_kwargs = json.loads(dumps([list(args), dict(kwargs)]))
    except (EncodeError, TypeError, ValueError) as error:
        raise UnserializablePayload(name, f"{error}. Pass values that JSON can hold.") from error
    return Call(name, plain_args, plain_kwargs)


def _check(key: Any, name: str, options: Mapping[str, Any]) -> None:
    is_text = isinstance(key, str) and 0 < len(key) <= KEY_LIMIT and key.isprintable()
    if not is_text or key != key.strip():
        raise ConfigurationError(
            f"{key!r} is no key. It is a printable text of 1 to {KEY_LIMIT} characters without spaces at its ends."
        )
    if "task_id" in options:
        raise InvalidOption(name, "under a key the ledger chooses the task's id: leave task_id out")


def _require_capture(installation: Installation, name: str) -> None:
    if not installation.settings.capture:
        raise ConfigurationError(
            f"{name} cannot be submitted under a key: mirepoix_capture is off, so tasks do not go through the ledger."
        )
    if installation.app.conf.task_always_eager:
        raise ConfigurationError(
            f"{name} cannot be submitted under a key while task_always_eager is on: nothing is written then. In tests "
            "leave it off, and run what was sent with run_tasks()."
        )
