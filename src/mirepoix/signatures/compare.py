"""Compare two releases of a task: what a change does to waiting payloads and to old workers.

During a deploy payloads go both ways. The new code runs payloads of the old code, which may have waited for days.
Workers with the old code receive payloads of the new code. `compatibility` judges both directions, over all calls that
a side allows. This module attributes each obstacle to the change that causes it. A payload of another version is never
bound to the code: upcasters convert it, or it is parked. So a raised version turns "wrong" into "parks".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mirepoix.signatures.advice import remedy, sentence
from mirepoix.signatures.compatibility import Cause, Obstacle, Verdict, obstacles, worst
from mirepoix.signatures.difference import ChangeKind, Difference, differences
from mirepoix.signatures.signature import Signature

_COSMETIC = (ChangeKind.DEFAULT_CHANGED, ChangeKind.ANNOTATION_CHANGED)

_PREFERENCE = {
    Cause.MISSING: (
        ChangeKind.DEFAULT_REMOVED,
        ChangeKind.DEFAULT_ADDED,
        ChangeKind.ADDED,
        ChangeKind.REMOVED,
        ChangeKind.RENAMED,
        ChangeKind.KIND_CHANGED,
        ChangeKind.REORDERED,
    ),
}
_OTHERWISE = (
    ChangeKind.RENAMED,
    ChangeKind.REORDERED,
    ChangeKind.ADDED,
    ChangeKind.REMOVED,
    ChangeKind.KIND_CHANGED,
    ChangeKind.DEFAULT_ADDED,
    ChangeKind.DEFAULT_REMOVED,
)
"""If several changes of one parameter could cause an obstacle, this order decides."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a task, its effect on payloads in both directions, and the advice.

    ``old_to_new``: the new code runs payloads of the old code. ``new_to_old``: the other direction. ``…_why`` describes
    what happens to such a payload, with the shortest example. It is empty if the verdict is "safe". ``remedy`` is empty
    if no remedy is needed.
    """

    task: str
    what: ChangeKind
    parameter: str | None
    sentence: str
    old_to_new: Verdict = Verdict.SAFE
    new_to_old: Verdict = Verdict.SAFE
    old_to_new_why: str = ""
    new_to_old_why: str = ""
    remedy: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worse verdict of both directions."""
        return worst(self.old_to_new, self.new_to_old)

    @property
    def is_safe_after_deploy(self) -> bool:
        """Whether nothing runs wrongly, and parked tasks are resumed when the last old worker has gone."""
        return self.old_to_new is Verdict.SAFE and self.new_to_old is not Verdict.WRONG


def compare(old: Signature, new: Signature) -> list[Change]:
    """List every change from *old* to *new*, two signatures of one task, in the order of the parameters.

    Over all changes, the worst verdict of a direction is the verdict of the pair: "wrong" exactly if some call is bound
    and gives a value to another parameter, otherwise "parks" exactly if some call cannot be bound.
    """
    version = list(_version_changes(old, new))
    changes = version + _parameter_changes(old, new) + list(_alias_changes(old, new))
    return [
        replace(change, remedy=remedy(change.what, change.parameter, change.old_to_new, change.new_to_old))
        for change in changes
    ]


def compare_all(old: Mapping[str, Signature], new: Mapping[str, Signature]) -> list[Change]:
    """List every change from one release's tasks to another's, both by name, sorted by task."""
    found: list[Change] = []
    alias_of = {alias: signature for signature in new.values() for alias in signature.aliases}
    renamed = {alias_of[name].task for name in old if name not in new and name in alias_of}
    for name in sorted({*old, *new}):
        if name in old and name in new:
            found += compare(old[name], new[name])
        elif name in new:
            if name not in renamed:
                found.append(_task_added(name))
        elif name in alias_of:
            found += _renamed(old[name], alias_of[name])
        else:
            found.append(_task_removed(old[name], new, set(new) - set(old)))
    return found


def _parameter_changes(old: Signature, new: Signature) -> list[Change]:
    found = differences(old, new)
    if not found:
        return []
    forward = _blamed(found, obstacles(old, new), old, new)
    back = _blamed(found, obstacles(new, old), old, new)
    changes = []
    for number, difference in enumerate(found):
        old_to_new, old_why = _gated(old.version, new, *_verdict_of(forward.get(number, []), old.task))
        new_to_old, new_why = _gated(new.version, old, *_verdict_of(back.get(number, []), new.task))
        text = sentence(difference, new)
        changes.append(
            Change(new.task, difference.what, difference.parameter, text, old_to_new, new_to_old, old_why, new_why)
        )
    return changes


def _blamed(
    found: list[Difference], because: list[Obstacle], old: Signature, new: Signature
) -> dict[int, list[Obstacle]]:
    """Group the obstacles by the number of the difference that causes them."""
    blamed: dict[int, list[Obstacle]] = {}
    for obstacle in because:
        order = _PREFERENCE.get(obstacle.cause, _OTHERWISE)
        candidates = [number for number, difference in enumerate(found) if difference.what not in _COSMETIC]
        for names in _concerned(obstacle, old, new):
            touching = [number for number in candidates if found[number].touches & names]
            if touching:
                candidates = touching
                break
        chosen = min(candidates, key=lambda number: order.index(found[number].what))
        blamed.setdefault(chosen, []).append(obstacle)
    return blamed


