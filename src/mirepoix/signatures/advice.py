"""Describe each kind of change, and how to make it safely."""

from __future__ import annotations

from mirepoix.signatures.compatibility import Verdict
from mirepoix.signatures.difference import VARIADIC, ChangeKind, Difference
from mirepoix.signatures.signature import Kind, Parameter, Signature

_UPCAST = "or raise the task's version and write an upcaster"
_TWO_STEPS = "do it in two releases, with the workers of the first all running before the second"


def sentence(difference: Difference, new: Signature) -> str:
    """Describe the change, for a reviewer."""
    name = difference.parameter
    before, after = difference.before, difference.after
    if difference.what is ChangeKind.ADDED and after is not None:
        return f"{name} was added{_how_added(after, new)}."
    if difference.what is ChangeKind.REMOVED:
        return f"{name} was removed."
    if difference.what is ChangeKind.REORDERED:
        return f"The order of {name} was changed."
    if before is None or after is None:
        raise ValueError(f"a {difference.what} has two sides")
    now = f"{VARIADIC.get(after.kind, '')}{after.name}"
    if difference.what is ChangeKind.RENAMED:
        return f"{VARIADIC.get(before.kind, '')}{before.name} was renamed {now}."
    if difference.what is ChangeKind.KIND_CHANGED:
        return f"{now} was {before.kind} and is {after.kind}."
    if difference.what is ChangeKind.DEFAULT_ADDED:
        return f"{now} has a default now: {after.default}."
    if difference.what is ChangeKind.DEFAULT_REMOVED:
        return f"{now} has lost its default, which was {before.default}."
    if difference.what is ChangeKind.DEFAULT_CHANGED:
        return f"The default of {now} was {before.default} and is {after.default}: payloads that leave it out get that."
    return f"{now} was annotated {before.annotation or 'with nothing'} and is annotated {_or_nothing(after)}."


def _or_nothing(parameter: Parameter) -> str:
    return parameter.annotation or "with nothing"


def _how_added(after: Parameter, new: Signature) -> str:
    if after.kind in VARIADIC:
        return ""
    how = f" with the default {after.default}" if after.has_default else " without a default"
    if after.kind is Kind.KEYWORD_ONLY:
        return f"{how}, by keyword only"
    place = new.positional.index(after)
    behind = new.positional[place + 1 : place + 2]
    return f"{how}, in front of {behind[0].name}" if behind else how


def remedy(what: ChangeKind, parameter: str | None, old_to_new: Verdict, new_to_old: Verdict) -> str:
    """Return the advice for a change, or an empty string if both directions are safe."""
    if old_to_new is Verdict.SAFE is new_to_old:
        return ""
    if Verdict.WRONG in (old_to_new, new_to_old):
        return _OF_WRONG.get(what, _KEEP_PLACES).format(parameter)
    if old_to_new is Verdict.PARKS:
        return _OF_PARKED.get(what, f"Keep taking what callers write today, {_UPCAST}.").format(parameter)
    return _OF_ROLLING.get(
        what,
        "Deploy the workers before the callers, or let old workers park these payloads until the last is replaced.",
    ).format(parameter)


_KEEP_PLACES = f"Keep every positional parameter at its place and under its name, {_UPCAST}."

_OF_WRONG = {
    ChangeKind.ADDED: f"Put {{}} behind all others, with a default, or make it keyword-only; {_UPCAST}.",
    ChangeKind.REMOVED: f"Keep {{}}, with a default, unused, until no waiting payload has it; {_UPCAST}.",
    ChangeKind.RENAMED: (
        "If it only has another name now, keep the old one, or rename in two releases: first add the new name with a "
        f"default behind all others and read either, then drop the old one when no waiting payload has it; {_UPCAST}."
    ),
    ChangeKind.REORDERED: f"Keep the order, {_UPCAST}. Keyword-only parameters have none.",
}

_OF_PARKED = {
    ChangeKind.ADDED: f"Give {{}} a default, {_UPCAST}.",
    ChangeKind.REMOVED: f"Keep {{}}, with a default, unused, until no waiting payload has it; {_UPCAST}.",
    ChangeKind.RENAMED: (
        "Rename in two releases: first add the new name beside the old one, both with defaults, and read either; drop "
        f"the old one when no waiting payload has it; {_UPCAST}."
    ),
    ChangeKind.KIND_CHANGED: (
        f"Let it be given both by position and by keyword until no waiting payload needs it; {_UPCAST}."
    ),
    ChangeKind.DEFAULT_REMOVED: f"Keep the default, {_UPCAST}.",
    ChangeKind.VERSION_RAISED: "Write an upcaster for each version on the way: @task.upcast(from_version=…).",
    ChangeKind.VERSION_LOWERED: "Never lower a version: raise it, and write an upcaster that undoes the last one.",
    ChangeKind.UPCASTER_REMOVED: "Keep the upcaster until no payload of that version waits.",
    ChangeKind.ALIAS_REMOVED: "Keep the alias until no payload under that name waits.",
    ChangeKind.TASK_REMOVED: "Keep the task until no payload of it waits.",
}

_OF_ROLLING = {
    ChangeKind.ADDED: (
        f"To pass {{}} at once, {_TWO_STEPS}: take it, then pass it. Otherwise old workers park such payloads, and new "
        "ones resume them."
    ),
    ChangeKind.DEFAULT_ADDED: (
        f"To leave {{}} out at once, {_TWO_STEPS}: give the default, then leave it out. Otherwise old workers park "
        "such payloads, and new ones resume them."
    ),
    ChangeKind.TASK_ADDED: "None is needed: old workers park its payloads, and new ones resume them.",
    ChangeKind.TASK_RENAMED: "None is needed: old workers park payloads under the new name, and new ones resume them.",
    ChangeKind.VERSION_RAISED: (
        "None is needed: old workers park payloads of the new version, and new ones resume them."
    ),
    ChangeKind.VERSION_LOWERED: "Never lower a version: raise it, and write an upcaster that undoes the last one.",
}
