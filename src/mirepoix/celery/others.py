"""Find other Celery apps in this process without Mirepoix. The tasks that they send never reach the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from celery.local import PromiseProxy, Proxy

from mirepoix.celery import private

NAMED = 3
"""How many tasks a message names. It counts the rest."""


@dataclass(frozen=True, slots=True)
class OtherApp:
    """An app that sends tasks to a broker of its own."""

    name: str
    own_tasks: tuple[str, ...]
    """The tasks that were declared on it."""
    shared_tasks: tuple[str, ...]
    """The tasks of ``@shared_task``, if this app is the one that sends them."""


def others(app: Any) -> list[OtherApp]:
    """The other apps that would send tasks of this process, sorted by name.

    Celery sends a task of ``@shared_task`` by the thread's current app, which is the app that the thread made last.
    Without a current app it uses the default app, in Django the first that was made. This imports no module. It finds
    an app or a task only after its module was imported.
    """
    senders = {id(sender) for sender in (private.current_app_of_thread(), private.default_app()) if sender is not None}
    ours = _registered(app)
    found = []
    for other in sorted(private.active_apps(), key=lambda active: str(active.main)):
        if other is app or getattr(other, "mirepoix", None) is not None:
            continue
        own, shared = set(), set()
        for name, task in _registered(other).items():
            declared = _declared(task)
            if declared is None:
                own |= {name} - ours.keys()
            elif _is_shared(declared):
                shared.add(name)
            elif declared.app is other:
                own.add(name)
        if id(other) not in senders:
            shared.clear()
        if own or shared:
            found.append(OtherApp(str(other.main), tuple(sorted(own)), tuple(sorted(shared))))
    return found


def named(tasks: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(tasks)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _registered(app: Any) -> dict[str, Any]:
    """The app's tasks by name, without Celery's and ours."""
    # If only its author may finalize the app, use its registry without the lazy tasks.
    registry = app.tasks if app.finalized or app.autofinalize else private.unfinalized_tasks(app)
    return {name: task for name, task in tuple(registry.items()) if not name.startswith(("celery.", "mirepoix."))}


def _declared(task: Any) -> Any:
    """The object in the task's module that has its name; None if that is no task.

    Every app has a copy of every shared task. The object in the module is what callers use, so it shows on which app
    the task was declared.
    """
    module = sys.modules.get(type(task).__module__)
    declared = None if module is None else vars(module).get(type(task).__name__)
    return declared if _is_shared(declared) or getattr(declared, "name", None) == task.name else None


def _is_shared(declared: Any) -> bool:
    """Whether ``@shared_task`` made it: a proxy for the task of the current app."""
    return issubclass(type(declared), Proxy) and not issubclass(type(declared), PromiseProxy)
