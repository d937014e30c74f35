"""Limit how many calls of a task run at once, or begin in a period, for a key that is made of the arguments."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mirepoix.celery import context
from mirepoix.connect.source import OwnConnection
from mirepoix.errors import ConfigurationError, InvalidOption
from mirepoix.ledger import limits
from mirepoix.ledger.at_limit import CANCEL, DROP
from mirepoix.ledger.limits import Bounds
from mirepoix.operations.limits import change
from mirepoix.records import AtLimitPolicy

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

logger = logging.getLogger("mirepoix.worker")

AT_LIMIT = ("wait", DROP, CANCEL)

LONGEST_NAME = 150
LONGEST_VALUE = 80
"""A longer value is hashed."""

ANY = "any"
"""No limit, as people type it."""
MOST = 2**31 - 1
"""The most tasks that the ledger can store as a limit."""
LONGEST_NUMBER = LONGEST_RATE = 20
LONGEST_PERIOD_S = 366 * 86_400.0

_RATE = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*/\s*(?P<number>\d+(?:\.\d+)?)?\s*(?P<unit>[smhd])")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Limit:
    """How many calls of a task may run at once, or begin in a period: ``@app.task(limit=Limit(running=10))``.

    At most *running* calls are with workers at once, over all workers. At most *rate* calls are taken in any period.
    ``"100/m"`` means 100 in any 60 seconds. The other units are ``s``, ``h`` and ``d``, and ``"1/10s"`` is one in any
    10 seconds.

    Both count for each *key*: the value of the argument of that name, or of several. A function gets the arguments, and
    returns a text. None: all calls together.

    *name* is the task's name by default. Tasks that name the same limit share it.

    *at_limit* says what a new call does if *running* or more calls of its key run or wait. ``"wait"``: it waits.
    ``"drop"``: it ends at once, cancelled. ``"cancel"``: it waits, and the oldest calls that wait are cancelled, until
    *running* calls are left, or all the others run. It is decided when the call is sent, once. A *rate* alone has no
    such calls.

    *weight* is how much a call counts towards *rate*: the value of the argument of that name, or what a function of the
    arguments returns. It is a number from 0, and is rounded up. A call that weighs more than all of *rate* counts as
    that much. Without it each call counts as 1. Towards *running* each call counts as 1.

    Raises ConfigurationError for other values.
    """

    running: int | None = None
    rate: str | None = None
    key: str | Sequence[str] | Callable[..., Any] | None = None
    name: str | None = None
    at_limit: str = "wait"
    weight: str | Callable[..., float] | None = None

    def __post_init__(self) -> None:
        if self.running is None and self.rate is None:
            raise ConfigurationError("Limit() needs running, the most calls at once, or rate, such as '100/m'.")
        if self.running is not None and (not isinstance(self.running, int) or self.running < 1):
            raise ConfigurationError(f"Limit(running={self.running!r}): it is a whole number above 0.")
        if self.at_limit not in AT_LIMIT:
            raise ConfigurationError(f"Limit(at_limit={self.at_limit!r}): it is one of {', '.join(AT_LIMIT)}.")
        if self.at_limit != "wait" and self.running is None:
            raise ConfigurationError(
                f"Limit(at_limit={self.at_limit!r}) needs running, because it counts calls that run or "
                "wait. What a rate does not allow yet waits."
            )
        if self.weight is not None and self.rate is None:
            raise ConfigurationError("Limit(weight=...) needs rate: a weight counts towards a rate only.")
        if self.name is not None:
            check_name(self.name)
        self.bounds()

    def bounds(self) -> Bounds:
        """Return what the ledger stores of it. Raises ConfigurationError."""
        if self.rate is None:
            return Bounds(self.running)
        return Bounds(self.running, *rate_of(self.rate), is_weighted=self.weight is not None)


def rate_of(text: Any) -> tuple[int, float]:
    """Return how many in how many seconds a rate is. Raises ConfigurationError."""
    found = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    count = float(found["count"]) if found is not None else 0.0
    if found is None or count <= 0:
        raise ConfigurationError(f"A rate is a text such as '100/m', '5/s' or '1/10s', not {text!r}.")
    period_s = float(found["number"] or 1) * _UNITS_S[found["unit"]]
    if count < 1:
        return 1, period_s / count
    if count != int(count) or not period_s:
        raise ConfigurationError(f"The rate {text!r} has no whole number of calls.")
    return int(count), period_s


def bounds_of(before: Bounds, running: str | None, rate: str | None) -> Bounds:
    """Return *before* with what a person typed: ``3``, ``100/m`` or ``any``. Raises ConfigurationError."""
    at_once = before.running if running is None else _number(running)
    count, period_s = (before.rate, before.period_s) if rate is None else (None, None)
    if rate not in (None, ANY):
        count, period_s = rate_of(str(rate)[:LONGEST_RATE])
    if max(at_once or 0, count or 0) > MOST:
        raise ConfigurationError(f"A limit allows at most {MOST:,} tasks; {ANY} is no limit.")
    if (period_s or 0) > LONGEST_PERIOD_S:
        raise ConfigurationError("The period of a limit is at most a year.")
    return Bounds(at_once, count, period_s, before.is_weighted)


def rate_text(bounds: Bounds) -> str:
    """Return the rate as `rate_of` reads it; ``any`` if there is none."""
    if bounds.rate is None or bounds.period_s is None:
        return ANY
    unit = next((unit for unit, seconds in _UNITS_S.items() if seconds == bounds.period_s), None)
    return f"{bounds.rate}/{unit or f'{bounds.period_s:.10f}'.rstrip('0').rstrip('.') + 's'}"


def _number(text: str) -> int | None:
    if text == ANY:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError(f"The most tasks at once (running) are a whole number, or {ANY}, not {text!r}.")
    return int(text[:LONGEST_NUMBER])


def check_name(name: Any) -> None:
    """Raise ConfigurationError if a limit cannot have this name."""
    is_plain = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()
    if not is_plain or ":" in name:
        raise ConfigurationError(
            f"A limit cannot be called {name!r}: it is a text of at most {LONGEST_NAME} letters without a colon. "
            "Give it a name: Limit(name='...')."
        )


def policy_of(given: Any, task_name: str) -> Limit | None:
    """Return the limit that a task's option ``limit`` means. Raises ConfigurationError."""
    if given is None or isinstance(given, Limit):
        return given
    raise ConfigurationError(f"The option limit of the task {task_name} is {given!r}: it is a mirepoix.Limit.")


