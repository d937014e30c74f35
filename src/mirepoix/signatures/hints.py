"""Tell which arguments of a call are not of the types that the task's annotations ask for."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.signatures.checks import Check, check_of, or_none


@dataclass(frozen=True, slots=True)
class Mistype:
    """An argument that is not of its parameter's type."""

    parameter: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.parameter} must be {self.expected}, not {self.found}"


@dataclass(frozen=True, slots=True)
class Hint:
    """What a parameter takes, in words, and how to tell."""

    parameter: str
    expected: str
    check: Check


@dataclass(frozen=True, slots=True)
class Hints:
    """The hints of one task: by position (None: not checked), for ``*args``, by keyword, for ``**kwargs``."""

    positional: tuple[Hint | None, ...]
    rest: Hint | None
    keywords: Mapping[str, Hint]
    others: Hint | None
    named: frozenset[str]
    """The keywords that are parameters, checked or not; all others are those of ``**kwargs``."""


def mistypes(hints: Hints, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Mistype]:
    """The arguments that are of another type than their parameter asks for; empty if there are none.

    It looks at nothing but types: whether the call can be bound is asked elsewhere, and what cannot be is passed over.
    """
    found: list[Mistype] = []
    for hint, value in zip(hints.positional, args, strict=False):
        if hint is not None and (instead := hint.check(value)) is not None:
            found.append(Mistype(hint.parameter, hint.expected, instead))
    rest = hints.rest
    if rest is not None and len(args) > len(hints.positional):
        surplus = (rest.check(value) for value in args[len(hints.positional) :])
        found += [Mistype(rest.parameter, rest.expected, instead) for instead in surplus if instead is not None]
    for name, value in kwargs.items():
        by_name = hints.keywords.get(name) if name in hints.named else hints.others
        if by_name is not None and (instead := by_name.check(value)) is not None:
            found.append(Mistype(name, by_name.expected, instead))
    return found


def hints_of(
    signature: inspect.Signature, resolved: Mapping[str, Any], given: Mapping[str, Hint] | None = None
) -> Hints | None:
    """The hints of a function with these parameters, whose annotations are *resolved*; None if nothing can be checked.

    A parameter whose default is None takes None, whatever its annotation says. Hints that are *given*, by name, stand.
    """
    given = given or {}
    positional: list[Hint | None] = []
    keywords: dict[str, Hint] = {}
    named: set[str] = set()
    rest = others = None
    for one in signature.parameters.values():
        hint = given.get(one.name) or _hint(one, resolved.get(one.name, Any))
        if one.kind is one.VAR_POSITIONAL:
            rest = hint
        elif one.kind is one.VAR_KEYWORD:
            others = hint
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD):
            positional.append(hint)
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            named.add(one.name)
            if hint is not None:
                keywords[one.name] = hint
    if not (keywords or rest or others or any(positional)):
        return None
    return Hints(tuple(positional), rest, keywords, others, frozenset(named))


def resolved_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of *function* as types. One that cannot be found is left out, and so is not checked."""
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 (an annotation is anybody's expression)
        return _resolved_one_by_one(function)


def _resolved_one_by_one(function: Callable[..., Any]) -> dict[str, Any]:
    """Those that can be found: a name that is imported for type checkers only must not hide the others."""
    inner = inspect.unwrap(function)
    names = getattr(inner, "__globals__", {})
    try:
        written = dict(inner.__annotations__)
    except Exception:  # noqa: BLE001 (from Python 3.14 on they are evaluated here)
        return {}
    found: dict[str, Any] = {}
    for name, annotation in written.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            found |= typing.get_type_hints(holder, globalns=names)
        except Exception:  # noqa: BLE001, S112 (not found: not checked)
            continue
    return found


def _hint(parameter: inspect.Parameter, annotation: Any) -> Hint | None:
    check = check_of(annotation)
    if check is None:
        return None
    expected = _words(annotation)
    if parameter.default is None and check(None) is not None:
        return Hint(parameter.name, f"{expected} or None", or_none(check))
    return Hint(parameter.name, expected, check)


def _words(annotation: Any) -> str:
    return "None" if annotation in (None, types.NoneType) else inspect.formatannotation(annotation)
