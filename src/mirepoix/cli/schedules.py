"""``mirepoix schedules``: list schedules, show what became of their fire times, and change them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.text import Text

from mirepoix.celery import scheduling
from mirepoix.celery.beat_entries import SOURCES
from mirepoix.cli.columns import Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.hints import command
from mirepoix.cli.options import Moment, json_option
from mirepoix.cli.schedule_options import NO_CHANGE, changed, definition_options
from mirepoix.ledger import schedules as ledger
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.format import count, duration, one_line, when
from mirepoix.operations.schedules import ScheduleLine, details, lines, state_of, unrecorded, when_of
from mirepoix.schedules import by_hand, changing
from mirepoix.schedules.definition import DATABASE, Definition
from mirepoix.schedules.firing import Firing, Nothing

NO_APP = "This needs the app, which makes the messages: celery -A YOUR_APP mirepoix schedules {0}."

STYLES = {
    "missed": "red",
    "failed": "red",
    "skipped": "yellow",
    "buffered": "yellow",
    "ended": "yellow",
    "ran": "green",
}

by_option = click.option("--by", help="Who. It is stored in the ledger.  [default: user@host]")


@click.group(invoke_without_command=True)
@click.pass_context
def schedules(ctx: click.Context) -> None:
    """See and change what workers fire by time.

    A schedule of the app's code is changed in the code. Here it can be paused, resumed, run and backfilled.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_schedules, is_json=False)


@schedules.command("list")
@json_option
@pass_context
def list_schedules(context: CliContext, is_json: bool) -> None:
    """List the schedules: when they fire next, and how the last run ended.

    With an app, it also shows where the app's code and the ledger differ.
    """
    defined = _defined(context)
    app = None if context.app is None else scheduling.app_name(context.app)
    with context.reading() as tx:
        found = lines(tx, defined, app)
        missing = [] if defined is None else unrecorded(tx, defined)
    if is_json:
        context.print_json({"schedules": found, "unrecorded": missing})
        return
    if found:
        context.list(_COLUMNS, map(_cells, found))
    else:
        click.echo("There is no schedule.", err=True)
    for line in found:
        if line.drift:
            context.say(f"{one_line(line.name)}: {line.drift}", "yellow")
    for name in missing:
        context.say(f"{one_line(name)}: the code defines it, and no worker has started with this code", "yellow")
    _hint_setting(context)


