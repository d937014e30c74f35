"""Refuse, when a task is sent, what the ledger, the broker or a worker cannot take. Then nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from kombu import Queue

from mirepoix.errors import InvalidOption, InvalidTaskId, PayloadNotSerializable, PayloadTooLarge
from mirepoix.ledger import enqueue
from mirepoix.ledger.text import storable
from mirepoix.records import Envelope

REFUSED_CONTENT = ("application/x-python-serialize",)

LONGEST = 255
"""How many characters an id or a name may have in the ledger, and how many bytes in RabbitMQ."""

PRIORITIES = {"ledger": (-(2**15), 2**15 - 1), "broker": (0, 255)}
"""The lowest and the highest priority that the column can store, and that RabbitMQ accepts."""

MOST_RETRIES = 2**31 - 1

LONGEST_LIMIT_S = 10**9
"""The longest time limit. The timers of pools accept only times that fit into their clocks."""

_YEARS = range(1000, 10_000)
"""The years of valid moments. MariaDB's columns store no others, and no time zone moves a moment out of them."""


def check(envelope: Envelope, limit_bytes: int, delivery: str, *, is_continuing: bool = False) -> None:
    """Refuse, before anything is written, what the ledger cannot store or no worker should read.

    Raises an EnqueueError that names the option and its valid values. If *is_continuing*, another payload carried the
    message, perhaps for long. Then it is written if the ledger can store it, and the worker that takes it parks it.
    """
    check_body(envelope, limit_bytes)
    for what, value in (("task id", envelope.id), ("task name", envelope.name), ("queue name", envelope.queue)):
        check_name(what, value)
    _check_other_names(envelope)
    if delivery == "broker":
        _check_for_amqp(envelope)
    wrong = wrong_priority(envelope.priority, delivery)
    if not is_continuing:
        wrong = wrong or wrong_limits(envelope.headers.get("timelimit"))
    if not _is_whole(envelope.retries) or not 0 <= envelope.retries <= MOST_RETRIES:
        wrong = wrong or f"retries={_shown(envelope.retries)} is no number of retries"
    shadow = envelope.headers.get("shadow")
    if shadow is not None and not isinstance(shadow, str):
        wrong = wrong or f"shadow={_shown(shadow)} is no text"
    if wrong is not None:
        raise InvalidOption(envelope.name, wrong)
    try:
        enqueue.as_row(envelope)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOption(
            envelope.name, f"its headers or properties cannot be kept: {error}. Pass values that JSON can hold"
        ) from error


def check_call(name: Any, given: Mapping[str, Any]) -> None:
    """Refuse options of a call for which Celery's own error would not name the option."""
    seconds, moments = (int, float), (str, datetime)
    wanted: tuple[tuple[str, tuple[type, ...], str], ...] = (
        ("countdown", seconds, "a number of seconds"),
        ("eta", moments, "a datetime"),
        ("expires", (*seconds, *moments), "a datetime or a number of seconds"),
        ("headers", (Mapping,), "a mapping"),
    )
    for option, types, what in wanted:
        value = given.get(option)
        if value is not None and (not isinstance(value, types) or value != value):  # noqa: PLR0124 (NaN)
            raise InvalidOption(str(name), f"{option}={_shown(value)} is not {what}")


def check_carried(name: str, embed: Any, delivery: str) -> None:
    """Refuse options of what a message of task *name* carries for later, and a worker will send."""
    if not isinstance(embed, Mapping):
        return
    for option, key in (("link", "callbacks"), ("link_error", "errbacks"), ("chain", "chain"), ("chord", "chord")):
        carried = embed.get(key)
        for given in carried if isinstance(carried, (list, tuple)) else [carried]:
            if given is not None and not (isinstance(given, Mapping) and isinstance(given.get("task"), str)):
                raise InvalidOption(name, f"{option}={_shown(given)} is no signature of a task")
        for signature in _signatures(carried):
            check_signature(name, signature, delivery)


def check_signature(name: str, signature: Mapping[str, Any], delivery: str) -> None:
    """Refuse options of a signature that *name* carries. Later, no caller could receive the error."""
    options = signature.get("options")
    if not isinstance(options, Mapping):
        return
    limits = [options.get("time_limit"), options.get("soft_time_limit")]
    wrong = wrong_priority(options.get("priority"), delivery) or wrong_limits(limits)
    if wrong is not None:
        raise InvalidOption(name, f"it carries {signature.get('task')} for later, and there {wrong}")
    check_call(f"{signature.get('task')}, which {name} carries,", options)
    for option in ("task_id", "group_id", "root_id", "parent_id", "queue", "routing_key"):
        value = options.get(option)
        if value is not None and not isinstance(value, (UUID, Queue)):
            check_name(option, value)


