"""End a chord in the transaction that records its last part: send its body, or a task that reports its failure.

The process that records the last part sends the body. This is a pool process, or the worker's parent, which records
most successes in batches. A failed chord calls the user's error callbacks. A task of ours does that
(`mirepoix.fail_chord`). It is sent in the same transaction and runs like any other task: under a lease, and its effects
are committed with its outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from celery import states
from celery.app.task import Context
from celery.canvas import maybe_signature
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import GroupResult, result_from_tuple
from celery.utils.functional import maybe_list
from kombu.utils.json import dumps, loads

from mirepoix.celery import context, private
from mirepoix.celery.own_task import own_headers, own_task
from mirepoix.celery.senders import is_read_by_senders
from mirepoix.connect.verdict import first_line
from mirepoix.errors import OutcomeRefused
from mirepoix.ledger import chords, outgoing, results
from mirepoix.ledger.chords import Returned
from mirepoix.ledger.enqueue import as_row
from mirepoix.ledger.tx import Tx
from mirepoix.protocol import payload
from mirepoix.records import Envelope, Outgoing, Part, Result

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.chord")
T = TypeVar("T")

CALLED = "errbacks_called"
"""The attribute of a chord's error that lists the error callbacks that were called. ``link_error`` links a callback to
a chord and to the chords inside it, but each callback must be called only once."""

FAIL_CHORD = "mirepoix.fail_chord"
"""The task that calls the error callbacks of a failed chord."""

CANNOT_CALL = "the error callbacks of chord %s cannot be called: %s"

LONG = 4_096
"""How many characters of an error the error callbacks of its chord receive. The member's own result has all of it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a chord ends: the messages that it sends, and the results that it stores."""

    is_success: bool
    sent: list[Outgoing]
    results: list[Result] = field(default_factory=list)


Endings = dict[str, Ending]
"""The endings that were made before the transaction, by chord."""


class EndingAwaited(Exception):
    """A chord is complete, and its ending must be made outside of the transaction."""

    def __init__(self, returned: Returned, make: Callable[[], Ending]) -> None:
        super().__init__(returned.group_id)
        self.group_id = returned.group_id
        self.make = make


def ending_apart(installation: Installation, write: Callable[[Endings | None], T]) -> T:
    """Call *write*, which returns parts, so that no code of the user's runs in its transaction.

    If user code takes part in sending, *write* raises `EndingAwaited` for a chord that is complete, which rolls its
    transaction back. Then the ending is made, and *write* is called again with it.
    """
    if not is_read_by_senders(installation.app):
        return write(None)
    endings: Endings = {}
    while True:
        try:
            return write(endings)
        except EndingAwaited as awaited:
            endings[awaited.group_id] = awaited.make()


def return_parts(
    installation: Installation,
    tx: Tx,
    parts: Sequence[Part],
    endings: Endings | None = None,
    refused: Exception | None = None,
) -> None:
    """Record that *parts* have returned, and end each chord that is complete by that, in the same transaction.

    With *endings*, raises EndingAwaited for a chord that is complete and not among them. *refused* is the error with
    which the database refused the body of a chord: that chord has failed.
    """
    for returned in chords.return_parts(tx, parts):
        _end(installation, tx, returned, endings, refused)


def return_failed(installation: Installation, tx: Tx, parts: Iterable[Part], error: Exception) -> None:
    """Record *parts* as failed with *error*: the attempt that had to return them failed."""
    backend = installation.app.backend
    text, _ = backend.as_text(backend.encode_result(error, states.FAILURE))
    return_parts(installation, tx, [replace(part, status=states.FAILURE, result=text) for part in parts])


def return_ended(installation: Installation, tx: Tx, task_ids: Iterable[str], reason: str) -> None:
    """Record as revoked the parts of tasks that ended without running: cancelled, expired, discarded."""
    error = {"exc_type": "TaskRevokedError", "exc_message": [reason], "exc_module": TaskRevokedError.__module__}
    members = chords.members(tx, task_ids, states.REVOKED, dumps(error))
    return_parts(installation, tx, [part for part, _ in members])


def add_tasks(app: Any) -> None:
    """Register the task that ends a failed chord."""

    @app.task(name=FAIL_CHORD, shared=False, ignore_result=True, typing=False)  # type: ignore[untyped-decorator]
    def fail_chord(callback: Any, message: str, cause: Any) -> None:
        error = ChordError(message)
        error.__cause__ = app.backend.exception_to_python(cause)
        called = _errbacks(cause.get(CALLED) if isinstance(cause, dict) else None)
        options = callback.setdefault("options", {})
        own = [errback for errback in _errbacks(options.get("link_error")) if errback not in called]
        options["link_error"] = own
        setattr(error, CALLED, called + own)
        # What the callbacks send is committed with this task's outcome, and so are the results of what will not run.
        with context.outcome_code():
            try:
                raise error
            except ChordError as raised:
                logger.exception("Chord %r raised: %r", options.get("group_id"), raised)  # noqa: TRY401
                app.backend.chord_error_from_stack(maybe_signature(callback, app=app), raised)
                fail_inside(app, callback, raised)


