"""Find out which tasks are an ``async def``, and let tracers call them: `mirepoix.celery.coroutines` then runs them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from mirepoix.celery import private
from mirepoix.errors import ConfigurationError

_CALLERS = ("celery.map", "celery.starmap")
"""Celery's own tasks that call other tasks as functions. chunks() makes starmaps."""

IS_COROUTINE = "_mirepoix_coroutine"
"""The attribute of a task that says whether it is an ``async def``, once `adapt` has looked."""

_DRIVES = "_mirepoix_drives"

_is_called_by_celery: ContextVar[bool] = ContextVar("mirepoix_called_by_celery", default=False)


def adapt(task: Any) -> None:
    """Let tracers run *task* if it is an ``async def``. Does nothing to other tasks, or when it is called again.

    Raises ConfigurationError for an asynchronous generator.
    """
    if IS_COROUTINE in vars(task):
        return
    if task.name in _CALLERS:
        private.replace_run(task, "run", _driving(task.run))
        vars(task)[IS_COROUTINE] = False
        return
    # autoretry_for has wrapped `run` already.
    name = private.ORIGINAL_RUN if private.ORIGINAL_RUN in vars(task) else "run"
    run = getattr(task, name)
    validated = private.validated_function(run)
    function = validated.cell_contents if validated else run
    if inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"The task {task.name} is an asynchronous generator (async def with yield), but a task returns one value. "
            "Collect what it yields, or send a task for each value."
        )
    if not inspect.iscoroutinefunction(inspect.unwrap(function)):
        return
    if validated:  # the wrapper also validates the returned value, so the coroutine has to end inside it
        validated.cell_contents = driver(task, function)
    else:
        private.replace_run(task, name, driver(task, function))
    vars(task)[IS_COROUTINE] = True


def driver(task: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap *function* of *task*, so that its coroutine runs to the end when a tracer calls it."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        if not inspect.iscoroutine(made) or (task.request.called_directly and not _is_called_by_celery.get()):
            return made
        from mirepoix.celery.coroutines import drive

        return drive(task, made)

    vars(run)[_DRIVES] = function
    return run


def driven(run: Callable[..., Any]) -> Callable[..., Any]:
    """The function for which `driver` made *run*; *run* itself if it did not."""
    return getattr(run, _DRIVES, run)


def _driving(run: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap *run* of one of Celery's own tasks, so that the coroutines of the tasks that it calls run to their end."""

    @functools.wraps(run)
    def calling(*args: Any, **kwargs: Any) -> Any:
        token = _is_called_by_celery.set(True)
        try:
            return run(*args, **kwargs)
        finally:
            _is_called_by_celery.reset(token)

    return calling


def is_coroutine(task: Any) -> bool:
    """Whether the code of *task* is an ``async def``. False if *task* is None."""
    return task is not None and bool(vars(task).get(IS_COROUTINE))
