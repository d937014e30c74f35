"""Celery's result backend on the ledger. It commits a result with its task's outcome, and wakes those that wait.

When Celery passes the result of an attempt, nothing is written yet. The attempt holds it (`celery/context.py`), and it
is committed, or refused, together with the outcome and all that the attempt sends. What user code reports while it
runs (``update_state``) is written at once.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.exceptions import WorkerLostError
from celery import states
from celery.app.task import Context
from celery.backends.base import SyncBackendMixin
from celery.exceptions import NotRegistered, TaskRevokedError
from celery.result import GroupResult, result_from_tuple
from kombu.serialization import loads
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps as json_dumps
from kombu.utils.json import loads as json_loads

from mirepoix.celery import capture, chords, context, errbacks, private
from mirepoix.celery.context import Attempt
from mirepoix.celery.result_waiter import Waiters
from mirepoix.celery.senders import is_read_by_senders
from mirepoix.celery.versions import Backend
from mirepoix.connect import ambient
from mirepoix.errors import ConfigurationError
from mirepoix.ledger import chords as ledger_chords
from mirepoix.ledger import results
from mirepoix.ledger.results import Known
from mirepoix.ledger.tx import Tx
from mirepoix.records import Chord, Completion, Part, Result, SavedGroup

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

_BASE64 = ";base64"

_ENDED_WITHOUT_RESULT: dict[str, tuple[str, Callable[[str], Exception]]] = {
    "cancelled": (states.REVOKED, TaskRevokedError),
    "expired": (states.REVOKED, TaskRevokedError),
    "quarantined": (states.FAILURE, WorkerLostError),
}
"""Celery's state and exception for a task that ended without running to its end."""

_STILL_TO_COME = frozenset({"pending", "leased", "running", "parked"})


def _parked(reason: str) -> Exception:
    return NotRegistered(reason) if reason.startswith("no task named") else TypeError(reason)


