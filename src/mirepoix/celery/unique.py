"""Send a unique task: at most one that counts for a key, by a row with a primary key, in the caller's transaction."""

from __future__ import annotations

import hashlib
import inspect
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kombu.exceptions import EncodeError
from kombu.utils.json import dumps

from mirepoix.celery import context
from mirepoix.celery.capture import UnserializablePayload, captured, in_transaction, tried_again
from mirepoix.errors import ConfigurationError, InvalidOption, NotUnique
from mirepoix.ledger import unique
from mirepoix.ledger.keys import Call
from mirepoix.ledger.unique import Holder
from mirepoix.records import Envelope
from mirepoix.states import State

if TYPE_CHECKING:
    from mirepoix.celery.installation import Installation

UNTIL = ("sent", "started", "finished", "succeeded")
ON_CONFLICT = ("existing", "replace", "refuse")

_GIVEN_UP = frozenset({State.CANCELLED, State.EXPIRED})
_ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.QUARANTINED})
_WORKFLOW = ("group_id", "chord", "chain")
"""Options by which Celery sends the members of a workflow."""


@dataclass(frozen=True, slots=True)
class Unique:
    """How far two calls of a task count as one: ``@app.task(unique=Unique(by=["order_id"]))``.

    *by* names the arguments that distinguish calls. None means all of them, and an empty list that the task is unique
    whatever its arguments are. A function gets the arguments, and returns a text.

    A task counts *until* it was ``"sent"``, ``"started"``, ``"finished"`` (it succeeded, failed for good or is
    quarantined) or ``"succeeded"``, and *for_s* seconds longer. A task that was cancelled, discarded or has expired
    does not count.

    *on_conflict* says what a call does if such a task is there. ``"existing"`` sends nothing and returns the result of
    that task. ``"replace"`` also gives it the arguments, the time and the other options of this call if it still waits.
    ``"refuse"`` raises NotUnique.

    Raises ConfigurationError for other values.
    """

    by: Sequence[str] | Callable[..., str] | None = None
    until: str = "finished"
    for_s: float = 0.0
    on_conflict: str = "existing"

    def __post_init__(self) -> None:
        if self.until not in UNTIL:
            raise ConfigurationError(f"Unique(until={self.until!r}): it is one of {', '.join(UNTIL)}.")
        if self.on_conflict not in ON_CONFLICT:
            raise ConfigurationError(
                f"Unique(on_conflict={self.on_conflict!r}): it is one of {', '.join(ON_CONFLICT)}."
            )
        if isinstance(self.by, str):
            raise ConfigurationError(f"Unique(by={self.by!r}): it is a list of names: by=[{self.by!r}].")
        if not isinstance(self.for_s, (int, float)) or self.for_s < 0:
            raise ConfigurationError(f"Unique(for_s={self.for_s!r}): it is a number of seconds.")
        if self.until == "sent" and not self.for_s:
            raise ConfigurationError("Unique(until='sent') needs for_s: for how many seconds after it was sent.")

    def counts(self, holder: Holder) -> bool:
        """Whether a task that has the key still counts."""
        if holder.state is None or holder.state in _GIVEN_UP:
            return False
        is_over, since_s = {
            "sent": (True, holder.sent_for_s),
            "started": (holder.state not in (State.PENDING, State.PARKED), holder.started_for_s),
            "finished": (holder.state in _ENDED, holder.ended_for_s),
            "succeeded": (holder.state is State.SUCCEEDED, holder.ended_for_s),
        }[self.until]
        return not is_over or (self.for_s > 0 and (since_s is None or since_s < self.for_s))


def policy_of(given: Any, task_name: str) -> Unique | None:
    """Return the policy that a task's option ``unique`` means. Raises ConfigurationError."""
    if given is None or given is False:
        return None
    if given is True:
        return Unique()
    if isinstance(given, Unique):
        return given
    raise ConfigurationError(
        f"The option unique of the task {task_name} is {given!r}: it is True or a mirepoix.Unique."
    )


