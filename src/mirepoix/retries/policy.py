"""A retry policy: which errors of a task are retried, when, and when to give up."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirepoix.errors import ConfigurationError
from mirepoix.retries.after import bounded, seconds_after
from mirepoix.retries.kinds import Kind, is_transient

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*([smh])\s*")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Says how a task that raises is retried. Durations are in seconds.

    Pass it to ``mirepoix.install(app, url, retries=RetryPolicy(...))`` for every task, or to
    ``@app.task(retries=RetryPolicy(...))`` for one task. ``@app.task(retries=None)`` turns it off. The retry is
    Celery's own, with its event, signal and state, and it waits in the ledger. The policy does not change what
    ``autoretry_for``, ``self.retry``, ``Ignore`` and ``Reject`` do. The death of a worker and a deploy are not retries.

    A retry may run later than it is due, because a worker has to be free. What the task did before it raised is not
    undone; ``transactional=True`` does that.
    """

    transient: Sequence[Kind] | None = None
    """The exceptions that are retried, as classes or dotted names (``"httpx.TransportError"``), with their subclasses.
    ``None``: the errors that `mirepoix.retries.kinds` lists."""

    permanent: Sequence[Kind] = ()
    """The exceptions that are not retried. Of all named classes, the nearest in the ancestry of the exception decides.
    A class that is named on both sides is permanent."""

    base_s: float = 1.0
    """The bound of the first retry's wait. The bound doubles with each retry."""

    max_delay_s: float = 300.0
    """The longest bound. The wait that the other side asks for, and the budget, may exceed it."""

    max_attempts: int | None = 10
    """The number of attempts, including the first. Deaths of workers do not count."""

    max_age_s: float | None = 24 * 3600.0
    """The time after the task was sent within which a retry must begin. A later retry is given up. If the task failed
    for good and was run again since, the time counts from that failure. The database's clock decides."""

    jitter: bool = True
    """Full jitter: each wait is drawn evenly between 0 and its bound, so tasks that failed together do not return
    together. Off: each wait is its bound."""

    retry_after: Callable[[BaseException], Any] | None = seconds_after
    """Reads from the error how long the other side asked to wait: seconds, or None. The default reads ``retry_after``
    of the exception and the header ``Retry-After`` of its response. The result is a lower bound and is cut to a day.
    ``None``: nothing is read."""

    budget: str | None = None
    """How many retries may come due in a time: ``"50/s"``, ``"600/m"``, ``"100/h"``. Retries over the budget come later
    and are not dropped. If a retry would then be older than ``max_age_s``, the task fails."""

    destination: str | None = None
    """Tasks with the same destination share a budget. ``None``: the task has its own."""

    def __post_init__(self) -> None:  # noqa: C901 (one condition for each field)
        for name in ("transient", "permanent"):
            _check_kinds(name, getattr(self, name))
        for name in ("base_s", "max_delay_s"):
            _check_positive(name, getattr(self, name))
        if self.max_age_s is not None:
            _check_positive("max_age_s", self.max_age_s)
        if self.max_attempts is not None and (not _is_number(self.max_attempts, int) or self.max_attempts < 1):
            raise ConfigurationError(
                f"RetryPolicy(max_attempts=...) must be at least 1, or None for no end, not {self.max_attempts!r}."
            )
        if self.max_attempts is None and self.max_age_s is None:
            raise ConfigurationError(
                "RetryPolicy(max_attempts=None, max_age_s=None) would retry for ever. Set one of them."
            )
        if self.max_delay_s < self.base_s:
            raise ConfigurationError(
                f"RetryPolicy(base_s={self.base_s!r}, max_delay_s={self.max_delay_s!r}): the longest wait is shorter "
                "than the first one's bound."
            )
        if not isinstance(self.jitter, bool):
            raise ConfigurationError(f"RetryPolicy(jitter=...) must be True or False, not {self.jitter!r}.")
        if self.retry_after is not None and not callable(self.retry_after):
            raise ConfigurationError(
                f"RetryPolicy(retry_after=...) must be a function of the exception, or None, not {self.retry_after!r}."
            )
        if self.budget is not None:
            rate(self.budget)
        if self.destination is not None and (not isinstance(self.destination, str) or not self.destination):
            raise ConfigurationError(f"RetryPolicy(destination=...) must be a name, not {self.destination!r}.")
        if self.destination is not None and len(self.destination) > 255:  # noqa: PLR2004 (the column's)
            raise ConfigurationError("RetryPolicy(destination=...) must be no longer than 255 characters.")
        if self.destination is not None and self.budget is None:
            raise ConfigurationError(
                f"RetryPolicy(destination={self.destination!r}) has no budget to share. Set budget='50/s', say."
            )

    def takes(self, error: BaseException) -> bool:
        """Whether *error* is retried."""
        return is_transient(error, self.transient, self.permanent)

    def bound_s(self, retries: int) -> float:
        """Return the longest wait of the retry after *retries* others."""
        return float(min(self.max_delay_s, self.base_s * 2.0 ** min(retries, 64)))

    def delay_s(self, retries: int, error: BaseException, draw: Callable[[], float] = random.random) -> float:
        """Return the wait of the retry after *retries* others. *draw* returns a number from 0 to 1.

        The wait is added to what the other side asks for, so tasks that got the same answer do not return together.
        """
        bound = self.bound_s(retries)
        own = bound * draw() if self.jitter else bound
        asked = None if self.retry_after is None else bounded(self.retry_after(error))
        if asked is None:
            return own
        return asked + min(own, self.base_s) if self.jitter else max(asked, own)

    def is_spent(self, retries: int) -> bool:
        """Whether a task with *retries* retries has had all its attempts."""
        return self.max_attempts is not None and retries + 1 >= self.max_attempts


def policy_of(given: Any, what: str) -> RetryPolicy | None:
    """Convert *given* (a policy, a mapping of its arguments, or None) to a policy.

    Raises ConfigurationError that names *what*.
    """
    if given is None or isinstance(given, RetryPolicy):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"{what} must be a mirepoix.RetryPolicy, a mapping of its arguments, or None, not {given!r}."
        )
    try:
        return RetryPolicy(**given)
    except TypeError as error:
        raise ConfigurationError(f"{what}: {error}.") from error


def rate(budget: str) -> float:
    """Convert a budget to retries a second. Raises ConfigurationError."""
    found = _RATE.fullmatch(budget) if isinstance(budget, str) else None
    if found is None or float(found[1]) <= 0:
        raise ConfigurationError(
            "RetryPolicy(budget=...) must be a number above 0 and a unit, like '50/s', '600/m' or '100/h', not "
            f"{budget!r}."
        )
    return float(found[1]) / _UNITS[found[2]]


def _check_kinds(name: str, kinds: Any) -> None:
    if kinds is None and name == "transient":
        return
    if isinstance(kinds, (str, type)) or not isinstance(kinds, Sequence):
        raise ConfigurationError(
            f"RetryPolicy({name}=...) must be a tuple of exception classes or dotted names, not {kinds!r}."
        )
    for kind in kinds:
        is_class = isinstance(kind, type) and issubclass(kind, BaseException)
        if not is_class and not (isinstance(kind, str) and kind):
            raise ConfigurationError(
                f"RetryPolicy({name}=...) has {kind!r}, which is neither an exception class nor its dotted name."
            )


def _check_positive(name: str, value: Any) -> None:
    if not _is_number(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"RetryPolicy({name}=...) must be seconds above 0, not {value!r}.")


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
