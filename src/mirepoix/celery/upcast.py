"""Upcasters turn the arguments of an old version into those of the code's. ``@task.upcast(from_version=1)`` adds one.

They are stored on the function that the task's author wrote, so every app that has the task has them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mirepoix.celery.signatures import forget_signature, function_of, version_of
from mirepoix.errors import ConfigurationError, UpcastFailed
from mirepoix.signatures.signature import Signature
from mirepoix.signatures.signature import signature_of as _signature_of

Upcaster = Callable[..., Any]

_ATTRIBUTE = "__mirepoix_upcasters__"


def check(task: Any) -> None:
    """Raise ConfigurationError if the task was declared with an invalid version or invalid aliases."""
    version, aliases = getattr(task, "version", 1), getattr(task, "aliases", ())
    if isinstance(version, int) and (isinstance(version, bool) or version < 1):
        raise ConfigurationError(
            f"The version of task {task.name} must be a whole number from 1 on, not {version!r}: @app.task(version=2)."
        )
    if isinstance(aliases, (list, tuple, set)) and not all(isinstance(alias, str) and alias for alias in aliases):
        raise ConfigurationError(
            f"The aliases of task {task.name} must be a list of names, not {aliases!r}: "
            "@app.task(aliases=['shop.old_name'])."
        )


def register(task: Any, from_version: int) -> Callable[[Upcaster], Upcaster]:
    """The decorator of a function that takes the arguments of *from_version*, and returns those of the next version.

    The function returns a mapping of keyword arguments, or a pair of positional and keyword arguments. Raises
    ConfigurationError for a version that is not below the task's own, and for a second upcaster of the same version.
    """
    version = version_of(task)
    if type(from_version) is not int or not 1 <= from_version < version:
        raise ConfigurationError(
            f"{task.name}.upcast(from_version={from_version!r}): the task is of version {version}, so an upcaster is "
            f"from a version of 1 to {version - 1}. Raise the task's first: @app.task(version={version + 1})."
        )

    def decorate(function: Upcaster) -> Upcaster:
        known = _known(task)
        if from_version in known and known[from_version] is not function:
            raise ConfigurationError(f"{task.name} has an upcaster from version {from_version} already.")
        known[from_version] = function
        forget_signature(task)
        return function

    return decorate


def upcasters_of(task: Any) -> Mapping[int, Upcaster]:
    """The upcasters of *task*, by the version that each takes."""
    found: Mapping[int, Upcaster] = getattr(function_of(task).function, _ATTRIBUTE, {})
    return found


def signature_of(task: Any, version: int) -> Signature:
    """The signature of the upcaster of *version*, which is the signature that the task had then."""
    return _signature_of(task.name, inspect.signature(upcasters_of(task)[version]), version=version)


def apply(task: Any, version: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Turn the arguments of *version* into those of the task's own version. Each step must have an upcaster.

    Raises UpcastFailed if an upcaster raises, or does not return arguments.
    """
    found = upcasters_of(task)
    for step in range(version, version_of(task)):
        try:
            returned = found[step](*args, **kwargs)
        except Exception as error:
            raise UpcastFailed(task.name, step, f"{type(error).__name__}: {error}") from error
        args, kwargs = _arguments(task, step, returned)
    return list(args), dict(kwargs)


def _arguments(task: Any, version: int, returned: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if isinstance(returned, Mapping):
        return (), returned
    match returned:
        case (list() | tuple() as args, Mapping() as kwargs):
            return args, kwargs
    raise UpcastFailed(
        task.name,
        version,
        f"it returned {type(returned).__name__}, which is neither a mapping of keyword arguments nor a pair of "
        "positional and keyword arguments",
    )


def _known(task: Any) -> dict[int, Upcaster]:
    function = function_of(task).function
    function = getattr(function, "__func__", function)  # a method shares the attributes of its function
    known: dict[int, Upcaster] = function.__dict__.setdefault(_ATTRIBUTE, {})
    return known
