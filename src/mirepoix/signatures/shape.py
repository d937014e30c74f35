"""Decide whether a call fits a signature from its shape: the number of positional arguments, and the keywords."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.signatures.signature import Kind, Signature

_NAMED_MOST = 5
"""A reason names at most so many parameters and counts the others."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A call without its values. Millions of payloads have few distinct shapes."""

    positional: int = 0
    keywords: frozenset[str] = frozenset()

    @classmethod
    def of(cls, args: Sequence[Any], kwargs: Mapping[Any, Any]) -> Shape:
        """Return the shape of a call with these arguments."""
        return cls(len(args), frozenset(map(str, kwargs)))

    def __str__(self) -> str:
        """Return ``(·, ·, amount=·)``."""
        return f"({', '.join(['·'] * self.positional + [f'{name}=·' for name in sorted(self.keywords)])})"


def fits(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Say why this call cannot be bound to *signature*, naming parameters and no values. Return None if it can.

    This is what Python does when it calls the function. ``inspect.Signature.bind`` does the same, with one exception:
    on Python 3.11 it refuses a keyword for ``**kwargs`` that has the name of a positional-only parameter.
    """
    if not all(isinstance(name, str) for name in kwargs):
        return "a keyword is not text"
    return fits_shape(signature, Shape.of(args, kwargs))


def fits_shape(signature: Signature, shape: Shape) -> str | None:
    """Say why no call of that shape can be bound to *signature*, or return None."""
    positional = signature.positional
    filled = {each.name for each in positional[: shape.positional] if each.kind is Kind.EITHER}
    by_keyword = {each.name for each in signature.parameters if each.kind in (Kind.EITHER, Kind.KEYWORD_ONLY)}
    missing = [
        each.name
        for place, each in enumerate(positional)
        if each.is_required
        and place >= shape.positional
        and (each.kind is Kind.POSITIONAL_ONLY or each.name not in shape.keywords)
    ]
    missing += [each.name for each in signature.keyword_only if each.is_required and each.name not in shape.keywords]
    unexpected = () if signature.var_keyword else sorted(shape.keywords - by_keyword)
    only_by_position = {each.name for each in positional if each.kind is Kind.POSITIONAL_ONLY}
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