def _errbacks(given: Any) -> list[Any]:
    return [dict(signature) for signature in maybe_list(given) or ()]


def fail_inside(app: Any, signature: Mapping[str, Any], error: Any, state: str = states.FAILURE) -> None:
    """Fail all tasks inside a signature that will not run, and the chords that they are members of.

    Celery would leave them waiting for ever.
    """
    kind, kwargs, options = signature.get("subtask_type"), signature.get("kwargs") or {}, signature.get("options") or {}
    id, attempt = options.get("task_id"), context.current()
    if id and kind != "group":  # a group is no member of a chord, but each of its tasks is
        if attempt is None or id not in attempt.results:
            app.backend.store_result(id, error, state)
        if options.get("chord") and options.get("group_id"):
            member = Context({**options, "task": signature.get("task"), "id": id, "group": options["group_id"]})
            app.backend.on_chord_part_return(member, state, error)
    inside = {"chord": [kwargs.get("body")], "chain": kwargs.get("tasks"), "group": kwargs.get("tasks")}
    for child in inside.get(kind or "") or ():
        if child:
            fail_inside(app, child, error, state)


def _end(
    installation: Installation, tx: Tx, returned: Returned, endings: Endings | None, refused: Exception | None
) -> None:
    shape = results.saved_group(tx, returned.group_id) if returned.failed_part is None else None

    def queue() -> str | None:
        return chords.queue_of(tx, [part.task_id for part in returned.parts] + [_request_of(returned.origin).id])

    if refused is not None and returned.failed_part is None:
        why = OutcomeRefused(f"its body cannot be written: {first_line(refused)}")
        logger.error("chord %s fails: %s", returned.group_id, why)
        ending = _failure_here(
            installation, returned, queue(), f"Callback error: {_shown(why)}", _as_json(installation, why)
        )
    elif endings is None and returned.failed_part is not None:
        cause, shown = _stored_error(installation, returned.failed_part)
        message = f"Dependency {returned.failed_part.task_id} raised {shown}"
        ending = _failure_here(installation, returned, queue(), message, cause)
    elif endings is None:
        ending = _ending(installation, returned, shape, queue)
    elif returned.group_id in endings:
        ending = endings[returned.group_id]
    else:
        found = queue()
        raise EndingAwaited(returned, lambda: _ending(installation, returned, shape, lambda: found))
    if chords.end(tx, returned.group_id, is_success=ending.is_success):
        results.store(tx, ending.results)
        outgoing.add(tx, ending.sent)


def _ending(
    installation: Installation, returned: Returned, shape: str | None, queue: Callable[[], str | None]
) -> Ending:
    failed = returned.failed_part
    if failed is not None:
        value = _raised(installation, failed)
        return _failure(installation, returned, queue(), f"Dependency {failed.task_id} raised {_shown(value)}", value)
    try:
        return Ending(is_success=True, sent=_body(installation, returned, shape))
    except Exception as error:  # user code raised (a router, a signal's receiver), or a value cannot be sent
        logger.exception("the body of chord %s cannot be sent", returned.group_id)
        return _failure(installation, returned, queue(), f"Callback error: {_shown(error)}", error)


def _body(installation: Installation, returned: Returned, shape: str | None) -> list[Outgoing]:
    app = installation.app
    values: Any = [app.backend.part_value(part) for part in returned.parts]
    if shape is not None:
        by_id = dict(zip((part.task_id for part in returned.parts), values, strict=True))
        values = _shaped(result_from_tuple(loads(shape), app), by_id)
    request = _request_of(returned.origin)
    with _captured() as sent, _acting_as(app, request):
        maybe_signature(_of_first_version(request.chord, app), app=app, clone=True).delay(values)
    return sent


def _of_first_version(body: Any, app: Any) -> Any:
    """Mark a chord's body that has no version with the first version: its writer had no other."""
    return payload.marked({"chord": body}, dict.fromkeys(app.tasks.versions, 1))["chord"]


def _failure(installation: Installation, returned: Returned, queue: str | None, message: str, cause: Any) -> Ending:
    """Make the ending of a chord that failed. It never raises: else nothing would ever end the chord."""
    app = installation.app
    request = _request_of(returned.origin)
    error = _as_json(installation, cause) if isinstance(cause, BaseException) else None
    where = {"queue": queue} if _is_known(app, queue) else {}
    try:
        with _captured() as sent, _acting_as(app, request):
            app.tasks[FAIL_CHORD].apply_async((request.chord, message, error), add_to_parent=False, **where)
    except Exception:  # user code raised, as in `_ending`; or a callback alone is too long for a message
        logger.exception(CANNOT_CALL, returned.group_id, message)
        return _failed_result(installation, returned, message)
    return Ending(is_success=False, sent=[_of_member(item, request) for item in sent])


