"""The signatures of an app's own tasks, as a worker binds payloads to them."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mirepoix.celery import coroutines, private
from mirepoix.signatures.signature import Signature, signature_of

_KEPT = "_mirepoix_signature"
_NOT_THE_USERS = ("celery.", "mirepoix.")


@dataclass(frozen=True, slots=True)
class TaskFunction:
    """The function that a task's author wrote.

    ``has_self``: its first parameter is the task itself, which no payload gives. ``is_validated``: Celery wraps it,
    since the task has ``pydantic=True``.
    """

    function: Callable[..., Any]
    has_self: bool = False
    is_validated: bool = False


def signatures_of(app: Any) -> dict[str, Signature]:
    """The signatures of the app's tasks by name, without those that Celery and Mirepoix bring.

    The modules of the tasks are imported as a worker imports them; whatever that raises is raised.
    """
    app.loader.import_default_modules()
    own = (task for name, task in app.tasks.items() if not name.startswith(_NOT_THE_USERS))
    return {task.name: signature_of_task(task) for task in own}


def signature_of_task(task: Any) -> Signature:
    """What a payload of *task* is bound to.

    That is the function as it will be called: a decorator's ``*args, **kwargs`` hides what it wraps, unless it says
    otherwise by ``__signature__``. Only with ``pydantic=True`` does Celery look behind it. A positional-only parameter
    is one, although Celery's own check at the caller takes it by keyword as well.

    The version, aliases and upcasters are read from the task: ``version``, ``aliases`` and ``upcasters``.
    """
    return signature_of(
        task.name,
        inspected(function_of(task)),
        version=version_of(task),
        aliases=aliases_of(task),
        upcasts=[one for one in getattr(task, "upcasters", None) or () if type(one) is int],
    )


def kept_signature_of(task: Any) -> Signature:
    """The same, found out once: nothing of a task changes later but its upcasters (see `forget_signature`)."""
    kept: dict[str, Any] = vars(task)
    if _KEPT not in kept:
        kept[_KEPT] = signature_of_task(task)
    signature: Signature = kept[_KEPT]
    return signature


def forget_signature(task: Any) -> None:
    """It has another upcaster now."""
    vars(task).pop(_KEPT, None)


def version_of(task: Any) -> int:
    """The version that *task* was declared with. A base class of the user's may mean something else by that name."""
    version = getattr(task, "version", 1)
    return version if type(version) is int and version > 0 else 1


def aliases_of(task: Any) -> list[str]:
    """The other names under which *task* takes payloads."""
    aliases = getattr(task, "aliases", ())
    return [one for one in aliases if isinstance(one, str)] if isinstance(aliases, (list, tuple, set)) else []


def function_of(task: Any) -> TaskFunction:
    """The function that the task's author wrote: without what Celery, or Mirepoix, has put in front of it."""
    run = coroutines.driven(vars(task).get(private.ORIGINAL_RUN) or task.run)
    validated = private.validated_function(run)
    if validated is None:
        return TaskFunction(run)
    return TaskFunction(coroutines.driven(validated.cell_contents), inspect.ismethod(run), is_validated=True)


def inspected(found: TaskFunction) -> inspect.Signature:
    """What Python says of the function, without the task itself as a parameter."""
    options: dict[str, Any] = {"follow_wrapped": found.is_validated}
    if sys.version_info >= (3, 14):
        # Evaluates no annotation: what is imported for type checkers only is not there.
        options["annotation_format"] = importlib.import_module("annotationlib").Format.STRING
    try:
        signature = inspect.signature(found.function, **options)
    except (TypeError, ValueError):  # written in C
        return inspect.Signature(
            [
                inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
                inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
            ]
        )
    parameters = list(signature.parameters.values())
    is_taken = parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    return signature.replace(parameters=parameters[1:]) if found.has_self and is_taken else signature