def check_name(what: str, value: Any) -> None:
    """Refuse an id or a name that no column can store."""
    if not isinstance(value, str) or not value:
        raise InvalidTaskId(what, str(value), "it must be a text that is not empty")
    if len(value) > LONGEST:
        raise InvalidTaskId(what, value, f"it is longer than {LONGEST} characters")
    if not value.isprintable():
        raise InvalidTaskId(what, value, "it holds characters that cannot be printed")


def wrong_priority(value: Any, delivery: str) -> str | None:
    """What is wrong with a priority; None if it is valid."""
    lowest, highest = PRIORITIES[delivery]
    if value is None or (_is_whole(value) and lowest <= value <= highest):
        return None
    return f"priority={_shown(value)} is no whole number from {lowest} to {highest}"


def wrong_limits(limits: Any) -> str | None:
    """What is wrong with a pair of a time limit and a soft one; None if it is valid."""
    if limits is None:
        return None
    if not isinstance(limits, (list, tuple)) or len(limits) != 2:  # noqa: PLR2004 (hard and soft)
        return f"timelimit={_shown(limits)} is no pair of a time limit and a soft one"
    for option, value in zip(("time_limit", "soft_time_limit"), limits, strict=True):
        if value is not None and not _is_seconds(value):
            return f"{option}={_shown(value)} is no number of seconds below {LONGEST_LIMIT_S:,}"
    return None


def moment_in_utc(name: str, option: str, text: Any) -> str | None:
    """The ISO moment *text* in UTC. A moment without a time zone is in UTC already, as Celery's workers read it.

    Raises InvalidOption for what is no moment, or a moment in a year that not every database can store.
    """
    if text is None or text == "":
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidOption(name, f"{option}={_shown(text)} is no moment as ISO 8601 writes it ({error})") from error
    if moment.year not in _YEARS:
        raise InvalidOption(name, f"{option}={_shown(text)} is not within the years {_YEARS[0]} to {_YEARS[-1]}")
    return moment.isoformat()


def check_body(envelope: Envelope, limit_bytes: int) -> None:
    """Refuse a body that the ledger cannot store or no worker should read."""
    if envelope.content_type in REFUSED_CONTENT:
        raise PayloadNotSerializable(
            envelope.name, "its serializer is pickle, which the ledger does not store. Set task_serializer='json'."
        )
    if len(envelope.body) > limit_bytes:
        raise PayloadTooLarge(envelope.name, len(envelope.body), limit_bytes)
    if not _is_text(envelope.body):
        raise PayloadNotSerializable(envelope.name, "its serializer wrote NUL or half a character: no text.")


def _check_other_names(envelope: Envelope) -> None:
    others: list[tuple[str, Any]] = [
        ("root_id", envelope.root_id),
        ("parent_id", envelope.parent_id),
        ("group_id", envelope.group_id),
        ("exchange", envelope.exchange or None),
        ("routing_key", envelope.routing_key or None),
        ("content type", envelope.content_type),
        ("content encoding", envelope.content_encoding),
    ]
    for what, value in others:
        if value is not None:
            check_name(what, value)


def _check_for_amqp(envelope: Envelope) -> None:
    """Refuse what does not fit into a message of RabbitMQ's protocol."""
    for what, value in (
        ("task id", envelope.id),
        ("queue name", envelope.queue),
        ("routing_key", envelope.routing_key),
    ):
        if len(value.encode()) > LONGEST:
            raise InvalidTaskId(what, value, f"a broker takes {LONGEST} bytes of it, and it has {len(value.encode())}")
    for key in envelope.headers:
        if len(str(storable(str(key))).encode()) > LONGEST:
            raise InvalidOption(envelope.name, f"the name of the header {_shown(key)} is longer than {LONGEST} bytes")


def _is_text(value: str) -> bool:
    return (value.isascii() and "\0" not in value) or storable(value) == value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LONGEST_LIMIT_S


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 (user code raised, or an integer has more digits than Python converts)
        text = f"a {type(value).__qualname__}"
    return text if len(text) <= 80 else f"{text[:80]}…"  # noqa: PLR2004


def _signatures(value: Any) -> Iterator[Mapping[str, Any]]:
    """The signatures in *value*, at any depth."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _signatures(item)
    elif isinstance(value, Mapping) and "task" in value:
        yield value
        options, kwargs = value.get("options"), value.get("kwargs")
        if isinstance(options, Mapping):
            yield from _signatures([options.get(key) for key in ("link", "link_error", "chord", "chain")])
        if isinstance(kwargs, Mapping) and str(value["task"]).startswith("celery."):
            yield from _signatures([kwargs.get(key) for key in ("tasks", "header", "body", "task")])
