"""``mirepoix edit``: change what a task calls, with a note of who did it and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from mirepoix.celery.edit import Change, Refused, edited
from mirepoix.cli.call_format import changed_table
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.decide import LISTED, wanted
from mirepoix.cli.errors import NotAllDone
from mirepoix.cli.options import filter_options, json_option
from mirepoix.cli.progress import progress
from mirepoix.config import Settings
from mirepoix.ledger.edit import Edited, Payload
from mirepoix.operations.batches import Report, grouped
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.edit import Editing
from mirepoix.operations.format import count, one_line

LONGEST_NAME = 255


class Json(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """A JSON value of one type."""

    name = "json"

    def __init__(self, kind: type, called: str) -> None:
        self._kind = kind
        self._called = called

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:

        try:
            found = _json(value)
        except ValueError as error:
            self.fail(f"it is not JSON ({error}).", param, ctx)
        if not isinstance(found, self._kind):
            self.fail(f"it must be {self._called}.", param, ctx)
        return found


class Assignment(click.ParamType):  # type: ignore[type-arg]  # not generic in older click
    """A keyword and its value: ``NAME=JSON``."""

    name = "name=json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:

        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not NAME=JSON.", param, ctx)
        try:
            return name, _json(text)
        except ValueError:
            self.fail(f"the value of {name!r} is not JSON. A text needs quotes: --set '{name}=\"…\"'.", param, ctx)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.argument("ids", nargs=-1),
            click.option("--set", "assigned", type=Assignment(), multiple=True, help="Set a keyword argument."),
            click.option("--unset", metavar="NAME", multiple=True, help="Remove a keyword argument."),
            click.option("--args", type=Json(list, 'an array: [1, "a"]'), help="Replace all positional arguments."),
            click.option("--kwargs", type=Json(dict, 'an object: {"a": 1}'), help="Replace all keyword arguments."),
            click.option("--rename", "new_name", metavar="TASK", help="The name of another task."),
            click.option(
                "--payload-version",
                type=click.IntRange(min=1),
                help="The version of the task that the new arguments are for.",
            ),
            click.option("--reason", required=True, help="Why. It is stored in the ledger."),
            click.option("--by", help="Who. It is stored in the ledger.  [default: user@host]"),
            click.option("--requeue", "is_requeued", is_flag=True, help="Also run the task, if it is not waiting."),
            click.option("--force", "is_forced", is_flag=True, help="Edit even if the app's code could not take it."),
            click.option("--dry-run", "is_dry", is_flag=True, help="Show what would change; change nothing."),
            filter_options,
            click.option("--limit", type=click.IntRange(min=1), help="At most so many of the tasks that match."),
            click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask."),
            json_option,
        )
    ):
        command = option(command)
    return command


@click.command()
@_options
@pass_context
def edit(context: CliContext, /, *, is_dry: bool, by: str | None, **given: Any) -> None:
    """Change what tasks call, and store who and why.

    It edits tasks that wait, are parked, failed or quarantined, and never a task that a worker has. Everything that
    the edit does not name stays as it was sent. Workers resume a parked task once their code can take it; --requeue
    runs it at once. With an app, a call that its code could not take is refused, unless --force is given.

    Filters select only waiting and parked tasks, unless --state is given.
    """
    change = _change_from(given)
    by = decided_by(by)
    editing = _editing(context, change, by, given)
    report = Report()
    ids = wanted(context, editing.decision, {**given, "is_sure": given["is_sure"] or is_dry}, report)
    try:
        if is_dry:
            with context.reading() as tx:
                editing.try_out(tx, ids, report)
        else:
            with progress("edit", len(ids)) as report.advanced:
                editing.carry_out(context.ready(), ids, one_line(given["reason"]), report)
    finally:
        # Also if the database went away half-way: what is committed is done, and has to be reported.
        if report.done or report.not_done or not ids:
            _print_outcome(context, editing, report, is_dry=is_dry, is_json=given["is_json"])
    if report.not_done or report.is_interrupted:
        raise NotAllDone


def _change_from(given: dict[str, Any]) -> Change:
    assigned, unset = dict(given["assigned"]), frozenset(given["unset"])
    change = Change(given["new_name"], given["payload_version"], given["args"], given["kwargs"], assigned, unset)
    if change == Change():
        raise click.UsageError("Say what to change: --set, --unset, --args, --kwargs, --rename or --payload-version.")
    if both := sorted(assigned.keys() & unset):
        raise click.UsageError(f"Set or unset {', '.join(both)}, not both.")
    if not one_line(given["reason"]):
        raise click.UsageError("Say why: --reason must not be empty.")
    name = given["new_name"]
    if name is not None and not (name.isprintable() and 0 < len(name) <= LONGEST_NAME):
        raise click.UsageError(f"A task's name must be printable and have 1 to {LONGEST_NAME} characters.")
    return change


def _editing(context: CliContext, change: Change, by: str, given: dict[str, Any]) -> Editing:
    installation = None if context.app is None else context.installation
    settings = Settings() if installation is None else installation.settings
    catalog = None if given["is_forced"] else context.catalog

    def rewrite(payload: Payload) -> Edited | str:
        new = edited(payload, change, limit_bytes=settings.payload_limit_bytes, catalog=catalog)
        return new.why if isinstance(new, Refused) else new

    return Editing(rewrite, by, is_requeued=given["is_requeued"])


def _print_outcome(context: CliContext, editing: Editing, report: Report, *, is_dry: bool, is_json: bool) -> None:
    if is_json:
        done = [
            {"id": id, "did": did, "before": editing.made[id].before, "after": editing.made[id].after}
            for id, did in report.done.items()
        ]
        left = [{"id": id, "state": state, "why": why} for id, (state, why) in report.not_done.items()]
        answer = {"command": "edit", "is_dry_run": is_dry, "done": done, "not_done": left}
        context.print_json({**answer, "is_interrupted": report.is_interrupted})
        return
    if not report.done and not report.not_done:
        context.say("No task matches: nothing was changed.")
    for did, ids in grouped(report.done).items():
        context.say(f"{did}: {count(len(ids), 'task')}", "green")
        for task_id in ids[:LISTED]:
            made = editing.made[task_id]
            context.say(f"  {one_line(task_id)}")
            context.print(changed_table(made.before, made.after))
        _more(context, ids)
    for why, ids in grouped({task_id: why for task_id, (_, why) in report.not_done.items()}).items():
        context.say(f"not edited: {count(len(ids), 'task')}: {one_line(why)}", "yellow")
        for task_id in ids[:LISTED]:
            context.say(f"  {one_line(task_id)}")
        _more(context, ids)
    if report.done and context.app is None:
        note = "No app was named (--app), so nothing checked whether code can take the calls."
        context.say(note, "dim")
    if report.is_interrupted:
        click.echo("Interrupted: the rest was not touched.", err=True)


def _more(context: CliContext, ids: list[str]) -> None:
    if ids[LISTED:]:
        context.say(f"  … and {len(ids) - LISTED:,} more (--json lists every id)")


def _json(text: str) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)