def _failure_here(
    installation: Installation, returned: Returned, queue: str | None, message: str, cause: Mapping[str, Any] | None
) -> Ending:
    """Make the ending of a chord that failed, inside a transaction, and run no user code.

    *cause* is the error in its JSON form.
    """
    app = installation.app
    request = _request_of(returned.origin)
    headers: dict[str, Any] = {} if _is_sent_by_the_member() else own_headers(request)
    stamped = request.stamped_headers or []
    headers |= {"stamped_headers": stamped, "stamps": request.stamps or {}} if stamped else {}
    where = queue if queue is not None and _is_known(app, queue) else app.conf.task_default_queue
    try:
        sent = own_task(installation, FAIL_CHORD, (request.chord, message, cause), where, request, headers)
        priority = (request.delivery_info or {}).get("priority") if app.conf.task_inherit_parent_priority else None
        sent = replace(sent, priority=priority or 0, properties={**sent.properties, "priority": priority})
        _ = as_row(sent)
    except Exception:  # a callback that JSON cannot hold
        logger.exception(CANNOT_CALL, returned.group_id, message)
        return _failed_result(installation, returned, message)
    return Ending(is_success=False, sent=[sent])


def _failed_result(installation: Installation, returned: Returned, message: str) -> Ending:
    backend = installation.app.backend
    body = (_request_of(returned.origin).chord.get("options") or {}).get("task_id")
    failure = backend.encode_result(ChordError(message), states.FAILURE)
    return Ending(is_success=False, sent=[], results=[backend.record(body, failure, states.FAILURE, None, None)])


def _is_known(app: Any, queue: str | None) -> bool:
    return queue in app.amqp.queues or bool(queue and app.conf.task_create_missing_queues)


def _of_member(item: Outgoing, request: Context) -> Outgoing:
    """Add the own headers of the member's message to *item*, if it is sent while the member does not run.

    The member ran out of time, or never ran. Only its message says which tenant or trace it belongs to.
    """
    if not isinstance(item, Envelope) or _is_sent_by_the_member():
        return item
    return replace(item, headers={**item.headers, **own_headers(request)})


def _is_sent_by_the_member() -> bool:
    """Whether a member runs here, so that its own context is set."""
    attempt = context.current()
    return attempt is not None and attempt.is_traced


def _stored_error(installation: Installation, failed: Part) -> tuple[Mapping[str, Any] | None, str]:
    """The error of a part in its JSON form, and in words. No exception is made from it: its class is the user's."""
    backend = installation.app.backend
    try:
        error = backend.stored_value(failed)
        name, args = str(error["exc_type"]), error["exc_message"]
    except Exception:  # noqa: BLE001 (another serializer stored it, or it is damaged)
        raised = _raised(installation, failed)
        return (_as_json(installation, raised) if isinstance(raised, BaseException) else None), _shown(raised)
    shown = f"{name}({', '.join(map(repr, args if isinstance(args, list) else [args]))})"
    shown = shown if len(shown) <= LONG else f"{shown[:LONG]} … ({len(shown)} characters)"
    return ({**error, "exc_message": [shown]} if len(dumps(error)) > LONG else error), shown


def _as_json(installation: Installation, cause: BaseException) -> dict[str, Any]:
    error: dict[str, Any] = installation.app.backend.prepare_exception(cause, serializer="json")
    if len(dumps(error, default=_shown)) > LONG:
        error["exc_message"] = [_shown(cause)]
    return error | ({CALLED: getattr(cause, CALLED)} if getattr(cause, CALLED, None) else {})


def _raised(installation: Installation, failed: Part) -> Any:
    try:
        return installation.app.backend.part_value(failed)
    except Exception as error:  # noqa: BLE001, an error that cannot be read is an error as well
        return error


def _shown(value: Any) -> str:
    """*value* in words that fit into a message. Never raises."""
    try:
        words = repr(value)
    except Exception:  # noqa: BLE001, user code
        words = f"a {type(value).__qualname__} that cannot be shown"
    return words if len(words) <= LONG else f"{words[:LONG]} … ({len(words)} characters)"


def _shaped(result: Any, values: Mapping[str, Any]) -> Any:
    """The values of a nested group, nested as its results are."""
    if isinstance(result, GroupResult):
        return [_shaped(member, values) for member in result.results]
    return values.get(result.id)


def _request_of(origin: Any) -> Context:
    return origin if isinstance(origin, Context) else Context(dict(origin))


@contextmanager
def _captured() -> Iterator[list[Outgoing]]:
    from mirepoix.celery.capture import captured

    with captured() as sent, context.continuing():
        yield sent


@contextmanager
def _acting_as(app: Any, request: Context) -> Iterator[None]:
    """Let what is sent inside the block descend from the member that returned last: its root, stamps and priority."""
    task = app.tasks.get(request.task)
    if task is None:
        yield
        return
    own = Context({**request.__dict__, "called_directly": False, "_children": None})
    own.delivery_info = own.delivery_info or {}
    with private.running_as(task, own):
        yield
