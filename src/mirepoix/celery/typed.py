"""Types of an app's tasks: with `typed`, a type checker knows the parameters and the result of each task.

Only type checkers read these types. They need the package ``celery-types``, and no plugin. When the program runs,
`typed` returns its argument, and `Task` is a base class of every task of an app that Mirepoix is installed on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Upcaster = TypeVar("Upcaster", bound=Callable[..., Mapping[str, Any] | tuple[Sequence[Any], Mapping[str, Any]]])

if TYPE_CHECKING:
    from celery import Celery
    from celery.app.task import Task as CeleryTask

    class Task(CeleryTask[P, R_co]):  # type: ignore[misc]
        """A task. *P* are its parameters without ``self``, and *R_co* is what it returns.

        A call, ``delay`` and ``si`` check the arguments. ``apply_async`` checks the options and not the arguments: they
        are in a tuple and a dict, which no type compares with *P*.
        """

        def upcast(self, *, from_version: int) -> Callable[[Upcaster], Upcaster]: ...
        @property
        def upcasters(self) -> Mapping[int, Callable[..., Any]]: ...

    class TypedApp(Celery):  # type: ignore[misc]
        """A Celery app with tasks that have the types of their functions."""

        task: TaskDecorator

else:
    from mirepoix.celery.task import LedgerTask as Task


class TaskDecorator(Protocol):
    """What ``app.task`` and ``shared_task`` are, with the types of the decorated function kept."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, /, *, bind: Literal[True], **options: Any) -> BoundDecorator: ...
    @overload
    def __call__(self, /, *, bind: Literal[False] = ..., **options: Any) -> Decorator: ...


class Decorator(Protocol):
    """What ``app.task(...)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class BoundDecorator(Protocol):
    """What ``app.task(bind=True, ...)`` returns. The first parameter of the function is the task itself."""

    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...


@overload
def typed(given: Celery, /) -> TypedApp: ...
@overload
def typed(given: Callable[..., Any], /) -> TaskDecorator: ...  # type: ignore[overload-cannot-match]
def typed(given: Any, /) -> Any:
    """Return *given*, a Celery app or Celery's ``shared_task``, with types that keep those of each task's function.

    ``delay()`` then rejects wrong arguments, ``get()`` has the type of the result, and ``task.upcast`` is known. The
    result of an ``async def`` is what it returns when it is awaited.
    """
    return given