def check(task: Any) -> None:
    """Raise ConfigurationError if the task's option ``limit`` is no limit, or names an argument it does not have."""
    policy = policy_of(getattr(task, "limit", None), task.name)
    if policy is None:
        return
    check_name(policy.name or task.name)
    parameters = inspect.signature(task.run).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    unknown = [name for name in _names(policy) if name not in parameters]
    if unknown and not takes_any:
        raise ConfigurationError(
            f"The limit of the task {task.name} has the key {unknown[0]!r}, and the task has no argument of that name."
        )
    if isinstance(policy.weight, str) and policy.weight not in parameters and not takes_any:
        raise ConfigurationError(
            f"The limit of the task {task.name} has the weight {policy.weight!r}, and the task has no argument of that "
            "name."
        )


def limit_of(app: Any, task: Any) -> Limit | None:
    """Return the limit of a task: its own, or its ``rate_limit`` if the setting makes that global."""
    policy = policy_of(getattr(task, "limit", None), task.name)
    if policy is not None or not app.mirepoix.settings.global_rate_limits:
        return policy
    rate_limit = getattr(task, "rate_limit", None) or app.conf.task_default_rate_limit
    return Limit(rate=rate_of_celery(rate_limit)) if rate_limit else None


def rate_of_celery(rate_limit: Any) -> str | None:
    """Return Celery's ``rate_limit`` as a rate here, with a short period, because Celery spaces calls evenly.

    Raises ConfigurationError.
    """
    if isinstance(rate_limit, (int, float)) and not isinstance(rate_limit, bool):
        rate_limit = f"{rate_limit}/s"
    count, period_s = rate_of(rate_limit)
    per_second = count / period_s
    if per_second <= 1:
        return f"1/{period_s / count:.6f}s"
    return f"{math.floor(per_second)}/{math.floor(per_second) / per_second:.6f}s"


