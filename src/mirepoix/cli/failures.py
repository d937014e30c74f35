"""``mirepoix failures``: list the causes of failures, and decide about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import click
from rich.text import Text

from mirepoix.cli.columns import Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.hints import command
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.styles import state_text
from mirepoix.ledger import counting
from mirepoix.ledger.failures import Ignoring
from mirepoix.ledger.query.failures import LISTED, Group, GroupDetail, GroupStatus, ReplayLine, group_detail, groups
from mirepoix.ledger.tx import Tx
from mirepoix.operations import failure_groups
from mirepoix.operations.decisions import decided_by
from mirepoix.operations.failure_groups import GroupDecision, seen
from mirepoix.operations.format import count, duration, one_line, when

WIDE, WIDEST = 120, 160
ONLY_WIDE = ("waits", "since", "release")
RELEASE = 20
"""The most characters of the releases in a list."""

STYLES = {
    GroupStatus.REGRESSED: "bold magenta",
    GroupStatus.OPEN: "bold red",
    GroupStatus.IGNORED: "dim",
    GroupStatus.RESOLVED: "green",
}


@click.group(invoke_without_command=True)
@click.option(
    "--state",
    "statuses",
    type=click.Choice([status.value for status in GroupStatus]),
    multiple=True,
    help="Only these; repeat it for several.",
)
@click.option("--all", "is_all", is_flag=True, help="Also list ignored and resolved groups.")
@json_option
@pass_context
@click.pass_context
def failures(ctx: click.Context, context: CliContext, statuses: tuple[str, ...], is_all: bool, is_json: bool) -> None:
    """List the causes of failures, the most urgent first.

    Failures with one cause are one group: the same exception, raised through the same functions, with the same message
    except for the values in it.
    """
    if ctx.invoked_subcommand is not None:
        return
    wanted = frozenset(map(GroupStatus, statuses)) or (frozenset(GroupStatus) if is_all else LISTED)
    count_now(context)
    with context.reading() as tx:
        found = groups(tx)
    shown = [group for group in found if group.status in wanted]
    if is_json:
        context.print_json({"failures": shown})
        return
    if shown:
        _list(context, shown)
    else:
        click.echo("No failure waits for a decision." if found else "Nothing has failed.", err=True)
    hidden = {status: sum(1 for group in found if group.status is status) for status in GroupStatus}
    words = [f"{hidden[status]:,} {status}" for status in GroupStatus if status not in wanted and hidden[status]]
    if words:
        context.say(f"not shown: {', '.join(words)} (--all)", "dim")


@failures.command()
@click.argument("group_id", metavar="ID")
@json_option
@pass_context
def show(context: CliContext, group_id: str, is_json: bool) -> None:
    """Show everything about one group. The beginning of its id is enough.

    The output includes the traceback of the latest failure.
    """
    count_now(context)
    with context.reading() as tx:
        detail = group_detail(tx, the_group(tx, group_id))
    if is_json:
        context.print_json(detail)
        return
    _print_detail(context, detail)


def _deciding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option,
        click.option("--note", help="Why. It is stored in the ledger."),
        click.option("--by", help="Who decides. The default is your user name and host."),
        click.argument("group_ids", metavar="ID...", nargs=-1, required=True),
    ):
        command = option(command)
    return command


@failures.command()
@_deciding_options
@click.option("--in-release", metavar="RELEASE", help="The release with the fix: older workers may still fail.")
@pass_context
def resolve(context: CliContext, /, in_release: str | None, **given: Any) -> None:
    """Mark the cause as fixed.

    The next failure reopens the group as a regression. With --in-release, a failure in a release that has failed
    before does not. Tasks that failed for good stay failed: see replay.
    """
    outcome = f"resolved in {in_release}" if in_release else "resolved"
    _decide(context, given, outcome, failure_groups.resolve(in_release))


@failures.command()
@_deciding_options
@click.option("--for", "for_", type=Duration(), help="Ignore it for so long: 2h, 7d.")
@click.option("--count", "more", type=click.IntRange(min=1), help="Ignore so many more failures.")
@click.option("--per-hour", type=click.IntRange(min=1), help="Ignore it while at most so many fail in an hour.")
@pass_context
def ignore(
    context: CliContext, /, for_: timedelta | None, more: int | None, per_hour: int | None, **given: Any
) -> None:
    """Hide a group, for good or up to a limit.

    Its failures are still counted. With several limits, the first that is reached reopens the group.
    """
    until = Ignoring(None if for_ is None else for_.total_seconds(), more, per_hour)
    words = [
        f"for {duration(until.for_s)}" if until.for_s else "",
        f"for {count(more, 'failure')} more" if more else "",
        f"up to {per_hour:,} an hour" if per_hour else "",
    ]
    outcome = f"ignored {', '.join(filter(None, words)) or 'for good'}"
    _decide(context, given, outcome, failure_groups.ignore(until))


@failures.command()
@_deciding_options
@pass_context
def reopen(context: CliContext, /, **given: Any) -> None:
    """Undo resolve or ignore."""
    _decide(context, given, "open", failure_groups.REOPEN)


def count_now(context: CliContext) -> None:
    """Count the failures that no worker has counted yet. A ledger that can only be read is left as it is."""
    counting.catch_up(context.ready(), excused=context.database_errors())


def the_group(tx: Tx, typed: str) -> Group:
    """Return the group with that id or beginning of an id. Raise an error if there is none or several."""
    found = groups(tx, typed.lower())
    if len(found) == 1:
        return found[0]
    if not found:
        raise CliError(f"There is no failure group {one_line(typed)!r}. See: mirepoix failures --all")
    candidates = ", ".join(group.id for group in found[:4])
    raise CliError(f"Several groups begin with {one_line(typed)!r}: {candidates}. Give more of the id.")


def _decide(context: CliContext, given: dict[str, Any], outcome: str, decision: GroupDecision) -> None:
    by, note = decided_by(given["by"]), one_line(given["note"]) or None
    count_now(context)
    with context.reading() as tx:
        found = {group.id: group for group in (the_group(tx, typed) for typed in given["group_ids"])}
    failure_groups.decide(context.ready(), decision, found, by, note)
    if given["is_json"]:
        context.print_json({"did": outcome, "failures": list(found)})
        return
    for group in found.values():
        context.say(f"{outcome}: {group.id}  {one_line(group.title)}", "green")
        if group.kept:
            context.say(
                f"  {count(group.kept, 'task')} failed for good by it: {command('failures replay', group.id)}", "dim"
            )


_COLUMNS = (
    Column("id"),
    Column("state"),
    Column("failed attempts", is_right=True),
    Column("failed for good", is_right=True),
    Column("waits", 5, gives_way=2, is_right=True),
    Column("last", is_right=True),
    Column("since", 7, gives_way=1, is_right=True),
    Column("release", 8, gives_way=3),
    Column("task", 14, gives_way=5, is_cut_in_front=True),
    Column("what", 14, gives_way=4),
)
_SHORT = {"failed attempts": "attempts", "failed for good": "for good"}
"""Headings for narrow screens."""


def _list(context: CliContext, shown: Sequence[Group]) -> None:
    """Print the groups. Narrow screens get fewer columns and shorter headings."""
    is_wide = context.width >= WIDE
    columns = [column for column in _COLUMNS if is_wide or column.heading not in ONLY_WIDE]
    found = [[_cells(group)[column.heading] for column in columns] for group in shown]
    if context.width < WIDEST:
        columns = [replace(column, heading=_SHORT.get(column.heading, column.heading)) for column in columns]
    context.list(columns, found)


def _cells(group: Group) -> dict[str, Text]:
    releases = dict.fromkeys(filter(None, (group.first_release, group.last_release)))
    return {
        "id": Text(group.id),
        "state": Text(group.status.value, style=STYLES[group.status]),
        "failed attempts": Text(f"{group.failures:,}"),
        "failed for good": Text(f"{group.kept:,}", style="bold red" if group.kept else "dim"),
        "waits": Text(f"{group.waiting:,}", style="yellow" if group.waiting else "dim"),
        "last": Text(duration(group.last_seen_s)),
        "since": Text(duration(group.first_seen_s)),
        "release": Text(shortened(one_line(" … ".join(releases)), RELEASE)),
        "task": Text(one_line(group.name)),
        "what": Text(one_line(group.title)),
    }


def shortened(title: str, width: int) -> str:
    """Shorten *title* to *width* characters. It cuts the end of the message and keeps the function's name."""
    if len(title) <= width:
        return title
    message, _, where = title.rpartition(" in ")
    where = f" in {where}" if message and len(where) + 4 <= width // 2 else ""
    return f"{(message if where else title)[: width - len(where) - 1]}…{where}"


