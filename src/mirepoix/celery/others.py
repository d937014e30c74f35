"""Other Celery apps of this process, on which Mirepoix is not installed: what they send goes past the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from celery import _state
from celery.local import PromiseProxy, Proxy

NAMED = 3
"""A message names so many tasks, and counts the rest."""


@dataclass(frozen=True, slots=True)
class OtherApp:
    """An app that sends tasks to a broker of its own."""

    name: str
    own_tasks: tuple[str, ...]
    """What was declared on it."""
    shared_tasks: tuple[str, ...]
    """What ``@shared_task`` declares, if this app is the one that sends it."""


def others(app: Any) -> list[OtherApp]:
    """Those that would send some of the tasks that were declared here, by their names.

    Celery sends a task of ``@shared_task`` by the thread's current app, which is the app that the thread made last.
    Where there is none, it is the default app, in Django the first that was made. Imports no module: an app is not
    seen before its module was imported, nor is a task.
    """
    senders = {id(sender) for sender in (_state._tls.current_app, _state.default_app) if sender is not None}  # noqa: SLF001
    ours = _registered(app)
    found = []
    for other in sorted(_state._get_active_apps(), key=lambda one: str(one.main)):  # noqa: SLF001
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
    """Some of the names, and how many more there are."""
    names = list(tasks)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _registered(app: Any) -> dict[str, Any]:
    """The app's tasks by their names, but for Celery's own and ours."""
    # Its registry without its lazy tasks, if it must not be finalized by anybody but its author.
    registry = app.tasks if app.finalized or app.autofinalize else app._tasks  # noqa: SLF001
    return {name: task for name, task in tuple(registry.items()) if not name.startswith(("celery.", "mirepoix."))}


def _declared(task: Any) -> Any:
    """What the task's module calls by its name; None if that is no task.

    Every app has every task, whichever app it was declared on. What its callers call is bound to that one.
    """
    module = sys.modules.get(type(task).__module__)
    declared = None if module is None else vars(module).get(type(task).__name__)
    return declared if _is_shared(declared) or getattr(declared, "name", None) == task.name else None


def _is_shared(declared: Any) -> bool:
    """Whether it is what ``@shared_task`` makes: the task of whichever app is the current one."""
    return issubclass(type(declared), Proxy) and not issubclass(type(declared), PromiseProxy)
