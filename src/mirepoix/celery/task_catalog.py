"""Decide which calls the tasks of this app can take, under all names and versions. No task is run to find out."""

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
    """Why the code cannot take a call. ``kind`` is what the code lacks; None if no other code could take it either."""

    kind: IncompatibilityKind | None
    reason: str

    @property
    def error(self) -> Exception:
        """The exception that Celery would have raised."""
        return NotRegistered(self.reason) if self.kind is IncompatibilityKind.TASK else TypeError(self.reason)


class TaskCatalog:
    """The tasks of one app."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._judged: dict[str, bool] = {}
        self._known = 0

    def current_name(self, name: str) -> str:
        """The name of the task that takes payloads sent as *name*, which may be an alias."""
        tasks = self._app.tasks
        aliases: Mapping[str, str] = tasks.aliases
        return name if name in tasks else aliases.get(name, name)

    def can_take(self, shape: str) -> bool:
        """Whether a payload of that shape (see `mirepoix.signatures.call_codec`) would run here.

        What it carries for later is not checked here: that is checked when it is sent. What a map calls is checked.
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
        """Why a celery.map cannot make *call*; None if it can."""
        return incompatibility_inside(map_name, self._app.tasks.get(call.task), call)

    def incompatibility(self, call: Call) -> Incompatibility | None:
        """Why the code cannot take *call*; None if it can."""
        task = self._app.tasks.get(self.current_name(call.task))
        if task is None:
            return Incompatibility(IncompatibilityKind.TASK, f"no task named {call.task!r} is registered")
        return incompatibility_of(task, call)


def incompatibility_inside(map_name: str, task: Any, call: Call) -> Incompatibility | None:
    """Why *call* of *task* cannot be made inside a map; None if it can. *task* is None if it is not registered.

    No upcaster is applied to the calls of a map.
    """
    if task is None:
        return Incompatibility(
            IncompatibilityKind.TASK, f"no task named {call.task!r} is registered, and {map_name} resolves no aliases"
        )
    if call.version != version_of(task):
        why = f"it calls {call.task} of version {call.version}, the code here has version {version_of(task)}"
        return Incompatibility(IncompatibilityKind.VERSION, f"{why}, and no upcaster is used inside of {map_name}")
    return incompatibility_of(task, call)


def incompatibility_of(task: Any, call: Call) -> Incompatibility | None:
    """Why *task* cannot take *call*; None if it can."""
    signature = kept_signature_of(task)
    current = signature.version
    if call.version > current:
        return Incompatibility(
            IncompatibilityKind.VERSION,
            f"it is of version {call.version}, and the code here supports {task.name} up to version {current}",
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
