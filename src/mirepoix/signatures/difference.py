"""What differs between two signatures, parameter by parameter, before anyone asks what it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mirepoix.signatures.signature import Kind, Parameter, Signature

VARIADIC = {Kind.VAR_POSITIONAL: "*", Kind.VAR_KEYWORD: "**"}


class What(StrEnum):
    """The kinds of change."""

    ADDED = "parameter added"
    REMOVED = "parameter removed"
    RENAMED = "parameter renamed"
    REORDERED = "parameters reordered"
    KIND_CHANGED = "kind changed"
    DEFAULT_ADDED = "default added"
    DEFAULT_REMOVED = "default removed"
    DEFAULT_CHANGED = "default changed"
    ANNOTATION_CHANGED = "annotation changed"
    VERSION_RAISED = "version raised"
    VERSION_LOWERED = "version lowered"
    UPCASTER_ADDED = "upcaster added"
    UPCASTER_REMOVED = "upcaster removed"
    ALIAS_ADDED = "alias added"
    ALIAS_REMOVED = "alias removed"
    TASK_ADDED = "task added"
    TASK_REMOVED = "task removed"
    TASK_RENAMED = "task renamed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One parameter that is not what it was; *before* or *after* is None where there was none or is none.

    *others* are the names of further parameters that changed their places with it.
    """

    what: What
    before: Parameter | None
    after: Parameter | None
    others: tuple[str, ...] = ()

    @property
    def touches(self) -> frozenset[str]:
        """The names it is about, with ``*`` for ``*args`` and ``**`` for ``**kwargs``, whatever these are called."""
        return frozenset(key(one) for one in (self.before, self.after) if one is not None) | set(self.others)

    @property
    def parameter(self) -> str:
        """What to call it: ``amount``, ``amount -> total``, ``*args``, ``order, amount``."""
        if self.others:
            return ", ".join(self.others)
        names = [f"{VARIADIC.get(one.kind, '')}{one.name}" for one in (self.before, self.after) if one is not None]
        return " -> ".join(dict.fromkeys(names))


def key(parameter: Parameter) -> str:
    """Its name, or ``*`` and ``**``."""
    return VARIADIC.get(parameter.kind, parameter.name)


def differences(old: Signature, new: Signature) -> list[Difference]:
    """Everything that makes the parameters of *new* others than those of *old*; empty if they are equal.

    A parameter is taken for renamed, and not for another, if one stands at its place whose name is new, or, by keyword
    alone, if it is the only one to go, one alone comes, and they are alike but for the name.
    """
    pairs = _pairs(old, new)
    after_of = {before.name: after for before, after in pairs}
    come = {after.name for _, after in pairs}
    found = [Difference(What.REMOVED, one, None) for one in _regular(old) if one.name not in after_of]
    found += [Difference(What.ADDED, None, one) for one in _regular(new) if one.name not in come]
    for before, after in pairs:
        found += _between(before, after)
    found += _reordered(old, new, pairs)
    for was, now in ((old.var_positional, new.var_positional), (old.var_keyword, new.var_keyword)):
        if was is not None and now is not None:
            found += _between(was, now)
        elif was is not now:
            found.append(Difference(What.ADDED if was is None else What.REMOVED, was, now))
    return found


def _regular(signature: Signature) -> list[Parameter]:
    return [one for one in signature.parameters if one.kind not in VARIADIC]


def _pairs(old: Signature, new: Signature) -> list[tuple[Parameter, Parameter]]:
    """Which parameter of *new* is which of *old*."""
    olds = {one.name: one for one in _regular(old)}
    news = {one.name: one for one in _regular(new)}
    pairs = [(one, news[one.name]) for one in olds.values() if one.name in news]
    pairs += [
        (before, after)
        for before, after in zip(old.positional, new.positional, strict=False)
        if before.name not in news and after.name not in olds
    ]
    gone = [one for one in old.keyword_only if one.name not in news]
    come = [one for one in new.keyword_only if one.name not in olds]
    if len(gone) == len(come) == 1 and _looks(gone[0]) == _looks(come[0]):
        pairs.append((gone[0], come[0]))
    return pairs


def _looks(parameter: Parameter) -> tuple[bool, str, str]:
    return parameter.has_default, parameter.default, parameter.annotation


def _between(before: Parameter, after: Parameter) -> Iterator[Difference]:
    if before.name != after.name:
        yield Difference(What.RENAMED, before, after)
    if before.kind is not after.kind:
        yield Difference(What.KIND_CHANGED, before, after)
    if before.has_default and not after.has_default:
        yield Difference(What.DEFAULT_REMOVED, before, after)
    elif after.has_default and not before.has_default:
        yield Difference(What.DEFAULT_ADDED, before, after)
    elif before.default != after.default:
        yield Difference(What.DEFAULT_CHANGED, before, after)
    if before.annotation != after.annotation:
        yield Difference(What.ANNOTATION_CHANGED, before, after)


def _reordered(old: Signature, new: Signature, pairs: list[tuple[Parameter, Parameter]]) -> Iterator[Difference]:
    """The positional parameters that passed one another, as one difference."""
    both = [(before, after) for before, after in pairs if before in old.positional and after in new.positional]
    was = sorted(both, key=lambda pair: old.positional.index(pair[0]))
    now = sorted(both, key=lambda pair: new.positional.index(pair[1]))
    moved = [one for one, other in zip(was, now, strict=True) if one is not other]
    if moved:
        before, after = moved[0]
        yield Difference(What.REORDERED, before, after, tuple(pair[1].name for pair in moved))
