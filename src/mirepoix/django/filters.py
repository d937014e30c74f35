"""The filters of the admin's list of tasks. No choice scans the table."""

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
"""The number of newest tasks whose names and queues are offered, beside those of the code and the workers."""

PERIODS = {
    "10m": ("Last 10 minutes", timedelta(minutes=10)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
}
STATE_GROUPS = {"attention": ("waits for you", ATTENTION), "held": ("with a worker", HELD)}


class StateFilter(SimpleListFilter):  # type: ignore[misc]  # Django brings no types
    """Filter by one state, or by the states that wait for a person."""

    title = "state"
    parameter_name = "state"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(key, words) for key, (words, _) in STATE_GROUPS.items()] + [(s.value, state_word(s)) for s in State]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset  # TaskList has filtered it

    def states(self) -> frozenset[State]:
        value = self.value()
        if value in STATE_GROUPS:
            return STATE_GROUPS[value][1]
        return frozenset({State(value)}) if value in set(State) else frozenset(State)


class PeriodFilter(SimpleListFilter):  # type: ignore[misc]
    """Filter by when the task was sent, handed to a worker or finished."""

    title = "time"
    parameter_name = "since"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(key, words) for key, (words, _) in PERIODS.items()]

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset  # TaskList has filtered it

    def since(self) -> timedelta | None:
        return PERIODS[self.value()][1] if self.value() in PERIODS else None


class _Known(SimpleListFilter):  # type: ignore[misc]
    """Filter by a text that the code, the workers or the newest tasks use."""

    which: ClassVar[str]

    def lookups(self, request: Any, _model_admin: Any) -> list[tuple[str, str]]:
        known = {*_known(request)[self.which], *([request.GET[self.which]] if request.GET.get(self.which) else [])}
        return [(text, text) for text in sorted(known)]

    def has_output(self) -> bool:
        return bool(self.lookup_choices)

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset


class NameFilter(_Known):
    """Filter by the task's name."""

    title = "name"
    parameter_name = which = "name"


class QueueFilter(_Known):
    """Filter by the Celery queue."""

    title = "queue"
    parameter_name = which = "queue"


class GroupFilter(SimpleListFilter):  # type: ignore[misc]
    """Filter by the failure group of the latest failure. It is chosen on the page of the group."""

    title = "failure group"
    parameter_name = "group"

    def lookups(self, request: Any, _model_admin: Any) -> list[tuple[str, str]]:
        id = request.GET.get(self.parameter_name, "")
        titles = FailureGroup.objects.filter(pk=id).values_list("title", flat=True) if id else []
        return [(id, next(iter(titles), id))] if id else []

    def has_output(self) -> bool:
        """Show the filter only if a group is chosen, because there may be hundreds."""
        return bool(self.lookup_choices)

    def queryset(self, _request: Any, queryset: Any) -> Any:
        return queryset  # TaskList has filtered it


def _known(request: Any) -> dict[str, set[str]]:
    """Return the names and the queues. They are found once for each request."""
    known: dict[str, set[str]] | None = getattr(request, "_mirepoix_known", None)
    if known is None:
        with project.ledger().reading() as tx:
            newest = search(tx, Filters(), RECENT)
        names, queues = of_app()
        names |= {line.name for line in newest}
        queues |= {line.queue for line in newest} | {
            queue for worker in Worker.objects.filter(state="alive") for queue in _texts(worker.queues)
        }
        known = vars(request)["_mirepoix_known"] = {"name": names, "queue": queues}
    return known


def of_app() -> tuple[set[str], set[str]]:
    """Return the names of the tasks and of the queues that the project's app knows."""
    try:
        app = project.celery_app()
    except ConfigurationError:
        return set(), set()  # the system checks report it
    return {name for name in app.tasks if not name.startswith(("celery.", "mirepoix."))}, set(app.amqp.queues)


def _texts(value: Any) -> Iterable[str]:
    return (text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
