"""What we take from inside Celery and billiard: each private attribute, replaced method and patched class, and why.

Celery promises none of it, so nothing else in Mirepoix names it. `tests/celery/test_private.py` asserts on every
promised Celery that all of it exists and has the parameters that we use. The same test lists the methods that our
subclasses override and the attributes that they inherit. `delivery/private.py` is the list for kombu, and
`connect/private.py` the list for the database drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from celery import _state
from celery.utils import threads
from celery.utils.functional import _regen

from mirepoix.errors import ConfigurationError

identity_of_thread: Callable[[], object] = threads.get_ident
"""What identifies Celery's stacks of current tasks and requests: the greenlet, or the thread."""

# ---- the apps of this process


def active_apps() -> list[Any]:
    """Every app of this process. Celery has no public list of them."""
    return list(_state._get_active_apps())


def current_app_of_thread() -> Any:
    """The app by which ``@shared_task`` sends in this thread, or None. Celery's ``current_app`` would make an app."""
    return _state._tls.current_app


def default_app() -> Any:
    """The app by which ``@shared_task`` sends if the thread has none, or None. Celery's public API would make one."""
    return _state.default_app


def on_each_app(install: Callable[[Any], None]) -> None:
    """Call *install* with each app of this process when it is finalized. A public signal of Celery is of one app."""
    _state.connect_on_app_finalize(install)


# ---- one app


def unfinalized_tasks(app: Any) -> MutableMapping[str, Any]:
    """The registry without lazy tasks. Celery's ``app.tasks`` finalizes the app, and only its author may do that."""
    registry: MutableMapping[str, Any] = app._tasks
    return registry


def subclass_registry(app: Any, subclass: Callable[[type], type]) -> None:
    """Patch the class of the registry: a task may be registered long after the app was finalized."""
    registry = app._tasks
    registry.__class__ = subclass(type(registry))


def subclass_configuration(conf: Any, members: Mapping[str, Any]) -> None:
    """Patch the class of the configuration: Celery reads some settings as properties of it, before any setting."""
    cls = type(conf)
    object.__setattr__(conf, "__class__", type(cls.__name__, (cls,), dict(members)))  # it takes attributes for settings


def forget_made(app: Any, *names: str) -> None:
    """Drop objects that the app has made and caches. Their next use makes them again, from the classes set since."""
    for name in names:
        app.__dict__.pop(name, None)


def replace_producer_or_acquire(app: Any, replacement: Callable[..., Any]) -> None:
    """Replace ``app.producer_or_acquire``, which every send of Celery opens: it would connect to the broker."""
    app.producer_or_acquire = replacement


def replace_send_task(app: Any, replacement: Callable[..., Any]) -> None:
    """Replace ``app.send_task``: a task's id may be a UUID, and options are checked before Celery reads them."""
    app.send_task = replacement


# ---- a worker


def before_pool_starts(worker: Any, act: Callable[[], None]) -> None:
    """Replace ``worker.pool.start``, once: Celery sends no signal between making a pool and its first fork."""
    start = worker.pool.start

    def act_and_start() -> None:
        worker.pool.start = start
        act()
        start()

    worker.pool.start = act_and_start


def before_soft_shutdown(worker: Any, act: Callable[[], None]) -> None:
    """Replace ``worker.wait_for_soft_shutdown``: it waits in the handler of the signal, before Celery's own signal."""
    wait = worker.wait_for_soft_shutdown

    def act_and_wait() -> None:
        act()
        wait()

    worker.wait_for_soft_shutdown = act_and_wait


def after_steps_stopped(worker: Any, act: Callable[[], None]) -> None:
    """Replace ``worker.blueprint.on_stopped``: a cold shutdown sends no signal."""
    stopped = worker.blueprint.on_stopped

    def stop_and_act() -> None:
        if stopped:
            stopped()
        act()

    worker.blueprint.on_stopped = stop_and_act


# `celery.worker.state` is imported where it is used: it imports the whole worker, which clients do not need.


def before_control_commands(names: Iterable[str], act: Callable[[], None]) -> None:
    """Replace remote control commands by ones that call *act* first: they read Celery's state, which is a module."""
    from celery.worker.control import Panel

    def acting(command: Callable[..., Any]) -> Callable[..., Any]:
        def act_and_run(state: Any, *args: Any, **kwargs: Any) -> Any:
            act()
            return command(state, *args, **kwargs)

        return act_and_run

    for name in names:
        if name in Panel.data:
            Panel.data[name] = acting(Panel.data[name])


