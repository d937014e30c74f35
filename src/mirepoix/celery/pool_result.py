"""What a pool process reports to its parent: a success travels with the text that Celery sends anyway."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.serialization import UnpickleableExceptionWrapper

from mirepoix.records import Part, Result


class Reported(str):  # noqa: SLOT000  (its attributes are what it is for)
    """The return value as Celery shows it, with what the parent must record: results, and parts of chords.

    If *is_recorded*, the parent has nothing to record: the outcome is in the ledger already, or was refused.
    """

    is_recorded: bool
    results: tuple[Result, ...]
    parts: tuple[Part, ...]

    def __new__(
        cls, shown: Any, results: Iterable[Result] = (), parts: Iterable[Part] = (), *, is_recorded: bool = False
    ) -> Self:
        """Carry *results*, and *parts* without their origins."""
        self = super().__new__(cls, shown)
        self.is_recorded = is_recorded
        self.results = tuple(results)
        self.parts = tuple(replace(part, origin=None) for part in parts)
        return self

    def __reduce__(self) -> Any:
        return _restored, (str(self), self.results, self.parts, self.is_recorded)


def _restored(shown: str, results: Iterable[Result], parts: Iterable[Part], is_recorded: bool) -> Reported:
    return Reported(shown, results, parts, is_recorded=is_recorded)


def raised_in(info: ExceptionInfo) -> Any:
    """The exception that a pool reports, without the wrapper that carries it between processes."""
    error = info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def readable(result: Any) -> Any:
    """Make *result* of Celery's tracer readable for the parent: an exception that cannot be unpickled would end it."""
    if result.info is None or not isinstance(result.retval, ExceptionInfo):
        return result
    try:
        pickle.loads(pickle.dumps(result.retval))  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (the user's class may raise anything)
        info = _as_picklable(raised_in(result.retval))
        info.traceback = str(result.retval.traceback)
        return result._replace(retval=info)
    return result


def _as_picklable(error: Any) -> ExceptionInfo:
    """An exception that means the same to Celery as *error*, with text in place of what cannot be pickled."""
    words = ", ".join(str(arg) for arg in error.args) or repr(error)
    try:
        if isinstance(error, Reject):
            raise Reject(str(error.reason), requeue=error.requeue)
        if isinstance(error, Ignore):
            raise Ignore(words)
        if isinstance(error, Retry):
            raise Retry(words)
        raise UnpickleableExceptionWrapper.from_exception(error)
    except Exception:  # noqa: BLE001
        return ExceptionInfo()
