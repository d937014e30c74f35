"""What a pool tells its parent: a success travels with the text that Celery sends anyway; an error is unwrapped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback

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
