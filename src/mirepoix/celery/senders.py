"""Find out whether user code takes part when the app sends a task.

Such code is a receiver of a publish signal, a router that is a function, or a replaced method of Celery. It can read
what the running task has set: a tenant, a trace, a language. Then the links and chords of that task must be sent while
it runs.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import celery
from celery import signals
from celery.app.routes import MapRoute
from celery.utils.functional import maybe_evaluate

_SIGNALS = (signals.before_task_publish, signals.after_task_publish)
_OF_TASK = ("apply_async", "delay", "signature", "shadow_name")
_OF_APP = ("send_task",)
_OF_AMQP = ("send_task_message", "create_task_message", "_create_task_sender", "as_task_v2")
_KNOWN = (str(Path(celery.__file__).parent), str(Path(__file__).parents[1]))

Places = dict[str, list[Mapping[str, Any]]]
"""The namespaces that may define a method, by the name of the method."""


def is_read_by_senders(app: Any) -> bool:
    """Whether user code takes part when *app* sends a task. Mirepoix must be installed on *app*."""
    return bool(app.mirepoix.senders.are_foreign())


class Senders:
    """All code that takes part when *app* sends a task. It is checked for each member of a chord.

    Receivers, routes, tasks and methods can change at any time: instrumentation is often installed by a worker's
    signal. So the answer is not cached. Only the places to check are: the live namespaces of the app, of its tasks and
    of their classes. They are found again when a task is registered or the app gets another AMQP. A class that gets
    other bases is not noticed.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._found: tuple[list[Any], Any, Places] = ([], None, {})
        """The tasks, the AMQP, and the places that were found for both."""

    def are_foreign(self) -> bool:
        """Whether some of this code is neither Celery's nor ours."""
        app = self._app
        return (
            any(signal.receivers for signal in _SIGNALS)
            or any(not isinstance(maybe_evaluate(route), MapRoute) for route in app.amqp.routes or ())
            or not all(map(_is_known, self._methods()))
        )

    def _methods(self) -> Iterator[Any]:
        tasks, amqp = list(self._app.tasks.values()), self._app.amqp
        known, of, places = self._found
        if known != tasks or of is not amqp:
            places = self._look(tasks, amqp)
            self._found = tasks, amqp, places
        for name, namespaces in places.items():
            yield from [namespace[name] for namespace in namespaces if name in namespace]

    def _look(self, tasks: list[Any], amqp: Any) -> Places:
        of_tasks = [*map(vars, tasks), *map(vars, {cls for task in tasks for cls in type(task).__mro__})]
        of_app = [vars(self._app), *map(vars, type(self._app).__mro__)]
        of_amqp = [vars(cls) for cls in type(amqp).__mro__]
        return {
            **dict.fromkeys(_OF_TASK, of_tasks),
            **dict.fromkeys(_OF_APP, of_app),
            **dict.fromkeys(_OF_AMQP, of_amqp),
        }


def _is_known(found: Any) -> bool:
    function = getattr(found, "fget", None) or getattr(found, "func", None) or found  # it may be a property
    return isinstance(function, types.FunctionType) and function.__code__.co_filename.startswith(_KNOWN)
