"""What a pool tells its parent: a success travels with the text that Celery sends anyway; an error is unwrapped."""

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
    """The shown return value, and with it what the parent is to record: results, and parts of chords.

    *is_recorded* says that there is nothing to record: the outcome is in the ledger already, or was refused.
    """

    is_recorded: bool
    results: tuple[Result, ...]
    parts: tuple[Part, ...]

    def __new__(
        cls, shown: Any, results: Iterable[Result] = (), parts: Iterable[Part] = (), *, is_recorded: bool = False
    ) -> Self:
        """Carry *results* and *parts*; their origins stay where they are."""
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
    """The exception that a pool reports, out of what it is wrapped in on its way between processes."""
    error = info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def readable(result: Any) -> Any:
    """*result* of Celery's tracer as the parent can read it: an exception that it could not would end the worker."""
    if result.info is None or not isinstance(result.retval, ExceptionInfo):
        return result
    try:
        pickle.loads(pickle.dumps(result.retval))  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (whatever the user's class does)
        info = _as_told(raised_in(result.retval))
        info.traceback = str(result.retval.traceback)
        return result._replace(retval=info)
    return result


def _as_told(error: Any) -> ExceptionInfo:
    """Of the same meaning to Celery as *error*, with words in place of what cannot be pickled."""
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