def _concerned(obstacle: Obstacle, old: Signature, new: Signature) -> Iterator[set[str]]:
    """Yield the parameters of an obstacle, and then the first position where the signatures differ."""
    if obstacle.position is not None:
        yield {_key_at(old, obstacle.position), _key_at(new, obstacle.position)}
    else:
        yield {obstacle.name or "**"}
        yield {"**"} if obstacle.cause is Cause.UNEXPECTED else set()
    for position in range(max(len(old.positional), len(new.positional)) + 1):
        here = {_key_at(old, position), _key_at(new, position)}
        if len(here) > 1:
            yield here


def _key_at(signature: Signature, position: int) -> str:
    return signature.positional[position].name if position < len(signature.positional) else "*"


def _verdict_of(because: list[Obstacle], task: str) -> tuple[Verdict, str]:
    if not because:
        return Verdict.SAFE, ""
    worst_obstacle = max(because, key=lambda obstacle: obstacle.verdict.rank)
    return worst_obstacle.verdict, f"{worst_obstacle.why}, as in {task.rpartition('.')[2]}{worst_obstacle.example}"


def _gated(written: int, reader: Signature, verdict: Verdict, why: str) -> tuple[Verdict, str]:
    """Return the verdict if the version of a payload keeps it from being bound directly."""
    if written == reader.version or verdict is Verdict.SAFE:
        return verdict, why
    if reader.missing_upcasters(written):
        return Verdict.PARKS, "the code knows no such version"
    return Verdict.SAFE, ""


def _version_changes(old: Signature, new: Signature) -> Iterator[Change]:
    if old.version != new.version:
        what = ChangeKind.VERSION_RAISED if new.version > old.version else ChangeKind.VERSION_LOWERED
        text = f"The version was {old.version} and is {new.version}."
        old_to_new, old_why = _of_version(old.version, new)
        new_to_old, new_why = _of_version(new.version, old)
        yield Change(new.task, what, None, text, old_to_new, new_to_old, old_why, new_why)
    for version in sorted({*old.upcasts} - {*new.upcasts}):
        text = f"The upcaster from version {version} was removed."
        why = f"a payload of version {version} that still waits can no longer be turned into version {version + 1}"
        yield Change(new.task, ChangeKind.UPCASTER_REMOVED, None, text, Verdict.PARKS, old_to_new_why=why)
    for version in sorted({*new.upcasts} - {*old.upcasts}):
        yield Change(
            new.task,
            ChangeKind.UPCASTER_ADDED,
            None,
            f"An upcaster turns version {version} into version {version + 1}.",
        )


def _of_version(written: int, reader: Signature) -> tuple[Verdict, str]:
    missing = reader.missing_upcasters(written)
    if not missing:
        return Verdict.SAFE, ""
    if written > reader.version:
        return Verdict.PARKS, f"a payload of version {written} reaches code that knows versions up to {reader.version}"
    steps = ", ".join(str(version) for version in missing)
    return Verdict.PARKS, f"no upcaster takes a payload of version {steps} to the next"


def _alias_changes(old: Signature, new: Signature) -> Iterator[Change]:
    for alias in sorted({*old.aliases} - {*new.aliases, new.task}):
        why = f"a payload that was sent as {alias} finds no task"
        text = f"The alias {alias} was removed."
        yield Change(new.task, ChangeKind.ALIAS_REMOVED, None, text, Verdict.PARKS, old_to_new_why=why)
    for alias in sorted({*new.aliases} - {*old.aliases, old.task}):
        yield Change(new.task, ChangeKind.ALIAS_ADDED, None, f"It takes payloads that were sent as {alias}, too.")


def _task_added(name: str) -> Change:
    why = "old workers have no such task"
    change = Change(name, ChangeKind.TASK_ADDED, None, "The task is new.", new_to_old=Verdict.PARKS, new_to_old_why=why)
    return replace(change, remedy=remedy(change.what, None, change.old_to_new, change.new_to_old))


def _task_removed(gone: Signature, new: Mapping[str, Signature], added: set[str]) -> Change:
    text = "The task was removed, or its name was changed."
    change = Change(
        gone.task, ChangeKind.TASK_REMOVED, None, text, Verdict.PARKS, old_to_new_why="the new code has no such task"
    )
    alike = [name for name in sorted(added) if new[name].parameters == gone.parameters]
    advice = remedy(change.what, None, change.old_to_new, change.new_to_old)
    if alike:
        advice += f" If it is {alike[0]} now, give that the alias: aliases=[{gone.task!r}]."
    return replace(change, remedy=advice)


def _renamed(gone: Signature, now: Signature) -> list[Change]:
    is_known = now.task in gone.aliases
    change = Change(
        now.task,
        ChangeKind.TASK_RENAMED,
        None,
        f"The task was named {gone.task}, which is an alias of it now.",
        new_to_old=Verdict.SAFE if is_known else Verdict.PARKS,
        new_to_old_why="" if is_known else f"old workers know the task as {gone.task} only",
    )
    advice = remedy(change.what, None, change.old_to_new, change.new_to_old)
    return [replace(change, remedy=advice), *compare(gone, now)]
