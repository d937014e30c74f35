"""The options that define a schedule, for ``schedules add`` and ``schedules edit``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any

import click

from mirepoix.cli.edit import Json
from mirepoix.cli.options import Duration
from mirepoix.schedules.definition import Definition
from mirepoix.schedules.plan import CATCH_UPS, OVERLAPS, Plan

KINDS = ("cron", "every_s", "at", "solar")
NO_CHANGE = "Say what to change: the schedule is like that already."


_OPTIONS = (
    click.option("--cron", help="Five fields, or six with the second first."),
    click.option("--every", "every_s", type=Duration(), help="An interval: 90s, 5m, 1d."),
    click.option("--aligned", is_flag=True, default=None, help="Count the interval from 1970-01-01 00:00 UTC."),
    click.option("--at", metavar="WHEN", help="One moment in ISO 8601, in --timezone."),
    click.option("--solar", type=(str, float, float), help="EVENT LATITUDE LONGITUDE, e.g. sunset 52.5 13.4."),
    click.option("--timezone", metavar="ZONE", help="An IANA name, e.g. Europe/Berlin.  [default: UTC]"),
    click.option("--start", metavar="WHEN", help="No fire time is before."),
    click.option("--end", metavar="WHEN", help="No fire time is after."),
    click.option("--exclude", multiple=True, metavar="DAYS", help="Skip these days: 2026-12-25, 12-25, FROM/TO."),
    click.option("--jitter", "jitter_s", type=Duration(), help="Fire up to so much later."),
    click.option(
        "--overlap", type=click.Choice(OVERLAPS), help="While the run before has not ended.  [default: allow]"
    ),
    click.option("--catch-up", type=click.Choice(CATCH_UPS), help="What runs after an outage.  [default: latest]"),
    click.option("--catch-up-window", "catch_up_s", type=Duration(), help="What is older is missed.  [default: 1d]"),
    click.option("--pause-after-failures", type=click.IntRange(min=1), help="Pause after so many failures in a row."),
    click.option("--args", type=Json(list, 'an array: [1, "a"]'), help="The positional arguments."),
    click.option("--kwargs", type=Json(dict, 'an object: {"a": 1}'), help="The keyword arguments."),
    click.option("--options", type=Json(dict, 'an object: {"queue": "a"}'), help="The options of apply_async."),
)


def definition_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that define a schedule. `changed` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def changed(before: Definition | None, task: str | None, given: dict[str, Any]) -> Definition:
    """Return the definition with what was given on the command line. Raises ConfigurationError."""
    known = {field.name for field in fields(Plan)}
    plan = {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in given.items()
        if name in known and value not in (None, ())
    }
    old = {} if before is None else before.plan.as_dict()
    if any(kind in plan for kind in KINDS):
        old = {name: value for name, value in old.items() if name not in (*KINDS, "weekdays", "aligned")}
    call = {
        name: given[name] if given[name] is not None else (getattr(before, name) if before is not None else empty)
        for name, empty in (("args", ()), ("kwargs", {}), ("options", {}))
    }
    return Definition(task or (before.task if before is not None else ""), Plan.from_dict({**old, **plan}), **call)