def before_cancelling(consumer: Any, act: Callable[[], None]) -> None:
    """Replace the consumer's method by which a cold shutdown cancels what runs, once: it reads Celery's state."""
    name = "cancel_active_requests" if hasattr(consumer, "cancel_active_requests") else "cancel_all_unacked_requests"
    if name in vars(consumer):
        return
    cancel = getattr(consumer, name)

    def act_and_cancel() -> None:
        act()
        cancel()

    setattr(consumer, name, act_and_cancel)


def reserved_requests() -> tuple[Any, ...]:
    """The requests that the worker has received and that have not ended. Celery has no other list of them.

    Any thread may ask.
    """
    from celery.worker import state

    while True:
        try:
            return tuple(state.reserved_requests)
        except RuntimeError:  # the loop's thread has changed the set meanwhile
            continue


def has_active_requests() -> bool:
    """Whether a task runs in this worker. Only requests of this process count."""
    from celery.worker import state

    return len(state.active_requests) > 0


def revoked_ids() -> Any:
    """The ids that the worker remembers as revoked. Only the ledger shows which of them were requeued since."""
    from celery.worker import state

    return state.revoked


def is_terminating() -> bool:
    """Whether a cold shutdown is under way. It kills the pool, and then no task is to blame for a death."""
    from celery.worker import state

    return state.should_terminate is not None


def end_worker(exit_code: int) -> None:
    """End the worker as SIGTERM does, with *exit_code*. Celery reads the module's variable in its loop."""
    from celery.worker import state

    state.should_stop = exit_code


# ---- a pool of processes (Celery's AsynPool, on billiard)


def processes_of(pool: Any) -> Any:
    """Billiard's pool, which runs the processes of a worker's *pool*; None if there is none, as before its start."""
    return getattr(pool, "_pool", None)


def pids_of(processes: Any) -> list[int]:
    """The ids of the pool's processes. A process that is starting has no id yet."""
    return [child.pid for child in tuple(processes._pool) if child.pid]


def jobs_of(processes: Any) -> Any:
    """The jobs that were given to the pool and have not ended, by number. In a pool of processes this is a dict."""
    return getattr(processes, "_cache", None)


def is_sent(job: Any) -> bool:
    """Whether the job was sent to a process, which may run it without having reported that."""
    begun: bool | None = getattr(job, "has_begun", None)  # of our own pool
    return getattr(job, "_write_to", None) is not None if begun is None else begun


def is_accepted(job: Any) -> bool:
    """Whether the process has reported that it runs the job."""
    return bool(job._accepted)


def accept(job: Any) -> None:
    """Mark the job as running, so that the pool waits for it. Else a lost connection would make the pool forget it."""
    job._accepted = True


def process_of(job: Any) -> Any:
    """The process that the job was sent to, or will be sent to; None if that is not decided."""
    return job._write_to or job._scheduled_for


def knows_busy(processes: Any) -> bool:
    """Whether the pool has `busy_descriptors`. Threads and greenlets have none."""
    return isinstance(getattr(processes, "_busy_workers", None), set)


def busy_descriptors(processes: Any) -> set[int]:
    """The pool's own set of the processes that run something, by file descriptor.

    Before 5.7 Celery empties it for a lost connection, and sends one of them a second task.
    """
    found: set[int] = processes._busy_workers
    return found


def descriptor_of(process: Any) -> int:
    """The file descriptor by which the pool identifies the process."""
    return int(process.inqW_fd)


def is_alive(process: Any) -> bool:
    """Whether the process lives. The public method asserts that the caller is its parent."""
    return bool(process._is_alive())


def soft_limit_signal() -> int | None:
    """The signal of the soft time limit. While a coroutine runs we handle it: an exception in asyncio would be lost."""
    from billiard.pool import SIG_SOFT_TIMEOUT  # a process that only sends needs no pool

    number: int | None = SIG_SOFT_TIMEOUT
    return number


def raises_soft_limit(handler: Any) -> bool:
    """Whether *handler* is billiard's handler of that signal, which we restore. Our own pool has another."""
    from billiard.pool import soft_timeout_sighandler

    return handler is soft_timeout_sighandler


# ---- tasks and signatures


