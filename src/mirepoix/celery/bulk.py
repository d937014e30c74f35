"""Send thousands of calls of one task in few statements."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.utils.saferepr import saferepr
from kombu.utils.json import dumps

from mirepoix.celery import context
from mirepoix.celery.capture import captured, writing
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.rows import ROWS_A_STATEMENT
from mirepoix.protocol import payload
from mirepoix.protocol.options import check_body
from mirepoix.records import WEIGHT_HEADER, Envelope

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

Call = tuple[Sequence[Any], Mapping[str, Any]]

_TEXT_SHOWN = 64


def bulk(task: Any, calls: Iterable[Any], **options: Any) -> list[str]:
    """Send *task* once for each of *calls*, all in one transaction (the caller's, if there is one). Return the ids.

    A call is a sequence of positional arguments, a mapping of keyword arguments, or a signature of the task that has
    both. *options* are those of ``apply_async``, and apply to every call. *calls* may be a generator: a thousand calls
    at a time are read and written.

    Celery builds the first message, and the others are copies of it, which is ten times as fast. Celery builds all of
    them if calls may need different messages: with links, publish signals with receivers, routers that read the
    arguments, or serializers other than JSON. ``add_to_parent`` trails and ``task-sent`` events are not recorded.

    Raises ConfigurationError for a unique task, TypeError if a call does not fit the task's signature, and what
    ``apply_async`` raises. Then nothing is sent.
    """
    from mirepoix.celery.installation import installation_of

    if getattr(task, "unique", None):
        raise ConfigurationError(f"{task.name} is unique: send its calls one by one, with delay() or apply_async().")
    installation = installation_of(task.app)
    envelopes = _envelopes(task, (_as_call(given) for given in calls), options, installation)
    ids: list[str] = []
    with context.outside(), writing(installation) as add:
        while chunk := list(itertools.islice(envelopes, ROWS_A_STATEMENT)):
            add(chunk)
            ids.extend(envelope.id for envelope in chunk)
    return ids


def _envelopes(
    task: Any, calls: Iterator[Call], options: dict[str, Any], installation: Installation
) -> Iterator[Envelope]:
    copy: Callable[[Call], Envelope] | None = None
    for call in calls:
        if copy is None:
            model = _built_by_celery(task, call, options)
            yield model
            if _may_be_copied(model, installation.app):
                copy = _copier(model, task, installation)
        else:
            yield copy(call)


def _built_by_celery(task: Any, call: Call, options: dict[str, Any]) -> Envelope:
    with captured() as sent:
        task.apply_async(tuple(call[0]), dict(call[1]), **{**options, "add_to_parent": False})
    return next(item for item in sent if isinstance(item, Envelope))


def _may_be_copied(model: Envelope, app: Any) -> bool:
    is_plain = model.content_type == "application/json" and model.body_encoding == "utf-8"
    sends_nothing = model.body.endswith('{"callbacks": null, "errbacks": null, "chain": null, "chord": null}]')
    is_observed = signals.before_task_publish.receivers or signals.after_task_publish.receivers
    routes = app.conf.task_routes
    routes_by_arguments = routes and any(
        callable(r) for r in (routes if isinstance(routes, (list, tuple)) else [routes])
    )
    return bool(is_plain and sends_nothing and not is_observed and not routes_by_arguments)


def _copier(model: Envelope, task: Any, installation: Installation) -> Callable[[Call], Envelope]:
    shapes: dict[tuple[int, frozenset[str]], str | None] = {}
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    key_for, weigh = _key_maker(model, installation), _weigher(model, installation)
    limit_bytes = installation.settings.payload_limit_bytes
    is_own_root = model.root_id == model.id
    fits = getattr(task, "__header__", None) if task.typing else None

    def copy(call: Call) -> Envelope:
        args, kwargs = call
        if fits is not None:
            fits(*args, **kwargs)
        id = str(uuid.uuid4())
        root_id = id if is_own_root else model.root_id
        kind = (len(args), frozenset(kwargs))
        if kind not in shapes:
            shapes[kind] = payload.shape_of(model.name, model.headers, (args, kwargs, embed))
        shown = {"argsrepr": _shown(tuple(args), task), "kwargsrepr": _shown(dict(kwargs), task)}
        if weigh is not None:
            shown |= {WEIGHT_HEADER: weigh((args, kwargs))}
        envelope = replace(
            model,
            id=id,
            root_id=root_id,
            body=dumps((args, kwargs, embed)),
            shape=shapes[kind],
            headers={**model.headers, **shown, "id": id, "root_id": root_id},
            properties={**model.properties, "correlation_id": id},
            limit_key=None if key_for is None else key_for((args, kwargs)),
        )
        check_body(envelope, limit_bytes)  # the rest is a copy of the model, which was checked
        return envelope

    return copy


def _key_maker(model: Envelope, installation: Installation) -> Callable[[Call], str | None] | None:
    """The function that makes the key of a call's limit; None if the task has no limit."""
    if model.limit_key is None:
        return None
    from mirepoix.celery.limits import key_for  # only programs with limits need it

    return lambda call: key_for(installation.app, model.name, call)


def _weigher(model: Envelope, installation: Installation) -> Callable[[Call], Any] | None:
    """The function that makes the weight of a call; None if the task's limit has no weights."""
    if WEIGHT_HEADER not in model.headers:
        return None
    from mirepoix.celery.limits import weight_for  # only programs with limits need it

    return lambda call: weight_for(installation.app, model.name, call)


def _shown(value: Any, task: Any) -> str:
    text = repr(value)
    # Celery's shortening takes longer than the rest of the message, and most arguments need none.
    return text if len(text) <= _TEXT_SHOWN else str(saferepr(value, task.resultrepr_maxsize))


def _as_call(given: Any) -> Call:
    if hasattr(given, "args") and hasattr(given, "kwargs"):
        return given.args, given.kwargs
    if isinstance(given, Mapping):
        return (), given
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise TypeError(
            f"a call is a sequence of arguments, a mapping of keyword arguments or a signature, not {given!r}"
        )
    return given, {}
