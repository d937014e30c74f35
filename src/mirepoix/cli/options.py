"""The options that several commands share: the filters that select tasks, and ``--json``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from mirepoix.ledger.query.tasks import Filters
from mirepoix.operations.filter_words import argument_of, duration_of, moment_of, states_of
from mirepoix.operations.format import SCHEDULED
from mirepoix.states import State


class Duration(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """A duration: ``90s``, ``10m``, ``2h``, ``1h30m`` or ``7d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return duration_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """A duration (that long ago), or a date and time in ISO 8601 (UTC, unless it says otherwise)."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | timedelta:
        if isinstance(value, (datetime, timedelta)):
            return value
        try:
            return moment_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class States(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """One state, or several with commas between them. ``scheduled`` means pending tasks that are due later."""

    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        if isinstance(value, frozenset):
            return value
        try:
            return states_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Argument(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """``order_id=4711``, or a value alone. A value that is not JSON is a text."""

    name = "argument"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str | None, str]:
        """Return the keyword, or None, and the value as JSON."""
        return value if isinstance(value, tuple) else argument_of(value)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--json``."""
    return click.option("--json", "is_json", is_flag=True, help="Print JSON for programs.")(command)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select tasks. `filters_from` reads them."""
    for option in reversed(
        (
            click.option(
                "--state", "states", type=States(), multiple=True, help="Only this state; repeat it or use commas."
            ),
            click.option("--name", metavar="GLOB", help="Only this task name, e.g. 'shop.*'."),
            click.option("--queue", metavar="GLOB", help="Only this queue."),
            click.option("--worker", metavar="GLOB", help="Only tasks that this worker (name or id) has, or had last."),
            click.option(
                "--since", type=Moment(), help="Sent, handed over or finished since: 10m, 2h, 7d, or ISO (UTC)."
            ),
            click.option("--until", type=Moment(), help="Sent, handed over or finished before."),
            click.option(
                "--failure-group", metavar="ID", help="Only tasks that failed last by this cause: see failures."
            ),
            click.option("--because", metavar="GLOB", help="Only this reason, e.g. '*503*'."),
            click.option("--min-tries", type=click.IntRange(min=0), help="Only tasks with at least so many attempts."),
            click.option("--max-tries", type=click.IntRange(min=0), help="Only tasks with at most so many attempts."),
            click.option(
                "--arg",
                "arguments",
                type=Argument(),
                multiple=True,
                metavar="NAME=JSON",
                help="Only with this argument, at any depth; without NAME=, with this value anywhere. If repeated, all "
                "must match.",
            ),
        )
    ):
        command = option(command)
    return command


def filters_from(given: dict[str, Any], default_states: frozenset[State] = frozenset(State)) -> Filters:
    """Return the filters that `filter_options` collected."""
    named = frozenset[str]().union(*given["states"]) or default_states
    return Filters(
        frozenset(State.PENDING if word == SCHEDULED else State(word) for word in named),
        given["name"],
        given["queue"],
        given["worker"],
        given["since"],
        given["until"],
        failure_group=given["failure_group"],
        because=given["because"],
        min_tries=given["min_tries"],
        max_tries=given["max_tries"],
        arguments=given["arguments"],
        only_scheduled=SCHEDULED in named and State.PENDING not in named,
    )


def is_filtered(given: dict[str, Any]) -> bool:
    """Return whether any filter was given."""
    names = ("states", "name", "queue", "worker", "since", "until", "failure_group", "because", "arguments")
    return any(given[name] for name in names) or any(given[name] is not None for name in ("min_tries", "max_tries"))