def declared(app: Any) -> dict[str, Bounds]:
    """Return the limits of the app's tasks by their names.

    Raises ConfigurationError if two tasks contradict each other.
    """
    found: dict[str, tuple[str, Limit]] = {}
    for task in app.tasks.values():
        policy = limit_of(app, task)
        if policy is None:
            continue
        name = policy.name or task.name
        other, first = found.setdefault(name, (task.name, policy))
        if (first.bounds(), first.at_limit) != (policy.bounds(), policy.at_limit):
            raise ConfigurationError(
                f"The tasks {other} and {task.name} define the limit {name!r} differently. Use one mirepoix.Limit."
            )
    return {name: policy.bounds() for name, (_, policy) in found.items()}


def record_own(installation: Installation, by: str) -> None:
    """Record the limits of the app's code, on a connection of its own. Raises ConfigurationError."""
    connection = installation.source.open()
    try:
        _record(connection, declared(installation.app), by)
    finally:
        connection.close()


def _record(connection: OwnConnection, own: Mapping[str, Bounds], by: str) -> None:
    changed = change(connection, partial(limits.record, declared=own, by=by))
    if changed:
        logger.info("the limits of the code were recorded: %s", ", ".join(changed))


def key_for(app: Any, name: str, body: Any) -> str | None:
    """Return the key of a message's limit; None if its task has none, or is unknown here."""
    if not app.tasks.limits and not app.mirepoix.settings.global_rate_limits:
        return None
    task = _task_of(app, name)
    policy = None if task is None else limit_of(app, task)
    if task is None or policy is None:
        return None
    limit_name = policy.name or task.name
    if policy.key is None:
        return limit_name
    is_call = isinstance(body, (list, tuple)) and len(body) >= 2  # noqa: PLR2004 (arguments and keywords)
    if not is_call:
        return limit_name
    return f"{limit_name}:{_value(task, policy, *body[:2])}"


def at_limit_policy(installation: Installation, name: str) -> AtLimitPolicy | None:
    """Return what a message of a task with a limit does if the limit has no room; None if it waits."""
    task = _task_of(installation.app, name)
    policy = None if task is None else limit_of(installation.app, task)
    if policy is None or policy.at_limit == "wait":
        return None
    return AtLimitPolicy(policy.at_limit, policy.running, installation.return_ended)


def weight_for(app: Any, name: str, body: Any) -> int | None:
    """Return the weight of a message of a task with a limit; None if the limit has no weights."""
    task = _task_of(app, name)
    policy = None if task is None else limit_of(app, task)
    is_call = isinstance(body, (list, tuple)) and len(body) >= 2  # noqa: PLR2004 (arguments and keywords)
    if policy is None or policy.weight is None or not is_call:
        return None
    args, kwargs = body[:2]
    try:
        given = {} if callable(policy.weight) else _given(task, args, kwargs)
    except TypeError:  # the call does not fit the task; a worker parks it
        return 1
    try:
        weight = math.ceil(policy.weight(*args, **kwargs) if callable(policy.weight) else given[policy.weight])
        if not 0 <= weight <= MOST:
            raise ValueError(f"{weight} is no number from 0 to {MOST:,}")
    except Exception as error:
        if context.is_continuing():
            return 1
        raise InvalidOption(task.name, f"the weight of its limit cannot be made: {error!r}") from error
    return weight


def _given(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their names. Raises TypeError if they do not fit the task."""
    signature = inspect.signature(task.run)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(parameter.name)
    return given


def _task_of(app: Any, name: str) -> Any:
    return app.tasks.get(app.tasks.aliases.get(name, name))


def _value(task: Any, policy: Limit, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The value that distinguishes keys. A call that does not fit the task has none; a worker parks it."""
    if callable(policy.key):
        try:
            return as_value(policy.key(*args, **kwargs))
        except Exception as error:
            if context.is_continuing():
                return ""
            raise InvalidOption(task.name, f"the key of its limit cannot be made: {error!r}") from error
    try:
        given = _given(task, args, kwargs)
    except TypeError:
        return ""
    values = [given.get(name) for name in _names(policy)]
    return as_value(values[0] if isinstance(policy.key, str) else values)


def as_value(value: Any) -> str:
    """Return a value as part of a key. Equal values give equal texts. What is long or not printable is hashed."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    if len(text) <= LONGEST_VALUE and text.isprintable() and text == text.strip():
        return text
    return "#" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _names(policy: Limit) -> Sequence[str]:
    if policy.key is None or callable(policy.key):
        return ()
    return (policy.key,) if isinstance(policy.key, str) else policy.key
