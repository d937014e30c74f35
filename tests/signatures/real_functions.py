"""Signatures for Hypothesis to choose, and the real functions of the same signatures to judge them by."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from hypothesis import strategies as st

from mirepoix.signatures.shape import Shape
from mirepoix.signatures.signature import Kind, Parameter, Signature

NAMES = ("a", "b", "c", "d")


@st.composite
def signatures(draw: st.DrawFn, names: tuple[str, ...] = NAMES, most: int = 4) -> Signature:
    """Any signature that Python allows over few names."""
    chosen = draw(st.permutations(names))[: draw(st.integers(0, most))]
    kinds = sorted((draw(st.sampled_from(list(Kind))) for _ in chosen), key=list(Kind).index)
    parameters: list[Parameter] = []
    has_default = False
    for name, kind in zip(chosen, kinds, strict=True):
        if kind in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD):
            if not any(one.kind is kind for one in parameters):
                parameters.append(Parameter(name, kind))
            continue
        default = draw(st.booleans())
        if kind is not Kind.KEYWORD_ONLY:
            has_default = default = has_default or default
        parameters.append(Parameter(name, kind, default, "None" if default else ""))
    return Signature("task", 1, tuple(parameters))


def function(signature: Signature) -> Callable[..., dict[str, Any]]:
    """A real function of that signature; it returns what its parameters were given."""
    taken = str(signature).removeprefix(signature.task)
    kept = ", ".join(f"{one.name!r}: {one.name}" for one in signature.parameters)
    namespace: dict[str, Any] = {}
    exec(f"def function{taken}: return {{{kept}}}", namespace)
    return namespace["function"]


def shapes(most_positional: int, names: tuple[str, ...]) -> Iterator[Shape]:
    """Every shape up to that many arguments by position, with any of *names* as keywords."""
    for count in range(most_positional + 1):
        for size in range(len(names) + 1):
            for keywords in combinations(names, size):
                yield Shape(count, frozenset(keywords))


class Given(str):
    """An argument, to tell it from a default."""

    __slots__ = ()


def call(taker: Callable[..., dict[str, Any]], shape: Shape) -> dict[str, str] | None:
    """Which place each argument of such a call comes to, or None if Python refuses it.

    Arguments are ``"0"``, ``"1"`` … by position and their name by keyword. A place is a parameter's name, ``*0`` in
    ``*args``, and in ``**kwargs`` the keyword itself.
    """
    given = {name: Given(name) for name in shape.keywords}
    try:
        taken = taker(*(Given(number) for number in range(shape.positional)), **given)
    except TypeError:
        return None
    places: dict[str, str] = {}
    for name, value in taken.items():
        if isinstance(value, tuple):
            places |= {one: f"*{number}" for number, one in enumerate(value)}
        elif isinstance(value, dict):
            places |= {one: keyword for keyword, one in value.items()}
        elif isinstance(value, Given):
            places[value] = name
    return places


def bind(taker: Callable[..., Any], shape: Shape) -> bool:
    """ChangeKind `inspect.Signature.bind` says."""
    try:
        inspect.signature(taker).bind(*range(shape.positional), **dict.fromkeys(shape.keywords))
    except TypeError:
        return False
    return True
