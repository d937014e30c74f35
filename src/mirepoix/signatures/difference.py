"""List the differences between two signatures, parameter by parameter, without judging their effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mirepoix.signatures.signature import Kind, Parameter, Signature

VARIADIC = {Kind.VAR_POSITIONAL: "*", Kind.VAR_KEYWORD: "**"}


class ChangeKind(StrEnum):
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
    """A parameter that changed. *before* is None for a new parameter, *after* for a removed parameter.

    *others* are the names of further parameters that changed places with it.
    """

    what: ChangeKind
    before: Parameter | None
    after: Parameter | None
    others: tuple[str, ...] = ()

    @property
    def touches(self) -> frozenset[str]:
        """The names that it concerns, with ``*`` for ``*args`` and ``**`` for ``**kwargs``, under any name."""
        return frozenset(key(parameter) for parameter in (self.before, self.after) if parameter is not None) | set(
            self.others
        )

    @property
    def parameter(self) -> str:
        """The name to show: ``amount``, ``amount -> total``, ``*args``, ``order, amount``."""
        if self.others:
            return ", ".join(self.others)
        names = [
            f"{VARIADIC.get(parameter.kind, '')}{parameter.name}"
            for parameter in (self.before, self.after)
            if parameter is not None
        ]
        return " -> ".join(dict.fromkeys(names))


def key(parameter: Parameter) -> str:
    """Return the parameter's name, or ``*`` or ``**``."""
    return VARIADIC.get(parameter.kind, parameter.name)


def differences(old: Signature, new: Signature) -> list[Difference]:
    """List every difference between the parameters of *new* and *old*. Equal signatures give an empty list.

    A parameter counts as renamed if a parameter with a new name is at its position. A keyword-only parameter counts as
    renamed if it is the only one that goes, only one comes, and the two differ only in their names.
    """
    pairs = _pairs(old, new)
    after_of = {before.name: after for before, after in pairs}
    come = {after.name for _, after in pairs}
    found = [
        Difference(ChangeKind.REMOVED, parameter, None) for parameter in _regular(old) if parameter.name not in after_of
    ]
    found += [
        Difference(ChangeKind.ADDED, None, parameter) for parameter in _regular(new) if parameter.name not in come
    ]
    for before, after in pairs:
        found += _between(before, after)
    found += _reordered(old, new, pairs)
    for was, now in ((old.var_positional, new.var_positional), (old.var_keyword, new.var_keyword)):
        if was is not None and now is not None:
            found += _between(was, now)
        elif was is not now:
            found.append(Difference(ChangeKind.ADDED if was is None else ChangeKind.REMOVED, was, now))
    return found


def _regular(signature: Signature) -> list[Parameter]:
    return [parameter for parameter in signature.parameters if parameter.kind not in VARIADIC]


def _pairs(old: Signature, new: Signature) -> list[tuple[Parameter, Parameter]]:
    """Return the parameters of *old* with their counterparts in *new*."""
    olds = {parameter.name: parameter for parameter in _regular(old)}
    news = {parameter.name: parameter for parameter in _regular(new)}
    pairs = [(parameter, news[parameter.name]) for parameter in olds.values() if parameter.name in news]
    pairs += [
        (before, after)
        for before, after in zip(old.positional, new.positional, strict=False)
        if before.name not in news and after.name not in olds
    ]
    gone = [parameter for parameter in old.keyword_only if parameter.name not in news]
    come = [parameter for parameter in new.keyword_only if parameter.name not in olds]
    if len(gone) == len(come) == 1 and _traits(gone[0]) == _traits(come[0]):
        pairs.append((gone[0], come[0]))
    return pairs


def _traits(parameter: Parameter) -> tuple[bool, str, str]:
    return parameter.has_default, parameter.default, parameter.annotation


def _between(before: Parameter, after: Parameter) -> Iterator[Difference]:
    if before.name != after.name:
        yield Difference(ChangeKind.RENAMED, before, after)
    if before.kind is not after.kind:
        yield Difference(ChangeKind.KIND_CHANGED, before, after)
    if before.has_default and not after.has_default:
        yield Difference(ChangeKind.DEFAULT_REMOVED, before, after)
    elif after.has_default and not before.has_default:
        yield Difference(ChangeKind.DEFAULT_ADDED, before, after)
    elif before.default != after.default:
        yield Difference(ChangeKind.DEFAULT_CHANGED, before, after)
    if before.annotation != after.annotation:
        yield Difference(ChangeKind.ANNOTATION_CHANGED, before, after)


def _reordered(old: Signature, new: Signature, pairs: list[tuple[Parameter, Parameter]]) -> Iterator[Difference]:
    """Yield the positional parameters that changed their order, as one difference."""
    both = [(before, after) for before, after in pairs if before in old.positional and after in new.positional]
    was = sorted(both, key=lambda pair: old.positional.index(pair[0]))
    now = sorted(both, key=lambda pair: new.positional.index(pair[1]))
    moved = [before for before, after in zip(was, now, strict=True) if before is not after]
    if moved:
        before, after = moved[0]
        yield Difference(ChangeKind.REORDERED, before, after, tuple(pair[1].name for pair in moved))
