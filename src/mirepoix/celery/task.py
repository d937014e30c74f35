"""Make each task one of ours: its tracer runs under the lease, and its request reports to the ledger."""

from __future__ import annotations

from functools import cached_property
from types import GenericAlias
from typing import Any

from celery.exceptions import Retry
from celery.utils.imports import symbol_by_name

from mirepoix.celery import async_def, context, gathering, private, retries, transactional, upcast
from mirepoix.celery.backend import LedgerBackend
from mirepoix.celery.signatures import aliases_of, version_of
from mirepoix.errors import ConfigurationError


class LedgerTask:
    """A mixin of every task's class in the app, before the class that the user chose."""

    __class_getitem__: Any = classmethod(GenericAlias)  # mirepoix.Task[[int], str]

    @property
    def Request(self) -> Any:  # noqa: N802 (Celery's name for it)
        """The class of the task's requests in a worker: the class that its author chose, with ours as its base."""
        from mirepoix.celery.request import reporting  # imports the whole worker, which clients do not need

        return reporting(symbol_by_name(self.__dict__.get("_mirepoix_request") or super().Request))  # type: ignore[misc]

    @Request.setter
    def Request(self, chosen: Any) -> None:  # noqa: N802
        self.__dict__["_mirepoix_request"] = chosen

    @property
    def backend(self) -> Any:
        """The task's result backend. If it is not ours, it receives a transactional task's success after the COMMIT."""
        backend = super().backend  # type: ignore[misc]
        attempt = context.current()
        if attempt is None or attempt.transaction is None or isinstance(backend, LedgerBackend):
            return backend
        from mirepoix.celery.unit_of_work import Committing  # only processes that run tasks need it

        return Committing(backend, attempt, self.app.mirepoix)  # type: ignore[attr-defined]

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._backend = backend

    @property
    def __trace__(self) -> Any:
        return self.__dict__.get("_mirepoix_trace")

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        # The consumer, a pool process and trace_task build a tracer and set it here, so each of them gets it wrapped.
        if tracer is not None:
            from mirepoix.celery.tracing import guarded  # only processes that run tasks need it

            tracer = guarded(self, tracer)
        self.__dict__["_mirepoix_trace"] = tracer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the user's code. What it sends does not wait for the attempt's outcome."""
        try:
            with gathering.watched(), retries.trying(self):
                if getattr(self, "transactional", False):  # @app.task(transactional=True)
                    from mirepoix.celery import unit_of_work  # only processes that run tasks need it

                    return unit_of_work.run(self, lambda: super(LedgerTask, self).__call__(*args, **kwargs))  # type: ignore[misc]
                with context.user_code():
                    return super().__call__(*args, **kwargs)  # type: ignore[misc]
        finally:
            context.has_run()

    def start_strategy(self, app: Any, consumer: Any, **kwargs: Any) -> Any:
        """Start Celery's strategy. A strategy that gathers calls gets a pool that records their outcomes."""
        if gathering.is_gathering(self):
            consumer = gathering.GatheringConsumer(consumer, app.mirepoix.worker.gathered)
        return super().start_strategy(app, consumer, **kwargs)  # type: ignore[misc]

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Send as Celery does, but a unique task once, and without a check what another release may have written.

        A link, the rest of a chain and the body of a chord have the arguments and the version of the release that wrote
        them. An error here would fail the task before them. The worker that receives the message binds or parks it.
        """
        given = kwargs.pop("unique", getattr(self, "unique", None))
        if given:
            from mirepoix.celery import unique  # only programs with unique tasks need it

            policy = unique.policy_of(given, self.name)  # type: ignore[attr-defined]
            if policy is not None and unique.applies(self, kwargs):
                return unique.send_call(self, policy, super().apply_async, *args, **kwargs)  # type: ignore[misc]
        if not context.is_continuing():
            return super().apply_async(*args, **kwargs)  # type: ignore[misc]
        unchecked = object.__new__(type(self))
        unchecked.__dict__.update(self.__dict__, typing=False)
        return super(LedgerTask, unchecked).apply_async(*args, **kwargs)  # type: ignore[misc]

    def upcast(self, *, from_version: int) -> Any:
        """Decorate the function that turns the arguments of *from_version* into those of the next version.

        It has the signature that the task had then. It returns a mapping of keyword arguments, or a pair of positional
        and keyword arguments. Raises ConfigurationError for a version that is not below the task's ``version``.
        """
        return upcast.register(self, from_version)

    @property
    def upcasters(self) -> Any:
        """The functions that `upcast` decorated, by version."""
        return upcast.upcasters_of(self)

    def retry(self, args: Any = None, kwargs: Any = None, exc: Any = None, *more: Any, **options: Any) -> Any:
        """Retry as Celery does. What this sends is committed with the attempt's outcome."""
        with context.outcome_code(), retries.decided_by_celery():
            try:
                asked = super().retry(args, kwargs, exc, *more, **options)  # type: ignore[misc]
            except Retry as error:
                _keep_cause(error, exc)
                raise
            return _keep_cause(asked, exc)

    def replace(self, *args: Any, **kwargs: Any) -> Any:
        """Replace as Celery does. What this sends is committed with the attempt's outcome."""
        with context.outcome_code():
            return super().replace(*args, **kwargs)  # type: ignore[misc]


def adopt(task: Any) -> None:
    """Add `LedgerTask` to the class of *task*, and check its options. Does nothing if it is called again."""
    if not issubclass(type(task), LedgerTask):
        private.subclass_task(task, _with_ours)
    async_def.adapt(task)
    transactional.check(task)
    upcast.check(task)
    retries.check(task)
    if getattr(task, "unique", None):
        from mirepoix.celery import unique  # only programs with unique tasks need it

        unique.check(task)
    if getattr(task, "limit", None) is not None:
        from mirepoix.celery import limits  # only programs with limits need it

        limits.check(task)
    gathering.check(task)


def _with_ours(cls: type) -> type:
    return type(cls.__name__, (LedgerTask, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def adopting(registry_class: type) -> type:
    """A subclass of *registry_class*, the registry of the app's tasks, that adopts every task when it is registered."""

    class AdoptingRegistry(registry_class):  # type: ignore[misc]
        def __setitem__(self, name: str, task: Any) -> None:
            adopt(task)
            super().__setitem__(name, task)
            self._index(task)

        @cached_property
        def versions(self) -> dict[str, int]:
            """The versions of the tasks whose version is not 1, by name."""
            return {task.name: version_of(task) for task in self.values() if version_of(task) != 1}

        @cached_property
        def limits(self) -> set[str]:
            """The names of the tasks with a limit."""
            return {task.name for task in self.values() if getattr(task, "limit", None) is not None}

        @cached_property
        def aliases(self) -> dict[str, str]:
            """The names of tasks by their aliases."""
            return {alias: task.name for task in self.values() for alias in aliases_of(task)}

        def _index(self, task: Any) -> None:
            if version_of(task) != 1:
                self.versions[task.name] = version_of(task)
            if getattr(task, "limit", None) is not None:
                self.limits.add(task.name)
            for alias in aliases_of(task):
                other = self.aliases.setdefault(alias, task.name)
                if other != task.name:
                    raise ConfigurationError(f"The tasks {other} and {task.name} have the same alias {alias!r}.")

    return AdoptingRegistry


def _keep_cause(asked: Any, exc: Any) -> Any:
    """Store the cause of a Retry on it. Celery does so only if the exception can be pickled."""
    if isinstance(asked, Retry) and isinstance(exc, BaseException):
        asked.__dict__["_mirepoix_cause"] = exc  # a pickled Retry does not contain it
    return asked
