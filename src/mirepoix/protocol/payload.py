"""Find out what a message of Celery's protocol 2 calls, and in which versions: its task, and what it carries for later.

A header has the version of a payload. A payload without this header has version 1. The same header marks a signature
inside another payload (a link, the rest of a chain, the body of a chord). The sender of that payload adds it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from kombu.utils.json import loads

from mirepoix.records import VERSION_HEADER
from mirepoix.signatures.call_codec import Call, to_text
from mirepoix.signatures.shape import Shape

MAPS = ("celery.map", "celery.starmap")
"""Celery's own tasks that call another task for each item. Celery's chunks are starmaps."""

HIGHEST_VERSION = 2**31 - 1
"""The highest version that the column can store."""

_CARRIED = ("callbacks", "chain", "chord")


def version_in(headers: Mapping[str, Any]) -> int:
    """The version of a payload, from its headers."""
    version = headers.get(VERSION_HEADER)
    return version if type(version) is int and 0 < version <= HIGHEST_VERSION else 1


def shape_of(name: str, headers: Mapping[str, Any], body: Any) -> str | None:
    """What the message calls, in the form that the ledger stores. None if Celery did not make its body."""
    calls = calls_of(name, headers, body)
    return None if calls is None else to_text(calls[0], calls[1:])


def calls_of(name: str, headers: Mapping[str, Any], body: Any) -> list[Call] | None:
    """What the message calls: its own task, then what it carries for later. None if Celery did not make its body."""
    if not isinstance(body, (list, tuple)) or len(body) != 3:  # noqa: PLR2004 (arguments, keywords, what is carried)
        return None
    args, kwargs, embed = body
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
        return None
    found = call_in_map(name, kwargs)
    in_map = [] if found is None else found[1] or [found[0]]
    return [Call(name, version_in(headers), Shape.of(args, kwargs)), *in_map, *_carried(embed or {})]


def shape_of_text(
    name: str, headers: Mapping[str, Any], body: str, content_type: str, body_encoding: str = "utf-8"
) -> str | None:
    """What a message with a stored *body* calls, in the form that the ledger stores. None if the body is no JSON."""
    calls = calls_of_text(name, headers, body, content_type, body_encoding)
    return None if calls is None else to_text(calls[0], calls[1:])


def calls_of_text(
    name: str, headers: Mapping[str, Any], body: str, content_type: str, body_encoding: str = "utf-8"
) -> list[Call] | None:
    """What a message with a stored *body* calls. None if the body is no JSON that Celery made."""
    if content_type != "application/json":
        return None
    try:
        return calls_of(name, headers, loads(base64.b64decode(body) if body_encoding == "base64" else body))
    except Exception:  # noqa: BLE001 (a sender may send anything, and the worker reports what is wrong with it)
        return None


def marked(embed: Any, versions: Mapping[str, int]) -> Any:
    """A copy of *embed*, in which every signature without a version is marked with the version of its task."""
    if not versions or not isinstance(embed, Mapping):
        return embed
    return {
        key: _marked(value, versions) if key in (*_CARRIED, "errbacks") and value else value
        for key, value in embed.items()
    }


def marked_call(name: str, kwargs: Any, versions: Mapping[str, int]) -> Any:
    """A copy of *kwargs* of one of Celery's own tasks, such as celery.map, with the signatures in it marked."""
    return _marked({"task": name, "kwargs": kwargs}, versions)["kwargs"] if versions else kwargs


def call_in_map(name: str, kwargs: Mapping[str, Any]) -> tuple[Call, list[Call]] | None:
    """What a celery.map or celery.starmap calls: the task, and each kind of call once. None for any other task."""
    if name not in MAPS:
        return None
    inner, items = kwargs.get("task"), kwargs.get("it")
    if not isinstance(inner, Mapping) or not isinstance(items, (list, tuple)):
        return None
    if name == "celery.starmap" and not all(isinstance(item, (list, tuple)) for item in items):
        return None  # Celery will raise an error of its own
    headers = (inner.get("options") or {}).get("headers") or {}
    called = Call(str(inner.get("task")), version_in(headers))
    lengths = {1 if name == "celery.map" else len(item) for item in items}
    return called, [Call(called.task, called.version, Shape(length, frozenset())) for length in sorted(lengths)]


def _marked(value: Any, versions: Mapping[str, int]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_marked(item, versions) for item in value]
    if not isinstance(value, Mapping) or "task" not in value:
        return value
    found = dict(value)
    options = dict(found.get("options") or {})
    options |= {
        key: _marked(options[key], versions) for key in ("link", "link_error", "chord", "chain") if key in options
    }
    version = versions.get(found["task"])
    if version is not None:
        headers = dict(options.get("headers") or {})
        headers.setdefault(VERSION_HEADER, version)
        options["headers"] = headers
    found["options"] = options
    kwargs = found.get("kwargs")
    if isinstance(kwargs, Mapping) and str(found["task"]).startswith("celery."):
        inner = {key: _marked(kwargs[key], versions) for key in ("tasks", "header", "body", "task") if key in kwargs}
        found["kwargs"] = {**kwargs, **inner}
    return found


def _carried(embed: Mapping[str, Any]) -> Iterator[Call]:
    for key in _CARRIED:
        yield from _calls(embed.get(key))
    # An error callback gets an id, or three values. Its own signature decides that when it is called.
    for call in _calls(embed.get("errbacks")):
        yield Call(call.task, call.version)


def _calls(value: Any) -> Iterator[Call]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _calls(item)
    if not isinstance(value, Mapping) or not isinstance(value.get("task"), str):
        return
    name, args, kwargs = value["task"], value.get("args") or (), value.get("kwargs") or {}
    options = value.get("options") or {}
    if not isinstance(kwargs, Mapping) or not isinstance(args, (list, tuple)) or not isinstance(options, Mapping):
        return
    yield from _carried({"callbacks": options.get("link"), "errbacks": options.get("link_error")})
    yield from _calls(options.get("chord"))
    if not name.startswith("celery."):
        # The result of the previous task comes before its own arguments.
        given = args if value.get("immutable") else (None, *args)
        yield Call(name, version_in(options.get("headers") or {}), Shape.of(given, kwargs))
        return
    if name in MAPS:
        for call in _calls(kwargs.get("task")):
            yield Call(call.task, call.version)
        return
    for key in ("tasks", "header", "body"):
        yield from _calls(kwargs.get(key))
