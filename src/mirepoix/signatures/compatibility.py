"""Decide exactly what happens to all the calls that one signature allows when they are bound to another.

If the number of positional arguments is fixed, the constraints on keywords are independent: each keyword is required,
free or forbidden. So the set of calls is a box. Whether one box lies in another, or meets it, can be decided name by
name instead of call by call. Counts beyond the longer list of parameters add nothing new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum

from mirepoix.signatures.shape import Shape, fits_shape
from mirepoix.signatures.signature import Kind, Signature


class Verdict(StrEnum):
    """What happens to the payloads of one side when the other side runs them."""

    SAFE = "safe"
    """Every call is bound, and each value goes to the intended parameter."""
    PARKS = "parks"
    """Some calls cannot be bound. They are parked and run nothing."""
    WRONG = "wrong"
    """Some calls are bound, but a value goes to a parameter of another name. They run wrongly."""

    @property
    def rank(self) -> int:
        """The rank of the verdict; higher is worse."""
        return list(Verdict).index(self)


def worst(*verdicts: Verdict) -> Verdict:
    """Return the worst verdict, or safe if there are none."""
    return max(verdicts, key=lambda verdict: verdict.rank, default=Verdict.SAFE)


class Cause(StrEnum):
    """Why a call fails or runs wrongly."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    SURPLUS = "surplus"
    MISPLACED = "misplaced"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A cause with the shortest call that shows it. *why* describes what happens to that call.

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
        """The verdict on the call."""
        return Verdict.WRONG if self.cause is Cause.MISPLACED else Verdict.PARKS


def judge(writer: Signature, reader: Signature) -> Verdict:
    """Judge what happens to the calls that fit *writer* when *reader* runs them."""
    return worst(*(obstacle.verdict for obstacle in obstacles(writer, reader)))


def obstacles(writer: Signature, reader: Signature) -> list[Obstacle]:
    """List everything that prevents calls that fit *writer* from running with *reader*, each cause once.

    An obstacle with WRONG exists exactly if a call fits both and gives a value to another name. An obstacle with PARKS
    exists exactly if a call fits *writer* and not *reader*. In ``*args`` a value's name is its position, in
    ``**kwargs`` its keyword. The names of these two parameters do not matter to a caller.
    """
    found: dict[tuple[Cause, str | None, int | None], Obstacle] = {}
    for count in range(max(len(writer.positional), len(reader.positional)) + 2):
        for obstacle in _obstacles_of(writer, reader, count):
            found.setdefault((obstacle.cause, obstacle.name, obstacle.position), obstacle)
    return list(found.values())


ANY_OTHER = "…"
"""Stands for every keyword that is a parameter of neither side."""


class _Need(Enum):
    FORBIDDEN = 0
    FREE = 1
    REQUIRED = 2


def _obstacles_of(writer: Signature, reader: Signature, count: int) -> Iterator[Obstacle]:
    """Yield the obstacles of calls with *count* positional arguments."""
    if not _is_possible(writer, count):
        return
    names = [*dict.fromkeys(parameter.name for parameter in (*writer.parameters, *reader.parameters)), ANY_OTHER]
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
    """Yield the reasons why no call with so many positional arguments fits."""
    positional = reader.positional
    if example.positional > len(positional):
        yield _parked(reader, Cause.SURPLUS, example, position=len(positional))
    for parameter in positional[example.positional :]:
        if parameter.is_required and parameter.kind is Kind.POSITIONAL_ONLY:
            yield _parked(reader, Cause.MISSING, example, name=parameter.name)


def _parked(
    reader: Signature, cause: Cause, example: Shape, name: str | None = None, position: int | None = None
) -> Obstacle:
    why = "unexpected keywords" if name == ANY_OTHER else fits_shape(reader, example)
    return Obstacle(cause, example, why or "", None if name == ANY_OTHER else name, position)


def place(signature: Signature, position: int) -> str:
    """Return the target of the argument at that position: a parameter's name, or ``*[0]`` in ``*args``."""
    positional, rest = signature.positional, signature.var_positional
    if position < len(positional):
        return positional[position].name
    return f"*[{position - len(positional)}]" if rest else ""


def _is_possible(signature: Signature, count: int) -> bool:
    """Whether any call with *count* positional arguments fits."""
    positional = signature.positional
    if count > len(positional) and signature.var_positional is None:
        return False
    return not any(parameter.is_required and parameter.kind is Kind.POSITIONAL_ONLY for parameter in positional[count:])


def _need(signature: Signature, name: str, count: int) -> _Need:
    """Return whether that keyword is required, free or forbidden if there are *count* positional arguments."""
    parameter = signature.named(name)
    if parameter is None or parameter.kind not in (Kind.EITHER, Kind.KEYWORD_ONLY):
        return _Need.FREE if signature.var_keyword else _Need.FORBIDDEN
    if parameter in signature.positional[:count]:
        return _Need.FORBIDDEN
    return _Need.REQUIRED if parameter.is_required else _Need.FREE