@contextmanager
def running_as(task: Any, request: Any) -> Iterator[None]:
    """Make *task* the thread's current task, with *request*. What is sent inside the block descends from it."""
    _state._task_stack.push(task)
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()
        _state._task_stack.pop()


def identify_stacks(app: Any, identity: Callable[[], object]) -> None:
    """Patch the stacks of current tasks and requests: Celery has one for each greenlet, and not for each asyncio task.

    It is for one process, and also for tasks that are registered later. Raises ConfigurationError if the environment
    chose stacks of Celery that belong to threads alone.
    """
    if not isinstance(_state._task_stack, threads._LocalStack):
        raise ConfigurationError(
            "The variable USE_FAST_LOCALS is set. Unset it: Celery's fast stacks serve no event loop."
        )
    _state._task_stack.__ident_func__ = identity
    threads.get_ident = identity
    for task in app.tasks.values():
        task.request_stack.__ident_func__ = identity


def replace_run(task: Any, name: str, function: Callable[..., Any]) -> None:
    """Replace ``task.run``, or what `ORIGINAL_RUN` names: Celery's tracer is synchronous and awaits nothing."""
    setattr(task, name, function)


def subclass_task(task: Any, subclass: Callable[[type], type]) -> None:
    """Patch the class of one task: its author chose the class, and ours comes before it."""
    task.__class__ = subclass(type(task))


def own_backend(task: Any) -> Any:
    """The result backend that was set on the task itself, or None. ``task.backend`` would fall back to the app's."""
    return vars(task).get("_backend")


def replace_backend(task: Any, backend: Any) -> None:
    """Set the backend that `own_backend` reads. None means the app's."""
    task._backend = backend


ORIGINAL_RUN = "_orig_run"
"""The attribute of a task in which ``autoretry_for`` stores the author's function."""

KEPT_MAX_RETRIES = "override_max_retries"
"""The attribute of a task in which ``retry(max_retries=...)`` stays after the call."""


def validated_function(run: Any) -> Any:
    """The closure cell with the task's function in Celery's wrapper for ``pydantic=True``; None for any other *run*."""
    wrapper = getattr(run, "__func__", run)
    code = getattr(wrapper, "__code__", None)
    if code is None or wrapper.__globals__.get("__name__") != "celery.app.base" or "task_fun" not in code.co_freevars:
        return None
    return wrapper.__closure__[code.co_freevars.index("task_fun")]


def merged_arguments(signature: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """The arguments of a call of *signature* with *args* and *kwargs*. ``clone()`` would copy the rest too."""
    merged_args, merged_kwargs, _ = signature._merge(args, kwargs)
    return merged_args, merged_kwargs


def is_unread_group(value: Any) -> bool:
    """Whether *value* is a generator of signatures that Celery reads as it sends them."""
    return isinstance(value, _regen)


def custom_names(names: Iterable[str]) -> tuple[str, ...]:
    """Those of a request's *names* that Celery's ``request.headers`` would have. The public way needs their values."""
    from celery.app.task import Context

    return tuple(Context()._get_custom_headers(dict.fromkeys(names)) or ())


def trace_result(info: Any, state: str, error: BaseException) -> Any:
    """What Celery's tracer returns for a task that ended in *state* with *error*. Celery's pools read it."""
    from celery.app.trace import TraceInfo, trace_ok_t  # only processes that run tasks need it

    return trace_ok_t(info, TraceInfo(state, error), 0.0, None)


# ---- results


def keep_result(result: Any, meta: Mapping[str, Any]) -> None:
    """Store in *result* what was read, as Celery's own backends do when they wait."""
    result._maybe_set_cache(meta)


def errback_caller(backend: Any) -> Callable[[Any, Any, Any], None]:
    """Celery's method that calls the error callbacks of a request. It chooses the arguments of each callback."""
    call: Callable[[Any, Any, Any], None] = backend._call_task_errbacks
    return call


def errback_takes_more_than(backend: Any) -> Callable[[Any, int], bool] | None:
    """Celery's function that decides whether an error callback takes more arguments; None before Celery 5.7."""
    found: Callable[[Any, int], bool] | None = getattr(backend, "_errback_arity_greater", None)
    return found


def fails_chains(backend_class: type) -> bool:
    """Whether Celery's backend fails what follows a failed task in a chain with chords (from 5.7 on)."""
    return hasattr(backend_class, "_fail_chain")
