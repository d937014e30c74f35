"""Change the arguments, the task or the version of a payload in the ledger. The rest of its text stays unchanged.

An edit does not decode and encode the parts that it does not name. They may contain kombu's marks of types, numbers
longer than a float, or the output of the caller's own encoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from celery.utils.saferepr import saferepr
from kombu.utils.json import loads

from mirepoix.celery.task_catalog import TaskCatalog
from mirepoix.ledger.edit import Edited, Payload, Written
from mirepoix.protocol import payload
from mirepoix.records import VERSION_HEADER
from mirepoix.signatures.call_codec import Call
from mirepoix.signatures.shape import Shape

REPR_LENGTH = 1024
"""Celery's limit for the arguments in a message's headers (``amqp.argsrepr_maxsize``)."""

HIDDEN = "(edited)"
"""What replaces a text that the caller chose to show instead of the arguments, which may be secret."""

_SPACE = re.compile(r"[ \t\n\r]*")
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a payload. What is None stays, and so do keywords that are not named. Values have JSON's types."""

    name: str | None = None
    version: int | None = None
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    unset: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """The reason why a payload is not edited."""

    why: str


def edited(found: Payload, change: Change, *, limit_bytes: int, catalog: TaskCatalog | None = None) -> Edited | Refused:
    """Apply *change* to *found*. `Refused` if that is impossible or changes nothing, or *catalog* cannot take it."""
    parts = _parts_of(found)
    if isinstance(parts, Refused):
        return parts
    args, kwargs, embed = parts
    new_args = args if change.args is None else json.dumps(change.args)
    new_kwargs = _changed(kwargs, change)
    if isinstance(new_kwargs, Refused):
        return new_kwargs
    before = Written(found.name, found.version, json.loads(args), json.loads(kwargs))
    name, version = change.name or found.name, change.version or found.version
    after = Written(name, version, json.loads(new_args), json.loads(new_kwargs))
    if _letters(before) == _letters(after):
        return Refused("it is like that already")
    body = f"[{new_args}, {new_kwargs}, {embed}]"
    if len(body) > limit_bytes:
        return Refused(
            f"its body would be {len(body):,} bytes long; the limit is {limit_bytes:,} (payload_limit_bytes)"
        )
    try:
        loads(body)
    except Exception as error:  # noqa: BLE001 (a mark of a type may not fit its value)
        return Refused(f"a worker could not decode it: {type(error).__name__}: {error}")
    incompatibility = (
        None if catalog is None else catalog.incompatibility(Call(name, version, Shape.of(after.args, after.kwargs)))
    )
    if incompatibility is not None:
        return Refused(f"the app's code could not take it: {incompatibility.reason} (--force edits it all the same)")
    named = {"task": name} if "task" in found.headers else {}
    headers = {**found.headers, **named, **_shown(found.headers, "argsrepr", args, new_args)}
    headers |= _shown(found.headers, "kwargsrepr", kwargs, new_kwargs)
    if version != payload.version_in(headers):
        headers[VERSION_HEADER] = version
    shape = payload.shape_of_text(name, headers, body, found.content_type)
    return Edited(replace(found, name=name, version=version, body=body, headers=headers), shape, before, after)


def _parts_of(found: Payload) -> tuple[str, str, str] | Refused:
    """The texts of the three parts of the body."""
    if found.content_type != "application/json" or found.body_encoding != "utf-8":
        return Refused(f"its body is not plain JSON ({found.content_type}, {found.body_encoding})")
    try:
        match json.loads(found.body):
            case [list(), dict(), dict() | None]:
                args, kwargs, embed = (text for _, text in _pieces(found.body))
                return args, kwargs, embed
    except ValueError:
        pass
    return Refused("its body is not [args, kwargs, embed] of Celery's protocol 2")


def _changed(kwargs: str, change: Change) -> str | Refused:
    """The text of the keywords after the change."""
    if change.kwargs is None and not change.set and not change.unset:
        return kwargs
    texts = dict(_pieces(kwargs if change.kwargs is None else json.dumps(change.kwargs)))
    missing = sorted(change.unset - texts.keys())
    if missing:
        return Refused(f"it has no keyword {', '.join(missing)}")
    texts |= {name: json.dumps(value) for name, value in change.set.items()}
    left = (f"{json.dumps(name)}: {text}" for name, text in texts.items() if name not in change.unset)
    return f"{{{', '.join(left)}}}"


def _pieces(text: str) -> list[tuple[str, str]]:
    """The texts of the values of a valid JSON array or object, with their keys (empty in an array)."""
    decoder = json.JSONDecoder()
    found = []
    at = _after_space(text, 0)
    closing = "]" if text[at] == "[" else "}"
    at = _after_space(text, at + 1)
    while text[at] != closing:
        key = ""
        if closing == "}":
            key, at = decoder.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + 1)  # the colon
        _, end = decoder.raw_decode(text, at)
        found.append((key, text[at:end]))
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return found


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()


def _letters(written: Written) -> str:
    """A text for comparisons, in which 1, 1.0 and true differ."""
    return json.dumps([written.name, written.version, written.args, written.kwargs], sort_keys=True)


def _shown(headers: Mapping[str, Any], name: str, before: str, after: str) -> dict[str, str | None]:
    """The new value of the header that shows the arguments in logs, if they changed."""
    known = headers.get(name)
    if before == after or not isinstance(known, str):
        return {}
    return {name: _repr(after, name) if known == _repr(before, name) else HIDDEN}


def _repr(text: str, name: str) -> str | None:
    """The arguments as Celery's sender shows them; None if they cannot be decoded."""
    try:
        value = loads(text)
    except Exception:  # noqa: BLE001 (a mark of a type may not fit its value)
        return None
    return str(saferepr(tuple(value) if name == "argsrepr" else value, REPR_LENGTH))