def _print_detail(context: CliContext, detail: GroupDetail) -> None:
    group = detail.group
    context.say(one_line(group.title), "bold")
    context.say(Text.assemble((group.id, "dim"), "  ", (group.status.value, STYLES[group.status]), _why(group)))
    facts = (
        ("failed attempts", failure_groups.failed_attempts(group)),
        ("failed for good", f"{count(group.kept, 'task')}, waiting for you" if group.kept else "no task"),
        ("to be retried", count(group.waiting, "task") if group.waiting else ""),
        ("first", seen(when(group.first_seen_at), duration(group.first_seen_s), group.first_release)),
        ("last", seen(when(group.last_seen_at), duration(group.last_seen_s), group.last_release)),
        ("regressed", failure_groups.regressed(group, when(group.regressed_at))),
        ("decided", failure_groups.decided(group, when(group.decided_at))),
        ("note", group.note or ""),
    )
    context.facts((name, one_line(value)) for name, value in facts)
    _print_tasks(context, detail)
    _print_latest(context, detail)
    _print_replays(context, detail.replays)
    if group.kept:
        context.say(f"\nrun them again: {command('failures replay', group.id)} --canary 3", "dim")


def _why(group: Group) -> str:
    if group.status is GroupStatus.REGRESSED:
        where = f" in {one_line(group.regressed_in)}" if group.regressed_in else ""
        return f": it failed again{where} after it was resolved"
    if group.status is GroupStatus.RESOLVED and group.resolved_in:
        return f" in {one_line(group.resolved_in)}"
    if group.status is not GroupStatus.IGNORED:
        return ""
    words = [
        f"until {when(group.ignored_until)}" if group.ignored_until else "",
        failure_groups.ignored_failures_left(group),
        f"up to {group.ignored_per_hour:,} an hour" if group.ignored_per_hour else "",
    ]
    return f" {', '.join(filter(None, words))}".rstrip()


