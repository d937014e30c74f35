"""From an annotation to a check of a value: whether it is of that type, as JSON will bring it to the task.

Only what can be told for certain is told. An annotation that is not understood is not checked, nor is a value of a
class that is neither JSON's nor one that kombu's JSON brings back: nobody here knows what a serializer makes of it.
Nothing is ever converted, and what is said names types, never values.

- ``float`` takes an int, as it does for type checkers; ``int`` and ``float`` take no bool.
- A list and a tuple are one: JSON has the list alone. The keys of a dict are not checked: JSON makes text of them.
- Of a TypedDict, the keys that are required, and the types of those that are there.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

Check = Callable[[Any], str | None]
"""What a value is instead of what it should be, in words; None if it is that, or nobody can tell."""

_DEEPEST = 8
"""A type within a type, and so on, is checked down to here: types may hold themselves."""


def check_of(annotation: Any, depth: int = 0) -> Check | None:
    """How to tell whether a value is of that type, or None if it cannot be told."""
    if depth > _DEEPEST:
        return None
    try:
        return _plain(annotation) or _composite(annotation, depth + 1)
    except Exception:  # noqa: BLE001 (an annotation is anybody's object)
        return None


def or_none(check: Check) -> Check:
    """The same check, which None passes too."""
    return lambda value: None if value is None else check(value)


_KNOWN = (bool, int, float, str, list, tuple, dict, types.NoneType, bytes, datetime, date, time, Decimal, UUID)
"""What arrives as it was sent (a tuple as a list). A value of any other class may arrive as anything."""


def _found(value: Any) -> str | None:
    """The type of a value that is not what it should be; None if it may still arrive as that."""
    if value is None:
        return "None"
    if not isinstance(value, _KNOWN) or hasattr(value, "__json__"):
        return None
    return type(value).__name__


def _plain(annotation: Any) -> Check | None:
    return _SCALARS.get(types.NoneType if annotation is None else annotation)


def _composite(annotation: Any, depth: int) -> Check | None:
    origin, args = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if origin in (Union, types.UnionType):
        return _any_of([check_of(one, depth) for one in args])
    if origin is Literal:
        return _literal(args)
    if kind is tuple:
        return _tuple(args, depth)
    if kind in (list, collections.abc.Sequence, collections.abc.MutableSequence):
        inner = check_of(args[0], depth) if args else None
        # A text is a sequence of texts.
        return _list(inner, (str, bytes) if kind is collections.abc.Sequence else ())
    if kind in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return _dict(check_of(args[1], depth) if args else None)
    if typing.is_typeddict(annotation):
        return _typed_dict(annotation, depth)
    meant = _meant(annotation)
    return None if meant is None else check_of(meant, depth)


def _meant(annotation: Any) -> Any:
    """What another name stands for; None if it is no such name."""
    if get_origin(annotation) in (typing.Annotated, typing.Required, typing.NotRequired):
        return get_args(annotation)[0]
    if isinstance(annotation, NewType):
        return annotation.__supertype__
    if type(annotation).__name__ == "TypeAliasType":  # Python 3.12's "type X = …"
        return annotation.__value__
    return None


def _instance(*wanted: type) -> Check:
    def check(value: Any) -> str | None:
        return None if isinstance(value, wanted) else _found(value)

    return check


def _number(*wanted: type) -> Check:
    def check(value: Any) -> str | None:
        return None if isinstance(value, wanted) and value is not True and value is not False else _found(value)

    return check


_SCALARS: dict[Any, Check] = {
    bool: _instance(bool),
    int: _number(int),
    float: _number(float, int),
    **{one: _instance(one) for one in (types.NoneType, str, bytes, datetime, date, time, Decimal, UUID)},
}


def _any_of(checks: list[Check | None]) -> Check | None:
    known = [one for one in checks if one is not None]
    if len(known) < len(checks):
        return None

    def check(value: Any) -> str | None:
        found = None
        for one in known:
            found = one(value)
            if found is None:
                return None
        return found

    return check


def _literal(values: tuple[Any, ...]) -> Check | None:
    if any(type(one) not in (bool, int, str, bytes, types.NoneType) for one in values):
        return None  # an Enum arrives as its value, if at all
    wanted = {(type(one), one) for one in values}
    kinds = {kind for kind, _ in wanted}
    subclasses = tuple(kinds)

    def check(value: Any) -> str | None:
        if type(value) in kinds:
            return None if (type(value), value) in wanted else f"another {type(value).__name__}"
        # An Enum that is a str, say, may arrive as one of them.
        return None if isinstance(value, subclasses) and type(value) is not bool else _found(value)

    return check


def _list(inner: Check | None, also: tuple[type, ...] = ()) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, (list, tuple)):
            return None if isinstance(value, also) else _found(value)
        return None if inner is None else _first(inner, value, "list")

    return check


def _first(inner: Check, values: Any, what: str) -> str | None:
    """What the first of the values is that is not as it should be."""
    for one in values:
        found = inner(one)
        if found is not None:
            return f"a {what} with {found} in it"
    return None


def _tuple(of: tuple[Any, ...], depth: int) -> Check:
    if not of or of[-1] is Ellipsis:
        return _list(check_of(of[0], depth) if of else None)
    inner = [check_of(one, depth) for one in of]

    def check(value: Any) -> str | None:
        if not isinstance(value, (list, tuple)):
            return _found(value)
        if len(value) != len(inner):
            return f"a list of {len(value)}"
        for one, element in zip(inner, value, strict=True):
            if one is not None and (found := one(element)) is not None:
                return f"a list with {found} in it"
        return None

    return check


def _dict(inner: Check | None) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return _found(value)
        return None if inner is None else _first(inner, value.values(), "dict")

    return check


def _typed_dict(annotation: Any, depth: int) -> Check:
    hints = typing.get_type_hints(annotation, include_extras=True)
    # Python itself cannot see NotRequired in an annotation that is text.
    required = {key for key in annotation.__required_keys__ if get_origin(hints[key]) is not typing.NotRequired}
    required |= {key for key, one in hints.items() if get_origin(one) is typing.Required}
    checks = {key: check_of(one, depth) for key, one in hints.items()}

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return _found(value)
        missing = required - value.keys()
        if missing:
            return f"a dict without {', '.join(sorted(missing))}"
        for key, one in checks.items():
            if one is not None and key in value and (found := one(value[key])) is not None:
                return f"a dict whose {key} is {found}"
        return None

    return check
