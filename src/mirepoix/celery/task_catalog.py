"""What the code that runs here can take: its tasks under all their names and versions, judged without running them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery.exceptions import NotRegistered

from mirepoix.celery import upcast
from mirepoix.celery.signatures import kept_signature_of, version_of
from mirepoix.protocol.payload import MAPS
from mirepoix.records import IncompatibilityKind
from mirepoix.signatures.call_codec import Call, from_text
from mirepoix.signatures.shape import fits_shape


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """Why the code cannot take a call, and what it lacks: None if no other code could take it either."""

    kind: IncompatibilityKind | None
    reason: str

    @property
    def error(self) -> Exception:
        """As Celery would have raised it."""
        return NotRegistered(self.reason) if self.kind is IncompatibilityKind.TASK else TypeError(self.reason)


class TaskCatalog:
    """The tasks of one app."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._judged: dict[str, bool] = {}
        self._known = 0

    def current_name(self, name: str) -> str:
        """The name of the task that takes what was sent as *name*: another one, if that is an alias."""
        tasks = self._app.tasks
        aliases: Mapping[str, str] = tasks.aliases
        return name if name in tasks else aliases.get(name, name)

    def can_take(self, shape: str) -> bool:
        """Whether a payload that is kept with that shape (see `mirepoix.signatures.call_codec`) would be run here.

        What it carries for later does not count: that is judged when it is sent. What a map calls does.
        """
        if len(self._app.tasks) != self._known:
            self._known = len(self._app.tasks)
            self._judged.clear()
        if shape not in self._judged:
            own, *others = from_text(shape)
            inside = (self.incompatibility_inside(own.task, call) for call in others if own.task in MAPS)
            self._judged[shape] = self.incompatibility(own) is None and not any(inside)
        return self._judged[shape]

    def incompatibility_inside(self, map_name: str, call: Call) -> Incompatibility | None:
        """Why a celery.map cannot make that call, or None."""
        return incompatibility_inside(map_name, self._app.tasks.get(call.task), call)

    def incompatibility(self, call: Call) -> Incompatibility | None:
        """Why the code cannot take it, or None if it can."""
        task = self._app.tasks.get(self.current_name(call.task))
        if task is None:
            return Incompatibility(IncompatibilityKind.TASK, f"no task named {call.task!r} is registered")
        return incompatibility_of(task, call)


def incompatibility_inside(map_name: str, task: Any, call: Call) -> Incompatibility | None:
    """Why *call*, of *task* (None: there is none of that name), is not right inside of a map as it stands.

    Nothing turns the calls of a map into others.
    """
    if task is None:
        return Incompatibility(
            IncompatibilityKind.TASK, f"no task named {call.task!r} is registered, and {map_name} knows no aliases"
        )
    if call.version != version_of(task):
        why = f"it calls {call.task} of version {call.version}, the code here has version {version_of(task)}"
        return Incompatibility(IncompatibilityKind.VERSION, f"{why}, and no upcaster is used inside of {map_name}")
    return incompatibility_of(task, call)


def incompatibility_of(task: Any, call: Call) -> Incompatibility | None:
    """Why *task*, which has that name, cannot take *call*."""
    signature = kept_signature_of(task)
    current = signature.version
    if call.version > current:
        return Incompatibility(
            IncompatibilityKind.VERSION,
            f"it is of version {call.version}, and the code here knows {task.name} up to version {current}",
        )
    if call.version < current:
        if missing := signature.missing_upcasters(call.version):
            return Incompatibility(
                IncompatibilityKind.VERSION,
                f"it is of version {call.version}, the code of {task.name} of version {current}, and there is no "
                f"upcaster: @{task.name.rpartition('.')[2]}.upcast(from_version={missing[0]})",
            )
        signature = upcast.signature_of(task, call.version)
    if call.shape is None:
        return None
    why = fits_shape(signature, call.shape)
    if why is None:
        return None
    which = f"version {call.version} of its arguments" if call.version < current else "the task's signature"
    return Incompatibility(IncompatibilityKind.ARGUMENTS, f"the arguments do not fit {which}: {why}")
