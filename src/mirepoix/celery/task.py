"""Make a task's class ours: its tracer runs behind the lease, its request reports to the ledger."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery.exceptions import Retry
from celery.utils.imports import symbol_by_name

from mirepoix.celery import context, coroutines, gathering, private, retries, transactional, upcast
from mirepoix.celery.backend import LedgerBackend
from mirepoix.celery.signatures import aliases_of, version_of
from mirepoix.errors import ConfigurationError


class LedgerTask:
    """Mixed into the class of every task of the app, in front of the user's own."""

    @property
    def Request(self) -> Any:  # noqa: N802 (Celery's name for it)
        """The class of the task's requests in a worker: ours, behind the one that its author chose."""
        from mirepoix.celery.request import reporting  # brings all of the worker, which clients do without

        return reporting(symbol_by_name(self.__dict__.get("_mirepoix_request") or super().Request))  # type: ignore[misc]

    @Request.setter
    def Request(self, chosen: Any) -> None:  # noqa: N802
        self.__dict__["_mirepoix_request"] = chosen

    @property
    def backend(self) -> Any:
        """Celery's; one that is not the ledger's hears of a transactional task's success after the COMMIT."""
        backend = super().backend  # type: ignore[misc]
        attempt = context.current()
        if attempt is None or attempt.transaction is None or isinstance(backend, LedgerBackend):
            return backend
        from mirepoix.celery.unit_of_work import Committing  # runs tasks, which clients do without

        return Committing(backend, attempt, self.app.mirepoix)  # type: ignore[attr-defined]

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._backend = backend

    @property
    def __trace__(self) -> Any:
        return self.__dict__.get("_mirepoix_trace")

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        # Whoever builds the tracer (the consumer, a pool process, trace_task) gets it wrapped: one seam for all pools.
        if tracer is not None:
            from mirepoix.celery.tracing import guarded  # runs tasks, which clients do without

            tracer = guarded(self, tracer)
        self.__dict__["_mirepoix_trace"] = tracer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the user's code: what it sends by itself does not wait for the attempt's outcome."""
        try:
            with gathering.watched(), retries.trying(self):
                if getattr(self, "transactional", False):  # @app.task(transactional=True)
                    from mirepoix.celery import unit_of_work  # runs tasks, which clients do without

                    return unit_of_work.run(self, lambda: super(LedgerTask, self).__call__(*args, **kwargs))  # type: ignore[misc]
                with context.user_code():
                    return super().__call__(*args, **kwargs)  # type: ignore[misc]
        finally:
            context.has_run()

    def start_strategy(self, app: Any, consumer: Any, **kwargs: Any) -> Any:
        """Celery's; one that gathers calls is told of by the pool that it sees."""
        if gathering.is_gathering(self):
            consumer = gathering.GatheringConsumer(consumer, app.mirepoix.worker.gathered)
        return super().start_strategy(app, consumer, **kwargs)  # type: ignore[misc]

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Celery's; what another release may have written is not held against this one's signature.

        What follows from a payload (a link, the rest of a chain, the body of a chord) has the arguments and the version
        of its writer. An error here would fail the task in front of it; whoever receives it binds it, or parks it.
        """
        if not context.is_continuing():
            return super().apply_async(*args, **kwargs)  # type: ignore[misc]
        unchecked = object.__new__(type(self))
        unchecked.__dict__.update(self.__dict__, typing=False)
        return super(LedgerTask, unchecked).apply_async(*args, **kwargs)  # type: ignore[misc]

    def upcast(self, *, from_version: int) -> Any:
        """Decorate the function that turns the arguments of that version into those of the next.

        It takes what the task took then, and returns a mapping of keyword arguments, or a pair of positional and
        keyword arguments. Raises ConfigurationError for a version that is not below the task's ``version``.
        """
        return upcast.register(self, from_version)

    @property
    def upcasters(self) -> Any:
        """The functions that `upcast` decorated, by version."""
        return upcast.upcasters_of(self)

    def retry(self, args: Any = None, kwargs: Any = None, exc: Any = None, *more: Any, **options: Any) -> Any:
        """Celery's retry; what it sends is committed with the attempt's outcome."""
        with context.outcome_code(), retries.decided_by_celery():
            try:
                asked = super().retry(args, kwargs, exc, *more, **options)  # type: ignore[misc]
            except Retry as error:
                _keep_cause(error, exc)
                raise
            return _keep_cause(asked, exc)

    def replace(self, *args: Any, **kwargs: Any) -> Any:
        """Celery's replace; what it sends is committed with the attempt's outcome."""
        with context.outcome_code():
            return super().replace(*args, **kwargs)  # type: ignore[misc]


def adopt(task: Any) -> None:
    """Make *task* one of ours, whatever class its author gave it. Does nothing the second time."""
    if not issubclass(type(task), LedgerTask):
        private.subclass_task(task, _with_ours)
    coroutines.adapt(task)
    transactional.check(task)
    upcast.check(task)
    retries.check(task)
    gathering.check(task)


def _with_ours(cls: type) -> type:
    return type(cls.__name__, (LedgerTask, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def adopting(registry_class: type) -> type:
    """*registry_class* (of the app's tasks) with every task that is registered, now or later, made one of ours."""

    class AdoptingRegistry(registry_class):  # type: ignore[misc]
        def __setitem__(self, name: str, task: Any) -> None:
            adopt(task)
            super().__setitem__(name, task)
            self._know(task)

        @cached_property
        def versions(self) -> dict[str, int]:
            """The versions of those tasks that have another than the first."""
            return {task.name: version_of(task) for task in self.values() if version_of(task) != 1}

        @cached_property
        def aliases(self) -> dict[str, str]:
            """The names of tasks by their aliases."""
            return {alias: task.name for task in self.values() for alias in aliases_of(task)}

        def _know(self, task: Any) -> None:
            if version_of(task) != 1:
                self.versions[task.name] = version_of(task)
            for alias in aliases_of(task):
                other = self.aliases.setdefault(alias, task.name)
                if other != task.name:
                    raise ConfigurationError(f"The tasks {other} and {task.name} have the same alias {alias!r}.")

    return AdoptingRegistry


def _keep_cause(asked: Any, exc: Any) -> Any:
    """Keep on a Retry the exception that it was asked for. Celery does so only with what can be pickled."""
    if isinstance(asked, Retry) and isinstance(exc, BaseException):
        asked.__dict__["_mirepoix_cause"] = exc  # which a pickled Retry leaves behind
    return asked