def check(task: Any) -> None:
    """Raise ConfigurationError if the task's option ``unique`` is no policy, or names an argument it does not have."""
    policy = policy_of(getattr(task, "unique", None), task.name)
    if policy is None or policy.by is None or callable(policy.by):
        return
    parameters = inspect.signature(task.run).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    unknown = [name for name in policy.by if name not in parameters]
    if unknown and not takes_any:
        raise ConfigurationError(f"The task {task.name} is unique by {unknown[0]!r}, and has no argument of that name.")


def applies(task: Any, options: Mapping[str, Any]) -> bool:
    """Whether a call of a unique task is sent as one.

    A retry is the same task. A member of a workflow is always sent: a workflow without it could not end.
    """
    if context.is_continuing() or task.app.conf.task_always_eager:
        return False
    attempt = context.current()
    if attempt is not None and options.get("task_id") == attempt.lease.task_id:
        return False
    return task.app.mirepoix.captures and not any(options.get(name) for name in _WORKFLOW)


def send_call(
    task: Any,
    policy: Unique,
    apply: Callable[..., Any],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    task_id: str | None = None,
    *more: Any,
    **options: Any,
) -> Any:
    """Send one call of a unique task with *apply*, Celery's own ``apply_async``, and return its result.

    If a task that counts has the key, do what the policy says. It waits for an open transaction that has sent or looked
    at a task with the same key.
    """
    if options.get("link") or options.get("link_error"):
        raise InvalidOption(task.name, "it is unique, and a task that is there already would not call this link")
    installation: Installation = task.app.mirepoix
    args, kwargs = tuple(args or ()), dict(kwargs or {})
    call = _call(task, args, kwargs)
    key = _key(task, policy, args, kwargs, call)
    new_id = str(task_id or uuid.uuid4())

    def built(task_id: str) -> Envelope:
        with captured() as sent:
            apply(args, kwargs, task_id, *more, **options)
        (envelope,) = (item for item in sent if isinstance(item, Envelope))
        return envelope

    def send() -> str:
        """Send it unless a task counts, and return the id of the task that has the key."""
        with in_transaction(installation) as (tx, add):
            if tx is None:
                raise ConfigurationError(IN_ASYNC)
            holder = unique.claim(tx, key, call, new_id, holds_waiting=installation.delivery == "ledger")
            if holder is not None and policy.on_conflict == "replace" and policy.counts(holder):
                is_replaced = holder.state is State.PENDING and unique.replace(tx, built(holder.task_id))
                if is_replaced:
                    return holder.task_id
                holder = unique.progress(tx, holder.task_id)
            if holder is not None and policy.counts(holder):
                if policy.on_conflict == "refuse":
                    raise NotUnique(task.name, holder.task_id, str(holder.state))
                return holder.task_id
            if holder is not None:
                unique.take_over(tx, key, new_id)
            add([built(new_id)])
            return new_id

    with context.outside():
        return task.AsyncResult(tried_again(installation, send))


IN_ASYNC = (
    "A unique task has to ask the database who has its key, and cannot in a transaction that is asynchronous. With "
    "SQLAlchemy: `await session.run_sync(function)`, and in the function `with mirepoix.using(session):`. Otherwise "
    "send it outside of the transaction, by `await asyncio.to_thread(task.delay, ...)`."
)


def _call(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    try:
        plain_args, plain_kwargs = json.loads(dumps([list(args), dict(kwargs)]))
    except (EncodeError, TypeError, ValueError) as error:
        raise UnserializablePayload(task.name, f"{error}. Pass values that JSON can hold.") from error
    return Call(task.name, plain_args, plain_kwargs)


def _key(task: Any, policy: Unique, args: Sequence[Any], kwargs: Mapping[str, Any], call: Call) -> str:
    """The key of a call. Equal arguments give the same key, by position or by keyword."""
    if callable(policy.by):
        what: Any = str(policy.by(*args, **kwargs))
    else:
        signature = inspect.signature(task.run)
        bound = signature.bind(*call.args, **call.kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name)
        what = given if policy.by is None else {name: given.get(name) for name in policy.by}
    text = dumps([task.name, what], sort_keys=True)
    return unique.MARK + hashlib.sha256(text.encode()).hexdigest()