def _print_tasks(context: CliContext, detail: GroupDetail) -> None:
    if not detail.tasks:
        context.say("\nNo task failed for good by this cause, and none waits for a retry.", "dim")
        return
    context.say("")
    columns = (Column("tasks", is_right=True), Column("state"), Column("name"))
    context.list(
        columns, ((f"{tasks.count:,}", state_text(tasks.state), one_line(tasks.name)) for tasks in detail.tasks)
    )


def _print_latest(context: CliContext, detail: GroupDetail) -> None:
    latest = detail.latest
    if latest is None:
        return
    context.say(Text.assemble(("\nLatest", "bold"), f"  {when(latest.finished_at)}  task {one_line(latest.task_id)}"))
    context.traceback(latest.traceback or latest.error or "", 2)


def _print_replays(context: CliContext, replays: Iterable[ReplayLine]) -> None:
    lines = [
        f"  {replay.id}  {when(replay.began_at)}  {replay.replayed:,} of {count(replay.tasks, 'task')} replayed"
        f"{f', {replay.undone:,} taken back' if replay.undone else ''}, {replay.outcome or 'not ended'}"
        f" · {one_line(replay.began_by)}"
        for replay in replays
    ]
    if lines:
        context.say("\nReplays", "bold")
    for line in lines:
        context.say(line)
