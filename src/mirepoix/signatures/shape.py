"""Does a call fit a signature? Asked of its shape alone: how many arguments by position, and which by keyword."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.signatures.signature import Kind, Signature

_NAMED_MOST = 5
"""A reason names this many parameters; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A call without its values: millions of payloads have few of these."""

    positional: int = 0
    keywords: frozenset[str] = frozenset()

    @classmethod
    def of(cls, args: Sequence[Any], kwargs: Mapping[Any, Any]) -> Shape:
        """That of a call with these arguments."""
        return cls(len(args), frozenset(map(str, kwargs)))

    def __str__(self) -> str:
        """``(·, ·, amount=·)``."""
        return f"({', '.join(['·'] * self.positional + [f'{name}=·' for name in sorted(self.keywords)])})"


def fits(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Why this call cannot be bound to *signature*, in words that name parameters and no values, or None if it can.

    It is what Python does when it calls the function, and so what ``inspect.Signature.bind`` does, except that on
    Python 3.11 that refuses a keyword that has the name of a positional-only parameter and belongs to ``**kwargs``.
    """
    if not all(isinstance(name, str) for name in kwargs):
        return "a keyword is no text"
    return fits_shape(signature, Shape.of(args, kwargs))


def fits_shape(signature: Signature, shape: Shape) -> str | None:
    """The same for every call of that shape."""
    positional = signature.positional
    filled = {one.name for one in positional[: shape.positional] if one.kind is Kind.EITHER}
    by_keyword = {one.name for one in signature.parameters if one.kind in (Kind.EITHER, Kind.KEYWORD_ONLY)}
    missing = [
        one.name
        for place, one in enumerate(positional)
        if one.is_required
        and place >= shape.positional
        and (one.kind is Kind.POSITIONAL_ONLY or one.name not in shape.keywords)
    ]
    missing += [one.name for one in signature.keyword_only if one.is_required and one.name not in shape.keywords]
    unexpected = () if signature.var_keyword else sorted(shape.keywords - by_keyword)
    only_by_position = {one.name for one in positional if one.kind is Kind.POSITIONAL_ONLY}
    reasons = []
    if shape.positional > len(positional) and signature.var_positional is None:
        reasons.append(f"too many positional arguments ({shape.positional} given, {len(positional)} taken)")
    if twice := sorted(filled & shape.keywords):
        reasons.append(f"multiple values for {_names(twice)}")
    if missing:
        reasons.append(f"missing {_names(missing)}")
    if unknown := [name for name in unexpected if name not in only_by_position]:
        reasons.append(f"unexpected keyword {_names(unknown)}")
    if misplaced := [name for name in unexpected if name in only_by_position]:
        reasons.append(f"positional-only, but given by keyword: {_names(misplaced)}")
    return "; ".join(reasons) or None


def _names(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - _NAMED_MOST
    shown = [*every[:_NAMED_MOST], f"{more} more"] if more > 0 else every
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