@schedules.command()
@click.argument("name")
@click.option("--fires", "number", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many.")
@json_option
@pass_context
def show(context: CliContext, name: str, number: int, is_json: bool) -> None:
    """Show one schedule, and what became of its latest fire times."""
    defined = _defined(context)
    with context.reading() as tx:
        row = ledger.find(tx, name)
        fires = ledger.latest(tx, name, number)
        line = next((line for line in lines(tx, defined, _app_name(context)) if line.name == name), None)
    if row is None:
        raise CliError(f"There is no schedule {name!r}: {command('schedules', 'list')}")
    if is_json:
        answer = {"name": name, "state": state_of(row), "owner": row.owner, "app": row.app, "revision": row.revision}
        moments = {"next_fire_at": row.next_fire_at, "next_due_at": row.next_due_at, "fired_until": row.fired_until}
        context.print_json({**answer, **moments, "definition": details(row), "line": line, "fires": fires})
        return
    definition = Definition.from_text(row.definition)
    plan = definition.plan
    context.facts(
        (
            ("schedule", name),
            ("state", _state_words(row)),
            ("sends", f"{row.task}{_call(definition)}"),
            ("fires", f"{when_of(plan)}  ({plan.timezone})"),
            ("plan", json.dumps(plan.as_dict(), ensure_ascii=False)),
            ("options", json.dumps(dict(definition.options), ensure_ascii=False) if definition.options else ""),
            ("owner", row.owner + (f" of app {row.app!r}" if row.app else "")),
            ("changed", f"{when(row.changed_at)} by {row.changed_by}, revision {row.revision}"),
            ("next", when(row.next_fire_at) if row.next_fire_at else ""),
            ("drift", (line.drift or "") if line is not None else ""),
        )
    )
    if fires:
        context.say("")
        context.list(_FIRE_COLUMNS, map(_fire_cells, fires))


@schedules.command()
@click.argument("name")
@click.argument("task")
@definition_options
@by_option
@pass_context
def add(context: CliContext, /, name: str, task: str, by: str | None, **given: Any) -> None:
    """Add a schedule NAME that sends TASK.

    celery -A shop mirepoix schedules add nightly shop.report --cron "0 3 * * *" --timezone Europe/Berlin
    """
    definition = changed(None, task, given)
    _require_task(context, task)
    changing.put(
        context.ready(),
        _firing(context, "add"),
        name,
        definition,
        owner=DATABASE,
        app="",
        by=decided_by(by),
        may_exist=False,
    )
    _say_next(context, name, "added")


@schedules.command()
@click.argument("name")
@click.option("--task", help="Another task.")
@definition_options
@by_option
@pass_context
def edit(context: CliContext, /, name: str, task: str | None, by: str | None, **given: Any) -> None:
    """Change a schedule of the database. What is not named stays.

    Fire times that have come are decided by the old definition, and later ones by the new.
    """
    row = by_hand.required(context.ready(), name)
    if task is not None:
        _require_task(context, task)
    definition = changed(Definition.from_text(row.definition), task, given)
    firing = _firing(context, "edit")
    if not changing.put(context.ready(), firing, name, definition, owner=DATABASE, app="", by=decided_by(by)):
        raise click.UsageError(NO_CHANGE)
    _say_next(context, name, "changed")


@schedules.command()
@click.argument("name")
@click.option("--reason", help="Why. It is stored in the ledger, and with each fire time that is skipped.")
@by_option
@pass_context
def pause(context: CliContext, name: str, reason: str | None, by: str | None) -> None:
    """Skip the fire times of a schedule until it is resumed."""
    who = decided_by(by)
    if by_hand.pause(context.ready(), _own_firing(context), name, who, one_line(reason) or None):
        context.say(f"paused: {one_line(name)}", "green")
    else:
        context.say(f"{one_line(name)} is paused already", "yellow")


@schedules.command()
@click.argument("name")
@by_option
@pass_context
def resume(context: CliContext, name: str, by: str | None) -> None:
    """Let a paused schedule go on. The fire times until now stay skipped; backfill sends them."""
    if by_hand.resume(context.ready(), _own_firing(context), name, decided_by(by)):
        _say_next(context, name, "resumed")
    else:
        context.say(f"{one_line(name)} is not paused", "yellow")


@schedules.command("run-now")
@click.argument("name")
@by_option
@pass_context
def run_now(context: CliContext, name: str, by: str | None) -> None:
    """Send one more run of a schedule at once. Its plan is not changed."""
    _, task_id = by_hand.run_now(context.ready(), _firing(context, "run-now"), name, decided_by(by))
    context.say(f"sent: {task_id}", "green")


@schedules.command()
@click.argument("name")
@click.option("--from", "begin", type=Moment(), required=True, help="Since: 7d, or ISO (UTC).")
@click.option("--to", "end", type=Moment(), help="Until: 1d, or ISO (UTC).  [default: now]")
@click.option(
    "--overlap",
    type=click.Choice(by_hand.BACKFILL_OVERLAPS),
    default="buffer_all",
    show_default=True,
    help="One after another, or all at once.",
)
@click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask.")
@by_option
@pass_context
def backfill(
    context: CliContext,
    name: str,
    begin: datetime | timedelta,
    end: datetime | timedelta | None,
    overlap: str,
    is_sure: bool,
    by: str | None,
) -> None:
    """Send the runs of past fire times that were missed, skipped, or before the schedule was added.

    A fire time that was sent is left alone, so the command can be repeated.
    """
    firing = _firing(context, "backfill")
    times = by_hand.past_times(context.ready(), firing, name, _moment(begin), _moment(end))
    if not times:
        context.say("No fire time is in that range: nothing was sent.")
        return
    if not is_sure:
        shown = f"{count(len(times), 'fire time')} from {when(times[0])} to {when(times[-1])}"
        try:
            click.confirm(f"{shown}. Send those that were not sent?", abort=True, err=True)
        except click.Abort:
            raise CliError("Nothing was sent: it was not confirmed. Answer y, or use --yes.") from None
    done = list(by_hand.backfill(context.ready(), firing, name, times, decided_by(by), overlap))
    new = [fire for fire in done if fire.is_new]
    for state in sorted({fire.state for fire in new}):
        context.say(f"{state}: {count(sum(fire.state == state for fire in new), 'fire time')}", "green")
    if len(new) < len(done):
        context.say(f"left alone, because they were sent before: {count(len(done) - len(new), 'fire time')}")


@schedules.command()
@click.argument("name")
@by_option
@pass_context
def remove(context: CliContext, name: str, by: str | None) -> None:
    """Remove a schedule of the database. The record of its fire times stays."""
    by_hand.required(context.ready(), name)
    changing.remove(context.ready(), _firing(context, "remove"), name, decided_by(by))
    context.say(f"removed: {one_line(name)}", "green")


@schedules.command("import")
@click.argument("source", type=click.Choice(sorted(SOURCES)))
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what would be added; change nothing.")
@by_option
@pass_context
def import_schedules(context: CliContext, source: str, is_dry: bool, by: str | None) -> None:
    """Take over the entries of django-celery-beat or redbeat as schedules of the database.

    Stop its beat first, or both send. The entries themselves are left as they are. What has a schedule of the same name
    is left alone, so the command can be repeated. A disabled entry becomes a paused schedule.
    """
    firing, who = _firing(context, "import"), decided_by(by)
    _ = context.catalog
    has_left = False
    with context.reading() as tx:
        known = {row.name for row in ledger.all_of(tx)}
    for entry in SOURCES[source](context.app):
        why_not = entry.why_not or ("there is a schedule of that name" if entry.name in known else None)
        if entry.definition is None or why_not is not None:
            has_left = has_left or (entry.why_not is not None and entry.name != scheduling.BACKEND_CLEANUP)
            context.say(f"left: {one_line(entry.name)}: {one_line(why_not)}", "yellow")
            continue
        words = f"{one_line(entry.name)}: {entry.definition.task}, {when_of(entry.definition.plan)}"
        if not is_dry:
            changing.put(context.ready(), firing, entry.name, entry.definition, owner=DATABASE, app="", by=who)
            if not entry.is_enabled:
                by_hand.pause(context.ready(), firing, entry.name, who, f"it was disabled in {source}")
        paused = "" if entry.is_enabled else ", paused"
        context.say(f"{'would add' if is_dry else 'added'}: {words}{paused}", "green")
    _hint_setting(context)
    if has_left:
        raise NotAllDone


def _firing(context: CliContext, verb: str) -> Firing:
    if context.app is None:
        raise CliError(NO_APP.format(verb))
    firing: Firing = scheduling.firing_of(context.installation)
    return firing


def _own_firing(context: CliContext) -> Firing:
    return Firing(Nothing()) if context.app is None else scheduling.firing_of(context.installation)


def _defined(context: CliContext) -> Mapping[str, Definition] | None:
    """What the app's code defines; None without an app."""
    if context.app is None:
        return None
    _ = context.catalog  # imports the modules of the app's tasks, which may have schedules
    found: Mapping[str, Definition] = scheduling.defined(context.app)
    return found


def _app_name(context: CliContext) -> str | None:
    return None if context.app is None else scheduling.app_name(context.app)


def _require_task(context: CliContext, task: str) -> None:
    """Raise CliError if the app has no such task: a typing error would be found only at the first fire time."""
    if context.app is None:
        raise CliError(NO_APP.format("add"))
    _ = context.catalog
    if task not in context.app.tasks:
        raise CliError(f"The app has no task {task!r}. `celery inspect registered` lists the tasks of the workers.")


def _moment(given: datetime | timedelta | None) -> datetime:
    now = datetime.now(UTC)
    return now if given is None else now - given if isinstance(given, timedelta) else given


def _say_next(context: CliContext, name: str, what: str) -> None:
    row = by_hand.required(context.ready(), name)
    following = f", next {when(row.next_fire_at)}" if row.next_fire_at is not None else ", and has no further fire time"
    context.say(f"{what}: {one_line(name)}{following}", "green")
    _hint_setting(context)


def _hint_setting(context: CliContext) -> None:
    if context.app is not None and not context.installation.settings.schedules:
        click.echo("mirepoix_schedules is off in this app: its workers fire nothing.", err=True)


def _state_words(row: ledger.ScheduleRow) -> str:
    state = state_of(row)
    if row.paused_at is None:
        return state
    why = f": {one_line(row.paused_reason)}" if row.paused_reason else ""
    return f"{state} since {when(row.paused_at)} by {row.paused_by}{why}"


def _call(definition: Definition) -> str:
    words = [json.dumps(arg, ensure_ascii=False) for arg in definition.args]
    words += [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in definition.kwargs.items()]
    return one_line(f"({', '.join(words)})")


_COLUMNS = (
    Column("name"),
    Column("task", 12, 1, is_cut_in_front=True),
    Column("fires", 12, 2),
    Column("state"),
    Column("next", 16, 3),
    Column("last", 16, 4),
    Column("it", 4, 5),
    Column("missed", 6, 0, is_right=True),
)


def _cells(line: ScheduleLine) -> list[Text | str]:
    late = f"  {duration(line.overdue_s)} late" if line.overdue_s > 1 else ""
    return [
        one_line(line.name),
        one_line(line.task),
        one_line(line.when),
        Text(line.state, style="yellow" if line.state == "paused" else ""),
        (when(line.next_fire_at) if line.next_fire_at else "") + late,
        when(line.last_fire_at) if line.last_fire_at else "",
        Text(line.last_state or "", style=STYLES.get(line.last_state or "", "")),
        Text(str(line.missed) if line.missed else "", style="red"),
    ]


_FIRE_COLUMNS = (
    Column("fire time"),
    Column("state"),
    Column("task"),
    Column("late", 5, 1, is_right=True),
    Column("cause", 8, 2),
    Column("reason", 20, 3),
)


def _fire_cells(fire: ledger.FireRow) -> list[Text | str]:
    return [
        when(fire.fire_at),
        Text(fire.state, style=STYLES.get(fire.state, "")),
        fire.task_id or "",
        duration((fire.decided_at - fire.due_at).total_seconds()) if fire.task_id and fire.cause == "schedule" else "",
        fire.cause,
        one_line(fire.reason or ""),
    ]
