"""The signatures of an app's own tasks, as a worker binds payloads to them."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mirepoix.celery import async_def, private
from mirepoix.signatures.signature import Signature, signature_of

_KEPT = "_mirepoix_signature"
_NOT_THE_USERS = ("celery.", "mirepoix.")


@dataclass(frozen=True, slots=True)
class TaskFunction:
    """The function that a task's author wrote.

    If ``has_self``, its first parameter is the task itself, and payloads do not contain it. If ``is_validated``, Celery
    wraps the function, since the task has ``pydantic=True``.
    """

    function: Callable[..., Any]
    has_self: bool = False
    is_validated: bool = False


def signatures_of(app: Any) -> dict[str, Signature]:
    """The signatures of the app's tasks by name, without the tasks of Celery and Mirepoix.

    Imports the modules of the tasks as a worker does, and raises what they raise.
    """
    app.loader.import_default_modules()
    own = (task for name, task in app.tasks.items() if not name.startswith(_NOT_THE_USERS))
    return {task.name: signature_of_task(task) for task in own}


def signature_of_task(task: Any) -> Signature:
    """The signature that payloads of *task* are bound to.

    It is the signature of the function that will be called. A decorator with ``*args, **kwargs`` hides the signature of
    the function that it wraps, unless it sets ``__signature__``. Celery reads the wrapped function only for
    ``pydantic=True``. A positional-only parameter stays positional-only, although Celery's check in the caller also
    accepts it by keyword.

    The version, aliases and upcasters are read from the task: ``version``, ``aliases`` and ``upcasters``.
    """
    return signature_of(
        task.name,
        inspected(function_of(task)),
        version=version_of(task),
        aliases=aliases_of(task),
        upcasts=[version for version in getattr(task, "upcasters", None) or () if type(version) is int],
    )


def kept_signature_of(task: Any) -> Signature:
    """The signature of *task*, computed once. Only its upcasters can change later (see `forget_signature`)."""
    kept: dict[str, Any] = vars(task)
    if _KEPT not in kept:
        kept[_KEPT] = signature_of_task(task)
    signature: Signature = kept[_KEPT]
    return signature


def forget_signature(task: Any) -> None:
    """Drop the cached signature: the task has a new upcaster."""
    vars(task).pop(_KEPT, None)


def version_of(task: Any) -> int:
    """The version that *task* was declared with; 1 if its attribute ``version`` is something else."""
    version = getattr(task, "version", 1)
    return version if type(version) is int and version > 0 else 1


def aliases_of(task: Any) -> list[str]:
    """The other names of the payloads that *task* takes."""
    aliases = getattr(task, "aliases", ())
    return [name for name in aliases if isinstance(name, str)] if isinstance(aliases, (list, tuple, set)) else []


def function_of(task: Any) -> TaskFunction:
    """The function that the task's author wrote, without the wrappers of Celery and Mirepoix."""
    run = async_def.driven(vars(task).get(private.ORIGINAL_RUN) or task.run)
    validated = private.validated_function(run)
    if validated is None:
        return TaskFunction(run)
    return TaskFunction(async_def.driven(validated.cell_contents), inspect.ismethod(run), is_validated=True)


def inspected(found: TaskFunction) -> inspect.Signature:
    """Python's signature of the function, without the task itself as a parameter."""
    options: dict[str, Any] = {"follow_wrapped": found.is_validated}
    if sys.version_info >= (3, 14):
        # Evaluate no annotation: names that are imported only for type checkers do not exist.
        options["annotation_format"] = importlib.import_module("annotationlib").Format.STRING
    try:
        signature = inspect.signature(found.function, **options)
    except (TypeError, ValueError):  # the function is written in C
        return inspect.Signature(
            [
                inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
                inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
            ]
        )
    parameters = list(signature.parameters.values())
    is_taken = parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
    return signature.replace(parameters=parameters[1:]) if found.has_self and is_taken else signature
