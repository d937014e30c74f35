"""A retry policy: which errors of a task are worth another try, when it comes, and when it is enough."""

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
    """How a task that raises is tried again. Durations are in seconds.

    Given to ``mirepoix.install(app, url, retries=RetryPolicy(...))`` for every task, and to
    ``@app.task(retries=RetryPolicy(...))`` for one; ``@app.task(retries=None)`` has none. The retry is Celery's
    own: its event, its signal, its state, and it waits in the ledger. What ``autoretry_for`` takes, and what the
    task decides by ``self.retry``, ``Ignore`` or ``Reject``, is left alone. The death of a worker and a deploy are
    no retries.

    Not promised: that a retry runs at the very moment it is due (a worker has to be free), and that what the task did
    before it raised is undone (that is what ``transactional=True`` is for).
    """

    transient: Sequence[Kind] | None = None
    """The exceptions, as classes or dotted names (``"httpx.TransportError"``), that another try may mend: these and
    their subclasses, nothing else. None: what says by itself that it passes, see `mirepoix.retries.kinds`."""

    permanent: Sequence[Kind] = ()
    """Those that it cannot. Of all the classes named, the nearest in the ancestry of what was raised decides; named on
    both sides, it is permanent."""

    base_s: float = 1.0
    """The first retry waits at most so long, and each later one at most twice as long as the one before."""

    max_delay_s: float = 300.0
    """No retry waits longer of the policy's own accord. What the other side asks for, and the budget, may be longer."""

    max_attempts: int | None = 10
    """With the first one. Deaths of workers do not count."""

    max_age_s: float | None = 24 * 3600.0
    """A retry that would come later than this after the task was sent (or after it last failed for good, if it was run
    again since) does not come. By the database's clock."""

    jitter: bool = True
    """Full jitter: each wait is drawn evenly between 0 and its bound, so that what failed together does not come back
    together. Off: each wait is its bound."""

    retry_after: Callable[[BaseException], Any] | None = seconds_after
    """Reads from the error how long the other side asked to wait: seconds, or None. The default reads
    ``retry_after`` of the exception, and the header ``Retry-After`` of its response. What it asks for is a lower
    bound; more than a day is taken as a day. None: nothing is read."""

    budget: str | None = None
    """How many retries may come due in a time: ``"50/s"``, ``"600/m"``, ``"100/h"``. What is over it comes later and is
    never dropped for it; if it would be older than ``max_age_s`` then, it has failed."""

    destination: str | None = None
    """Whose budget it is: all tasks with the same destination share it. None: the task's own."""

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
        """Whether *error* is worth another try."""
        return is_transient(error, self.transient, self.permanent)

    def bound_s(self, retries: int) -> float:
        """The longest that the retry after *retries* others waits."""
        return float(min(self.max_delay_s, self.base_s * 2.0 ** min(retries, 64)))

    def delay_s(self, retries: int, error: BaseException, draw: Callable[[], float] = random.random) -> float:
        """How long the retry after *retries* others waits; *draw* is a number from 0 to 1.

        What the other side asks for comes on top of it, so that those who were asked the same do not meet again.
        """
        bound = self.bound_s(retries)
        own = bound * draw() if self.jitter else bound
        asked = None if self.retry_after is None else bounded(self.retry_after(error))
        if asked is None:
            return own
        return asked + min(own, self.base_s) if self.jitter else max(asked, own)

    def is_spent(self, retries: int) -> bool:
        """Whether a task that was tried again *retries* times has had all its attempts."""
        return self.max_attempts is not None and retries + 1 >= self.max_attempts


def policy_of(given: Any, what: str) -> RetryPolicy | None:
    """*given* (a policy, a mapping of its arguments, or None) as a policy.

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
    """A budget as retries a second. Raises ConfigurationError."""
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
                f"RetryPolicy({name}=...) has {kind!r}, which is no exception class and no dotted name of one."
            )


def _check_positive(name: str, value: Any) -> None:
    if not _is_number(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigurationError(f"RetryPolicy({name}=...) must be seconds above 0, not {value!r}.")


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
