"""Celery's consumer, except that what it would throw away is parked, and that it hands leases back when it closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.exceptions import InvalidTaskError, NotRegistered
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer

from mirepoix.celery import attempt as attempts
from mirepoix.celery.task import adopt
from mirepoix.records import LEASE_HEADER, Lease, Trouble

logger = get_logger("mirepoix.worker")


class LedgerConsumer(Consumer):  # type: ignore[misc]
    """Nothing that arrives is dropped: an unknown task, an unreadable message or a broken header is parked."""

    def update_strategies(self) -> None:
        """Adopt the tasks whose author chose a base class of their own, then build the strategies."""
        for task in self.app.tasks.values():
            adopt(task)
        super().update_strategies()

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """No task of that name is registered here."""
        reason = f"no task named {exc} is registered in this worker"
        self._park(message, reason, NotRegistered(*exc.args)) or super().on_unknown_task(body, message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Not a message of Celery's."""
        self._park(message, "not a message of Celery's protocol") or super().on_unknown_message(body, message)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A header is broken, or the content type is not accepted."""
        self._park(message, f"not a valid task message: {exc}") or super().on_invalid_task(body, message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body cannot be read."""
        self._park(message, f"the body cannot be decoded: {exc}") or super().on_decode_error(message, exc)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Celery's handler, with a guard: four kinds of malformed message would end the whole worker."""
        handle = super().create_task_handler(*args, **kwargs)

        def guarded(message: Any) -> Any:
            mark = (message.headers or {}).get(LEASE_HEADER)
            if isinstance(mark, dict) and message.headers.get("id") != mark["id"]:
                # It would run under that id, and nobody would report on this one. Protocol 1 has its id in the body.
                self._park(message, "its headers do not name its task id: not a message of Celery's protocol 2")
                return None
            try:
                return handle(message)
            except self.connection_errors:
                raise
            except Exception as error:
                if not self._park(message, f"the message cannot be handled: {type(error).__name__}: {error}"):
                    raise
                return None

        return guarded

    def on_close(self) -> None:
        """Called first of all when the worker stops or loses its connection: what has not started goes back."""
        super().on_close()
        installation = self.app.mirepoix
        if installation.holder is not None:
            installation.holder.abandon()

    def _park(self, message: Any, reason: str, error: Exception | None = None) -> bool:
        mark = (message.headers or {}).get(LEASE_HEADER) if isinstance(message.headers, dict) else None
        if not isinstance(mark, dict):
            return False
        lease = Lease(mark["id"], mark["fence"], mark["worker"])
        name = str(message.headers.get("task"))
        attempts.park(self.app.mirepoix, lease, name, Trouble(reason), error or InvalidTaskError(reason))
        self.app.mirepoix.holder.forget(lease.key)
        message.ack_log_error(logger, self.connection_errors)
        return True
