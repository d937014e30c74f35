"""Check the types of a call's arguments where it is made: a mistake surfaces there, with the parameter's name.

What a task's annotations ask for is found out once a task, and then kept by it. With ``pydantic=True`` a parameter that
is a model is validated by that model, just as Celery will do it in the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mirepoix.celery.signatures import function_of, inspected
from mirepoix.errors import ArgumentTypeError
from mirepoix.signatures.hints import Hint, Mistype, hints_of, mistypes, resolved_annotations

logger = logging.getLogger("mirepoix.enqueue")

Checker = Callable[[Sequence[Any], Mapping[str, Any]], list[Mistype]]
"""From the arguments of a call to those that are of another type than they should be."""

_KEPT = "_mirepoix_types"
_TOLD = "_mirepoix_mistypes_told"

TOLD_MOST = 100
"""Of one task so many different mistakes are logged."""


def mistypes_of(task: Any, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> list[Mistype]:
    """The arguments that are of another type than *task* asks for, each with its parameter; empty if there are none.

    It never raises for what annotations or arguments hold, and never says a value. What cannot be told is passed over:
    see `mirepoix.signatures.checks`. Whether the arguments can be bound at all is no concern of it.
    """
    kept = vars(task)
    if _KEPT not in kept:
        kept[_KEPT] = checker_of(task)
    checker = kept[_KEPT]
    return [] if checker is None else checker(args or (), kwargs or {})


def check(task: Any, args: Any, kwargs: Any, default: str) -> None:
    """Look at a call that is about to be sent, as the task's own ``check_types`` says, or else *default*.

    Raises ArgumentTypeError if that is "raise"; "warn" logs each parameter and type once in this process.
    """
    how = getattr(task, "check_types", None) or default
    if how == "off":
        return
    found = mistypes_of(task, args, kwargs)
    if not found:
        return
    if how == "raise":
        raise ArgumentTypeError(task.name, found)
    told: set[Mistype] = vars(task).setdefault(_TOLD, set())
    for one in found:
        if one not in told and len(told) < TOLD_MOST:
            told.add(one)
            logger.warning(
                "%s is called with an argument of the wrong type: %s (said once; check_types='raise' refuses it)",
                task.name,
                one,
            )


def checker_of(task: Any) -> Checker | None:
    """The check for the calls of *task*; None if there is nothing to check: no annotation that is understood."""
    found = function_of(task)
    signature = inspected(found)
    models: dict[str, Hint] = {}
    if found.validator is not None:
        from mirepoix.celery.pydantic import model_hints  # the task uses it, so it is there

        models = model_hints(found.validator, signature)
    hints = hints_of(signature, resolved_annotations(found.function), models)
    if hints is None:
        return None
    return lambda args, kwargs: mistypes(hints, args, kwargs)
