"""The filters of the admin's list of tasks. Their choices cost no look through the table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.admin import SimpleListFilter

from mirepoix.django import project
from mirepoix.django.models import FailureGroup, Worker
from mirepoix.errors import ConfigurationError
from mirepoix.ledger.query.tasks import Filters, search
from mirepoix.operations.format import state_word
from mirepoix.states import ATTENTION, HELD, State

RECENT = 200
"""The names and queues of so many of the newest tasks are offered, with those that the code and the workers know."""

PERIODS = {
    "10m": ("Last 10 minutes", timedelta(minutes=10)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
}
STATE_GROUPS = {"attention": ("waits for you", ATTENTION), "held": ("with a worker", HELD)}


class StateFilter(SimpleListFilter):  # type: ignore[misc]  # Django brings no types
    """One state, or the states that wait for a person."""

    title = "state"
    parameter_name = "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        """The groups first."""
        return [(key, words) for key, (words, _) in STATE_GROUPS.items()] + [(s.value, state_word(s)) for s in State]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        """The list of ids has been filtered already."""
        return queryset

    def states(self) -> frozenset[State]:
        """What was chosen."""
        value = self.value()
        if value in STATE_GROUPS:
            return STATE_GROUPS[value][1]
        return frozenset({State(value)}) if value in set(State) else frozenset(State)


class PeriodFilter(SimpleListFilter):  # type: ignore[misc]
    """Sent, handed to a worker or finished since."""

    title = "time"
    parameter_name = "since"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        """Backwards from now, by the database's clock."""
        return [(key, words) for key, (words, _) in PERIODS.items()]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        """The list of ids has been filtered already."""
        return queryset

    def since(self) -> timedelta | None:
        """What was chosen."""
        return PERIODS[self.value()][1] if self.value() in PERIODS else None


class _Known(SimpleListFilter):  # type: ignore[misc]
    """A text that the code, the workers or the newest tasks know."""

    which: ClassVar[str]

    def lookups(self, request: Any, _model_admin: Any) -> list[tuple[str, str]]:
        known = {*_known(request)[self.which], *([request.GET[self.which]] if request.GET.get(self.which) else [])}
        return [(one, one) for one in sorted(known)]

    def has_output(self) -> bool:
        return bool(self.lookup_choices)

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset


class NameFilter(_Known):
    """The task's name."""

    title = "name"
    parameter_name = which = "name"


class QueueFilter(_Known):
    """The Celery queue."""

    title = "queue"
    parameter_name = which = "queue"


class GroupFilter(SimpleListFilter):  # type: ignore[misc]
    """The cause of the latest failure; chosen on the page of a failure group."""

    title = "failure group"
    parameter_name = "group"

    def lookups(self, request: Any, _model_admin: Any) -> list[tuple[str, str]]:
        """What was chosen."""
        id = request.GET.get(self.parameter_name, "")
        titles = FailureGroup.objects.filter(pk=id).values_list("title", flat=True) if id else []
        return [(id, next(iter(titles), id))] if id else []

    def has_output(self) -> bool:
        """Only when one is chosen: there may be hundreds."""
        return bool(self.lookup_choices)

    def queryset(self, _request: Any, queryset: Any) -> Any:
        """The list of ids has been filtered already."""
        return queryset


def _known(request: Any) -> dict[str, set[str]]:
    """Names and queues, found once for each request."""
    known: dict[str, set[str]] | None = getattr(request, "_mirepoix_known", None)
    if known is None:
        with project.ledger().reading() as tx:
            newest = search(tx, Filters(), RECENT)
        names, queues = _of_app()
        names |= {line.name for line in newest}
        queues |= {line.queue for line in newest} | {
            queue for worker in Worker.objects.filter(state="alive") for queue in _texts(worker.queues)
        }
        known = vars(request)["_mirepoix_known"] = {"name": names, "queue": queues}
    return known


def _of_app() -> tuple[set[str], set[str]]:
    try:
        app = project.celery_app()
    except ConfigurationError:
        return set(), set()  # the checks tell of it
    return {name for name in app.tasks if not name.startswith(("celery.", "mirepoix."))}, set(app.amqp.queues)


def _texts(value: Any) -> Iterable[str]:
    return (one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
