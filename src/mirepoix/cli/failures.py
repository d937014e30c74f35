"""``mirepoix failures``: the causes of failures, one a line; and what a person decides about one."""

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
"""Letters of the releases in a list."""

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
    type=click.Choice([one.value for one in GroupStatus]),
    multiple=True,
    help="Only these; repeat it for several.",
)
@click.option("--all", "is_all", is_flag=True, help="The ignored and resolved ones too.")
@json_option
@pass_context
@click.pass_context
def failures(ctx: click.Context, context: CliContext, statuses: tuple[str, ...], is_all: bool, is_json: bool) -> None:
    """List the causes of failures, the most urgent first.

    Failures with one cause are one group: the same exception, through the same functions, with the same message
    but for the values in it.
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
        click.echo("No failure asks for anybody." if found else "Nothing has failed.", err=True)
    hidden = {status: sum(1 for group in found if group.status is status) for status in GroupStatus}
    words = [f"{hidden[status]:,} {status}" for status in GroupStatus if status not in wanted and hidden[status]]
    if words:
        context.say(f"not shown: {', '.join(words)} (--all)", "dim")


@failures.command()
@click.argument("group_id", metavar="ID")
@json_option
@pass_context
def show(context: CliContext, group_id: str, is_json: bool) -> None:
    """Tell everything about one group. The beginning of its id is enough.

    This prints the latest failure with its traceback.
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
        click.option("--note", help="Why, to be kept in the ledger."),
        click.option("--by", help="Who decides; otherwise your user name and host."),
        click.argument("group_ids", metavar="ID...", nargs=-1, required=True),
    ):
        command = option(command)
    return command


@failures.command()
@_deciding_options
@click.option("--in-release", metavar="RELEASE", help="The release that mends it: older workers may still fail.")
@pass_context
def resolve(context: CliContext, /, in_release: str | None, **given: Any) -> None:
    """Say that the cause is mended.

    The next failure opens the group again and is called a regression; with --in-release not one in a release that
    was seen failing before. Tasks that failed for good stay so: see replay.
    """
    said = f"resolved in {in_release}" if in_release else "resolved"
    _decide(context, given, said, failure_groups.resolve(in_release))


@failures.command()
@_deciding_options
@click.option("--for", "for_", type=Duration(), help="For so long: 2h, 7d.")
@click.option("--count", "more", type=click.IntRange(min=1), help="For so many failures more.")
@click.option("--per-hour", type=click.IntRange(min=1), help="While there are no more than so many an hour.")
@pass_context
def ignore(
    context: CliContext, /, for_: timedelta | None, more: int | None, per_hour: int | None, **given: Any
) -> None:
    """Do not list it, for good or until something ends that.

    It is counted all the same. Of several conditions the first to be met opens the group again.
    """
    until = Ignoring(None if for_ is None else for_.total_seconds(), more, per_hour)
    words = [
        f"for {duration(until.for_s)}" if until.for_s else "",
        f"for {count(more, 'failure')} more" if more else "",
        f"up to {per_hour:,} an hour" if per_hour else "",
    ]
    said = f"ignored {', '.join(filter(None, words)) or 'for good'}"
    _decide(context, given, said, failure_groups.ignore(until))


@failures.command()
@_deciding_options
@pass_context
def reopen(context: CliContext, /, **given: Any) -> None:
    """Take back that it is resolved or ignored."""
    _decide(context, given, "open", failure_groups.REOPEN)


def count_now(context: CliContext) -> None:
    """Count the failures that no worker has counted yet. Where the ledger can only be read they are left out."""
    counting.catch_up(context.ready(), excused=context.database_errors())


def the_group(tx: Tx, typed: str) -> Group:
    """The group whose id is, or begins with, what was typed; otherwise an error that names the candidates."""
    found = groups(tx, typed.lower())
    if len(found) == 1:
        return found[0]
    if not found:
        raise CliError(f"There is no failure group {one_line(typed)!r}. See: mirepoix failures --all")
    candidates = ", ".join(group.id for group in found[:4])
    raise CliError(f"Several groups begin with {one_line(typed)!r}: {candidates}. Give more of the id.")


def _decide(context: CliContext, given: dict[str, Any], said: str, decision: GroupDecision) -> None:
    by, note = decided_by(given["by"]), one_line(given["note"]) or None
    count_now(context)
    with context.reading() as tx:
        found = {group.id: group for group in (the_group(tx, typed) for typed in given["group_ids"])}
    failure_groups.decide(context.ready(), decision, found, by, note)
    if given["is_json"]:
        context.print_json({"did": said, "failures": list(found)})
        return
    for group in found.values():
        context.say(f"{said}: {group.id}  {one_line(group.title)}", "green")
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
    """The task's name stands first; the columns that matter least are for wide screens."""
    is_wide = context.width >= WIDE
    columns = [one for one in _COLUMNS if is_wide or one.heading not in ONLY_WIDE]
    found = [[_cells(group)[column.heading] for column in columns] for group in shown]
    if context.width < WIDEST:
        columns = [replace(one, heading=_SHORT.get(one.heading, one.heading)) for one in columns]
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
    """A title in so many letters: of the message the end is left out, not the function that it came from."""
    if len(title) <= width:
        return title
    said, _, where = title.rpartition(" in ")
    where = f" in {where}" if said and len(where) + 4 <= width // 2 else ""
    return f"{(said if where else title)[: width - len(where) - 1]}…{where}"


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
        context.say("\nNo task failed for good by it, and none waits to be tried again.", "dim")
        return
    context.say("")
    columns = (Column("tasks", is_right=True), Column("state"), Column("name"))
    context.list(columns, ((f"{one.count:,}", state_text(one.state), one_line(one.name)) for one in detail.tasks))


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
