"""What becomes of the calls that one signature allows when they are bound to another: of all of them, exactly.

With the number of positional arguments fixed, what a signature demands of keywords is independent from name to name:
each is required, free or forbidden. So the set of its calls is a box, and whether one box lies in another, or meets
it, is answered name by name instead of call by call. Beyond the longer list of parameters nothing new happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum

from mirepoix.signatures.shape import Shape, fits_shape
from mirepoix.signatures.signature import Kind, Signature


class Verdict(StrEnum):
    """What becomes of the payloads that one side's callers may write when the other side runs them."""

    SAFE = "safe"
    """Each is bound, and each value comes to the parameter it was meant for."""
    PARKS = "parks"
    """There are calls that cannot be bound: they are parked, and run nothing."""
    WRONG = "wrong"
    """There are calls that are bound, and give a value to a parameter of another name: they run, wrongly."""

    @property
    def rank(self) -> int:
        """The higher, the worse."""
        return list(Verdict).index(self)


def worst(*verdicts: Verdict) -> Verdict:
    """The worst of them; safe if there are none."""
    return max(verdicts, key=lambda one: one.rank, default=Verdict.SAFE)


class Cause(StrEnum):
    """Why a call comes to no good."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    SURPLUS = "surplus"
    MISPLACED = "misplaced"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One cause, with the shortest call that shows it. *why* says in words what becomes of that call.

    It concerns the parameter or keyword *name* (None: keywords that neither signature names) or the argument at
    *position*.
    """

    cause: Cause
    example: Shape
    why: str
    name: str | None = None
    position: int | None = None

    @property
    def verdict(self) -> Verdict:
        """What it does to the call."""
        return Verdict.WRONG if self.cause is Cause.MISPLACED else Verdict.PARKS


def judge(writer: Signature, reader: Signature) -> Verdict:
    """What becomes of the calls that fit *writer* when they are given to *reader*."""
    return worst(*(one.verdict for one in obstacles(writer, reader)))


def obstacles(writer: Signature, reader: Signature) -> list[Obstacle]:
    """Everything that stands between the calls that fit *writer* and *reader*, each cause once; empty if all is well.

    There is one of WRONG exactly if a call fits both and gives a value to another name, and one of PARKS exactly if a
    call fits *writer* and not *reader*. In ``*args`` a value's name is its place there, in ``**kwargs`` its keyword:
    how these two are called themselves means nothing to a caller.
    """
    found: dict[tuple[Cause, str | None, int | None], Obstacle] = {}
    for count in range(max(len(writer.positional), len(reader.positional)) + 2):
        for one in _obstacles_of(writer, reader, count):
            found.setdefault((one.cause, one.name, one.position), one)
    return list(found.values())


ANY_OTHER = "…"
"""Stands for every keyword that is no parameter of either side."""


class _Need(Enum):
    FORBIDDEN = 0
    FREE = 1
    REQUIRED = 2


def _obstacles_of(writer: Signature, reader: Signature, count: int) -> Iterator[Obstacle]:
    """Those of the calls with *count* positional arguments."""
    if not _is_possible(writer, count):
        return
    names = [*dict.fromkeys(one.name for one in (*writer.parameters, *reader.parameters)), ANY_OTHER]
    written = {name: _need(writer, name, count) for name in names}
    shortest = frozenset(name for name, need in written.items() if need is _Need.REQUIRED)
    if not _is_possible(reader, count):
        yield from _impossible(reader, Shape(count, shortest))
        return
    read = {name: _need(reader, name, count) for name in names}
    for name in names:
        if read[name] is _Need.REQUIRED and written[name] is not _Need.REQUIRED:
            yield _parked(reader, Cause.MISSING, Shape(count, shortest), name=name)
        elif read[name] is _Need.FORBIDDEN and written[name] is not _Need.FORBIDDEN:
            yield _parked(reader, Cause.UNEXPECTED, Shape(count, shortest | {name}), name=name)
    if {_Need.REQUIRED, _Need.FORBIDDEN} in ({written[name], read[name]} for name in names):
        return  # no call fits both
    both = frozenset(name for name in names if _Need.REQUIRED in (written[name], read[name]))
    for position in range(count):
        meant, comes_to = place(writer, position), place(reader, position)
        if meant != comes_to:
            why = f"the argument meant for {meant} comes to {comes_to}"
            yield Obstacle(Cause.MISPLACED, Shape(count, both), why, position=position)


def _impossible(reader: Signature, example: Shape) -> Iterator[Obstacle]:
    """Why no call with so many positional arguments fits."""
    positional = reader.positional
    if example.positional > len(positional):
        yield _parked(reader, Cause.SURPLUS, example, position=len(positional))
    for one in positional[example.positional :]:
        if one.is_required and one.kind is Kind.POSITIONAL_ONLY:
            yield _parked(reader, Cause.MISSING, example, name=one.name)


def _parked(
    reader: Signature, cause: Cause, example: Shape, name: str | None = None, position: int | None = None
) -> Obstacle:
    why = "unexpected keywords" if name == ANY_OTHER else fits_shape(reader, example)
    return Obstacle(cause, example, why or "", None if name == ANY_OTHER else name, position)


def place(signature: Signature, position: int) -> str:
    """Where the argument at that position comes to: a parameter's name, or ``*[0]`` in ``*args``."""
    positional, rest = signature.positional, signature.var_positional
    if position < len(positional):
        return positional[position].name
    return f"*[{position - len(positional)}]" if rest else ""


def _is_possible(signature: Signature, count: int) -> bool:
    """Whether any call with *count* positional arguments fits."""
    positional = signature.positional
    if count > len(positional) and signature.var_positional is None:
        return False
    return not any(one.is_required and one.kind is Kind.POSITIONAL_ONLY for one in positional[count:])


def _need(signature: Signature, name: str, count: int) -> _Need:
    """What is demanded of that keyword when there are *count* positional arguments."""
    parameter = signature.named(name)
    if parameter is None or parameter.kind not in (Kind.EITHER, Kind.KEYWORD_ONLY):
        return _Need.FREE if signature.var_keyword else _Need.FORBIDDEN
    if parameter in signature.positional[:count]:
        return _Need.FORBIDDEN
    return _Need.REQUIRED if parameter.is_required else _Need.FREE
