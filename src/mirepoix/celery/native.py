"""Call a function on another native thread and wait for it, without blocking the greenlets of this thread."""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery.utils.log import get_logger

logger = get_logger("mirepoix.coroutine")

MOST_THREADS = 1000
"""The largest number of gevent's threads. More greenlets than that wait. Threads are made when they are needed, and
reused."""

CLEANUP_S = 10.0
"""How long a greenlet that is killed waits for the function to end."""


def is_green() -> bool:
    """Whether threads are greenlets in this process."""
    return _is_gevent() or _is_eventlet()


def call(function: Callable[[], Any], cancel: Callable[[], None]) -> Any:
    """Return what *function* returns, or raise what it raises. It runs in a copy of this context.

    If the wait is interrupted, this calls *cancel* (here, not in the thread) and waits until *function* has ended. In a
    greenlet it waits for at most `CLEANUP_S`.
    """
    inside = functools.partial(contextvars.copy_context().run, _outcome_of, function)
    if _is_gevent():
        is_ok, outcome = _on_gevent(inside, cancel)
    elif _is_eventlet():
        is_ok, outcome = _on_eventlet(inside, cancel)
    else:
        is_ok, outcome = _on_new_thread(inside, cancel)
    if is_ok:
        return outcome
    raise outcome


def _outcome_of(function: Callable[[], Any]) -> tuple[bool, Any]:
    # Do not raise on the thread: gevent prints every error of its threads.
    try:
        return True, function()
    except BaseException as error:  # noqa: BLE001
        return False, error


def _is_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _is_eventlet() -> bool:
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def _on_new_thread(inside: Callable[[], Any], cancel: Callable[[], None]) -> Any:
    with ThreadPoolExecutor(1, "mirepoix-coroutine") as executor:
        waiting = executor.submit(inside)
        try:
            return waiting.result()
        except BaseException:
            cancel()
            raise


def _on_gevent(inside: Callable[[], Any], cancel: Callable[[], None]) -> Any:
    import gevent

    hub = gevent.get_hub()
    # A thread of gevent's pool may call this. It has its own hub, and the threads of that hub end with it.
    threads = _threads_of(hub) if hub.main_hub else hub.threadpool
    waiting = threads.spawn(inside)
    try:
        return waiting.get()
    except BaseException:  # the greenlet was killed, or a gevent.Timeout expired
        cancel()
        if not waiting.ready() and waiting.wait(CLEANUP_S) is None:
            logger.error(  # noqa: TRY400, what interrupted the wait is logged elsewhere
                "a coroutine that was cancelled has not ended after %.0f s and is left alone", CLEANUP_S
            )
        raise


@functools.cache
def _threads_of(hub: Any) -> Any:
    # Do not use the hub's own threads: there are only ten, and each look-up of a host's name uses one.
    from gevent.threadpool import ThreadPool

    return ThreadPool(MOST_THREADS, hub)


def _on_eventlet(inside: Callable[[], Any], cancel: Callable[[], None]) -> Any:
    from eventlet import tpool

    try:
        return tpool.execute(inside)
    except BaseException:
        cancel()
        raise
