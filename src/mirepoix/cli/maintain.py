"""``mirepoix migrate``, ``prune`` and ``drop-tables``: create the tables, delete old tasks, delete the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.hints import command
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.progress import progress
from mirepoix.config import Settings
from mirepoix.ledger import drop, operate
from mirepoix.ledger import migrate as migrations
from mirepoix.operations import migrating
from mirepoix.operations.batches import deciding
from mirepoix.operations.format import count, duration, memory

PRUNE_BATCH = 5_000


@click.command()
@click.option("--post", is_flag=True, help="Remove what only older releases used. Run it when none of them runs.")
@json_option
@pass_context
def migrate(context: CliContext, post: bool, is_json: bool) -> None:
    """Create the ledger's tables, or bring them to this version.

    Run it at every deploy before the new code, from several hosts at once if you like. The previous release keeps
    working.
    """
    context.wait(None)
    connection = context.open()
    applied = migrating.migrate(connection, post=post, on_wait=_waiter())
    with connection.transaction() as tx:
        left = migrations.pending_post(tx)
    if is_json:
        context.print_json({"ledger": context.source.label, "applied": applied, "left": left})
        return
    for name in applied:
        click.echo(f"applied {name}")
    for name in left:
        click.echo(f"left    {name}: run {command('migrate')} --post when no process of an older release runs")
    click.echo(f"The ledger in {context.source.label} is " + ("up to date." if applied else "up to date already."))


def _waiter() -> Callable[[], None]:
    """Return what says once, on standard error, that transactions are in the way."""
    has_said = False

    def wait() -> None:
        nonlocal has_said
        if not has_said:
            click.echo("Transactions are open that use the ledger's tables. Waiting for their end …", err=True)
        has_said = True

    return wait


@click.command()
@click.option("--older-than", type=Duration(), required=True, help="How long ago the tasks finished: 7d, 12h.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only count the tasks, and print the size of the ledger.")
@json_option
@pass_context
def prune(context: CliContext, older_than: timedelta, is_dry: bool, is_json: bool) -> None:
    """Delete tasks that finished long ago.

    It deletes succeeded, cancelled and expired tasks. It never deletes failed, quarantined and parked tasks: discard
    them first. It deletes batches of 5,000, each in its own transaction, so you can stop it with Ctrl-C.
    """
    if is_dry:
        _print_size(context, older_than, is_json=is_json)
        return
    pruned, is_interrupted = 0, False
    settings = Settings() if context.app is None else context.installation.settings
    context.wait(None)
    with progress("pruned") as advanced:
        try:
            while True:
                with deciding(context.ready()) as tx:
                    batch = operate.prune(tx, older_than.total_seconds(), PRUNE_BATCH, settings.key_retention_s)
                pruned += batch
                advanced(pruned)
                if batch < PRUNE_BATCH:
                    break
        except KeyboardInterrupt:
            is_interrupted = True
    if is_json:
        context.print_json({"pruned": pruned, "is_interrupted": is_interrupted})
    else:
        age = duration(older_than.total_seconds())
        click.echo(f"Pruned {count(pruned, 'task')} that finished more than {age} ago.")
    if is_interrupted:
        click.echo("Interrupted: run it again for the rest.", err=True)
        raise click.exceptions.Exit(1)


def _print_size(context: CliContext, older_than: timedelta, *, is_json: bool) -> None:
    with context.reading() as tx:
        prunable = operate.prunable(tx, older_than.total_seconds())
        size = operate.size(tx)
    if is_json:
        context.print_json({"would_prune": prunable, **asdict(size)})
        return
    context.say(
        f"Would prune {count(prunable, 'task')} that finished more than {duration(older_than.total_seconds())} ago."
    )
    context.say(f"The ledger in {context.source.label} takes {memory(size.bytes // 1024)}.")
    grown = f"{size.finished_in_a_day:,} of them within a day"
    context.say(f"It has {count(size.finished, 'task')} that ended and may be pruned, {grown}.")


@click.command("drop-tables")
@click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask.")
@click.option("--force", "is_forced", is_flag=True, help="Delete even if tasks are not finished or workers are alive.")
@json_option
@pass_context
def drop_tables(context: CliContext, is_sure: bool, is_forced: bool, is_json: bool) -> None:
    """Delete the ledger: all its tables, with every task.

    It refuses (exit code 1) while tasks are not finished, are parked or quarantined, or while workers are alive.
    migrate creates the tables again, empty.
    """
    context.require_file()
    context.wait(None)
    connection = context.open()
    with connection.transaction() as tx:
        seen = drop.contents(tx)
    if seen.relations and (is_forced or not seen.is_in_use):
        if not is_sure:
            _confirm_drop(context, seen)
        seen = drop.drop(connection, is_forced=is_forced)
    is_dropped = is_forced or not seen.is_in_use
    if is_json:
        answer = {"ledger": context.source.label, "dropped": seen.relations if is_dropped else (), "tasks": seen.tasks}
        context.print_json({**answer, "workers": seen.workers})
    elif not seen.relations:
        context.say(f"There is no ledger in {context.source.label}.")
    elif is_dropped:
        context.say(f"Deleted {_described(seen)} in {context.source.label}.")
    else:
        context.say(f"Nothing was deleted: the ledger in {context.source.label} is in use, {seen}.", "yellow")
        context.say("Stop the workers when status says that nothing waits. To delete it anyway, use --force.")
    if not is_dropped:
        raise NotAllDone


def _confirm_drop(context: CliContext, seen: drop.Contents) -> None:
    click.echo(f"This deletes {_described(seen)} in {context.source.label}. It cannot be undone.", err=True)
    try:
        click.confirm("Delete them?", abort=True, err=True)
    except click.Abort:
        raise CliError("Nothing was deleted: it was not confirmed. Answer y, or use --yes.") from None


def _described(seen: drop.Contents) -> str:
    states = ", ".join(f"{number:,} {state}" for state, number in sorted(seen.tasks.items()))
    tasks = count(sum(seen.tasks.values()), "task")
    return f"{len(seen.relations)} tables and views, with {tasks}{f' ({states})' if states else ''}"