class LedgerBackend(Backend, SyncBackendMixin):  # type: ignore[misc]
    """A result backend that stores results, states and groups in the ledger's tables, and counts chords there."""

    supports_autoexpire = True
    supports_native_join = True
    supports_failure_expires = True
    reports_parked = True
    """Whether the backend reads from a task's state that it is parked. Then parking it stores no result. After
    ``parked_failure_after_s`` the backend reports such a task as a failure."""

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(app, *args, **kwargs)
        if self.serializer == "pickle":
            raise ConfigurationError(
                "result_serializer is 'pickle', which the ledger does not keep. Set result_serializer='json'."
            )
        self.thread_safe = True
        self._failure_expires = app.conf.get("result_failure_expires")
        self._waiters: Waiters | None = None

    @property
    def installation(self) -> Installation:
        """The installation of this ledger."""
        from mirepoix.celery.installation import installation_of

        return installation_of(self.app)

    def as_uri(self, include_password: bool = False) -> str:
        """The ledger's label, for logs and banners."""
        return str(self.installation.source.label)

    # ---- storing

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        record = self.record(bytes_to_str(task_id), result, state, traceback, request)
        attempt = context.current()
        if attempt is not None and attempt.collects(state):
            attempt.results[record.task_id] = record
        else:
            # A lost attempt may still report its progress. That must not overwrite the task's result.
            guard = attempt.lease if attempt is not None and not attempt.is_over else None
            with self._independent_transaction(attempt) as tx:
                results.store(tx, [record], only_while=guard)
        return result

    def _independent_transaction(self, attempt: Attempt | None) -> AbstractContextManager[Tx]:
        if attempt is None or attempt.transaction is None:
            return ambient.independent_transaction(self.installation.source)
        from mirepoix.celery.unit_of_work import independent_transaction  # only processes that run tasks need it

        return independent_transaction(self.installation, attempt)

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, *args: Any, **kwargs: Any) -> None:
        """Hold the result, and commit the attempt if this process has to. Raises Refused if its lease was lost."""
        attempt = context.current()
        is_outcome = attempt is not None and attempt.lease.task_id == task_id and attempt.collects(states.SUCCESS)
        if attempt is not None and is_outcome and attempt.discard_success_if_asked_again():
            return
        super().mark_as_done(task_id, result, request, *args, **kwargs)
        if attempt is not None and attempt.lease.task_id == task_id and attempt.commits_here:
            from mirepoix.celery import outcome  # only processes that run tasks need it

            outcome.conclude(self.installation, attempt, Completion(attempt.lease))

    def _call_task_errbacks(self, request: Any, exc: Any, traceback: Any) -> None:
        """Send the error callbacks with the outcome. A task of ours calls those that Celery would call in place."""
        attempt = context.current()
        if attempt is not None and attempt.is_making_outcome:
            in_place = [errback for errback in request.errbacks if errbacks.is_called_in_place(self.app, errback)]
            if in_place:
                errbacks.send_calls(self.app, request, in_place, exc, traceback)
            sent = [errback for errback in request.errbacks if errback not in in_place]
            if not sent:
                return
            request = Context(vars(request), errbacks=sent)
        super()._call_task_errbacks(request, exc, traceback)

    def call_errbacks_here(self, request: Any, exc: Any, traceback: Any) -> None:
        """Call the error callbacks as Celery does."""
        super()._call_task_errbacks(request, exc, traceback)

    def mark_as_failure(self, task_id: str, *args: Any, **kwargs: Any) -> None:
        """Hold the error and send the error callbacks. Drop what a success would have committed."""
        attempt = context.current()
        is_own = attempt is not None and attempt.lease.task_id == task_id
        if attempt is not None and is_own and attempt.is_over:
            return  # its outcome is recorded already
        if attempt is not None and is_own and attempt.collects(states.FAILURE):
            if attempt.discard_success_if_asked_again():
                return
            attempt.has_run = True
            attempt.forget_success()
        super().mark_as_failure(task_id, *args, **kwargs)
        if attempt is not None and is_own and attempt.sends_here and attempt.fail_now is not None:
            attempt.fail_now()

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        """Record a revocation as Celery does, except by remote control for a task that a worker holds."""
        if request is None and context.current() is None and self._is_held(task_id):
            return
        super().mark_as_revoked(task_id, reason, request, store_result, state)

    def _is_held(self, task_id: str) -> bool:
        return any(known.task_state in ("leased", "running") for known in self._find([task_id]))

    def record(self, task_id: str, result: Any, state: str, traceback: Any, request: Any) -> Result:
        """What the ledger keeps of a result that was encoded."""
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        for column in ("status", "result", "traceback"):
            meta.pop(column)
        text, content_type = self.as_text(result)
        return Result(
            task_id=task_id,
            status=state,
            result=text,
            content_type=content_type,
            traceback=None if traceback is None else str(traceback),
            meta=json_dumps(meta, default=repr),
            expires_s=self._expires_s(state),
        )

    def _expires_s(self, state: str) -> float | None:
        if state == states.FAILURE and self._failure_expires is not None:
            return self.prepare_expires(self._failure_expires) or None
        return self.expires or None

    def as_text(self, value: Any) -> tuple[str, str]:
        """*value* as the result serializer writes it, and its content type: bytes are base64."""
        payload = self.encode(value)
        if isinstance(payload, bytes):
            return base64.b64encode(payload).decode("ascii"), self.content_type + _BASE64
        return payload, self.content_type

    def _as_value(self, text: str | None, content_type: str | None) -> Any:
        if text is None or content_type is None:
            return None
        if content_type.endswith(_BASE64):
            return loads(base64.b64decode(text), content_type.removesuffix(_BASE64), "binary", accept=self.accept)
        return loads(text, content_type, "utf-8", accept=self.accept)

    # ---- reading

    def _find(self, task_ids: Iterable[str]) -> list[Known]:
        with self.installation.source.reading() as tx:
            return results.find(tx, task_ids)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        known = self._find([bytes_to_str(task_id)])[0]
        attempt = context.current()
        kept = None if attempt is None else attempt.results.get(known.task_id)
        if kept is not None:  # an error callback that is called in place reads the failure that it was called for
            known = replace(
                known,
                status=kept.status,
                result=kept.result,
                content_type=kept.content_type,
                traceback=kept.traceback,
                meta=kept.meta,
            )
        return self._meta(known)

    def task_result_exists(self, task_id: str) -> bool:
        """Whether the task waits, runs, or has a stored result. False if its result was forgotten or ignored."""
        known = self._find([task_id])[0]
        return known.task_state in _STILL_TO_COME or self._meta(known)["status"] != states.PENDING

    def _meta(self, known: Known) -> dict[str, Any]:
        if known.status not in states.READY_STATES and known.task_state in _ENDED_WITHOUT_RESULT:
            status, error = _ENDED_WITHOUT_RESULT[known.task_state]
            return {"task_id": known.task_id, "status": status, "result": error(known.task_reason or ""),
                    "traceback": None, "children": []}  # fmt: skip
        if known.status not in states.READY_STATES and self._is_parked_for_long(known):
            return {"task_id": known.task_id, "status": states.FAILURE, "result": _parked(known.task_reason or ""),
                    "traceback": None, "children": []}  # fmt: skip
        if known.status is None:
            return {"task_id": known.task_id, "status": states.PENDING, "result": None}
        meta = {
            **json_loads(known.meta or "{}"),
            "task_id": known.task_id,
            "status": known.status,
            "result": self._as_value(known.result, known.content_type),
            "traceback": known.traceback,
        }
        found: dict[str, Any] = self.meta_from_decoded(meta)
        return found

    def _is_parked_for_long(self, known: Known) -> bool:
        patience_s = self.installation.settings.parked_failure_after_s
        return known.parked_s is not None and float(known.parked_s) >= patience_s

    def _forget(self, task_id: str) -> None:
        with self.installation.source.transaction() as tx:
            results.forget(tx, task_id)

    # ---- waiting

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        callback: Any = None,
        propagate: bool = True,
    ) -> Any:
        """Wait for one result. A notification wakes this when the result is committed."""
        self._ensure_not_eager()
        for _, meta in self.get_many(
            [result.id], timeout=timeout, interval=interval, on_message=on_message, on_interval=on_interval
        ):
            private.keep_result(result, meta)
        return result.maybe_throw(propagate=propagate, callback=callback)

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Any = None,
    ) -> dict[str, Any]:
        """Wait for one task, and return its stored result. Raises celery.exceptions.TimeoutError."""
        self._ensure_not_eager()
        return next(meta for _, meta in self.get_many([task_id], timeout, interval, on_interval=on_interval))

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        max_iterations: int | None = None,
        READY_STATES: frozenset[str] = states.READY_STATES,  # noqa: N803  (Celery's own)
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """``(id, meta)`` of each task as it becomes ready. Raises celery.exceptions.TimeoutError.

        PostgreSQL sends a notification for each result, SQLite's file is watched, and MariaDB is polled. *interval*
        (seconds) only bounds the wait after a lost notification. *on_message* is called with each result. It is also
        called with what a task reports meanwhile (``update_state``), unless that is replaced within *interval*.
        """
        reported: dict[str, Any] = {}
        look = self._look if on_message is None else partial(self._look, reported=reported, report=on_message)
        asked = {str(task_id) for task_id in task_ids}
        for ready in self._ready_waiters().wait(asked, timeout, interval or 0.5, on_interval, max_iterations, look):
            if on_interval is not None and ready["status"] in states.PROPAGATE_STATES:
                on_interval()  # it raises the error of a parent, which is the cause of this one
            if on_message is not None:
                on_message(ready)
            yield ready["task_id"], ready

    def _ready_waiters(self) -> Waiters:
        if self._waiters is None or self._waiters.pid != os.getpid():
            self._waiters = Waiters(self.installation, self._look)
        return self._waiters

    def _look(
        self, task_ids: set[str], reported: dict[str, Any] | None = None, report: Callable[[Any], Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the tasks that are ready. Call *report* for the others if their meta is not in *reported* yet."""
        cached = [self._cache[id] for id in task_ids if id in self._cache]
        left = task_ids - {meta["task_id"] for meta in cached}
        fresh = [self._meta(known) for known in self._find(left)] if left else []
        for meta in fresh:
            if meta["status"] == states.SUCCESS:
                self._cache[meta["task_id"]] = meta
            is_on_its_way = meta["status"] not in states.READY_STATES and meta["status"] != states.PENDING
            is_new = reported is not None and reported.get(meta["task_id"]) != meta
            if report is not None and reported is not None and is_on_its_way and is_new:
                reported[meta["task_id"]] = meta
                report(meta)
        return [meta for meta in (*cached, *fresh) if meta["status"] in states.READY_STATES]

    # ---- groups

    def _save_group(self, group_id: str, result: Any) -> Any:
        with self.installation.source.transaction() as tx:
            results.save_group(tx, self._saved(group_id, result))
        return result

    def _saved(self, group_id: str, result: Any) -> SavedGroup:
        return SavedGroup(group_id, json_dumps(result.as_tuple()), self.expires or None)

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        with self.installation.source.reading() as tx:
            saved = results.saved_group(tx, group_id)
        return None if saved is None else {"result": result_from_tuple(json_loads(saved), self.app)}

    def _delete_group(self, group_id: str) -> None:
        with self.installation.source.transaction() as tx:
            results.forget_group(tx, group_id)

    # ---- chords

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Begin to count the members of a chord, in the transaction that writes them."""
        capture.send(self.installation, [Chord(group_id, chord_size)])

    def apply_chord(self, header_result_args: Any, body: Any, **_: Any) -> None:
        """Store the shape of a nested header, so that the body receives the results in that shape."""
        if private.is_unread_group(header_result_args[1]):
            return
        header = self.app.GroupResult(*header_result_args)
        if any(isinstance(result, GroupResult) for result in header.results):
            capture.send(self.installation, [self._saved(header.id, header)])

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Count one more member."""
        with self.installation.source.transaction() as tx:
            ledger_chords.grow(tx, chord_id)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        """Record that a member has ended. The transaction that records the last one sends the chord's body."""
        if getattr(request, "subtask_type", None) == "group":  # a chain that failed before it reached its group
            group = {"subtask_type": "group", "kwargs": request.kwargs}
            chords.fail_inside(self.app, group, result, state)
            return
        if not request.group or not request.id:
            return
        encoded = self.encode_result(result, state)
        if getattr(result, chords.CALLED, None) and isinstance(encoded, dict):
            encoded[chords.CALLED] = getattr(result, chords.CALLED)
        text, _content_type = self.as_text(encoded)
        part = Part(request.group, request.id, request.group_index, state, text, request)
        attempt = context.current()
        if attempt is not None and attempt.collects(state):
            attempt.parts[part.group_id, part.task_id] = part
            attempt.sends_here = attempt.sends_here or (attempt.is_traced and is_read_by_senders(self.app))
        else:
            chords.ending_apart(self.installation, partial(self._return_part, part))

    def _return_part(self, part: Part, endings: chords.Endings | None) -> None:
        with self.installation.source.transaction() as tx:
            chords.return_parts(self.installation, tx, [part], endings)

    def stored_value(self, part: Part) -> Any:
        """What a part of a chord returned, or the stored form of the error that it raised."""
        return self._as_value(part.result, self.content_type + ("" if self.content_encoding == "utf-8" else _BASE64))

    def part_value(self, part: Part) -> Any:
        """What a part of a chord returned, or the exception that it raised."""
        value = self.stored_value(part)
        if part.status not in states.EXCEPTION_STATES:
            return value
        error = self.exception_to_python(value)
        if isinstance(value, dict) and value.get(chords.CALLED):
            setattr(error, chords.CALLED, value[chords.CALLED])
        return error
