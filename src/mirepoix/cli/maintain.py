"""``mirepoix migrate``, ``prune`` and ``drop-tables``: the tables, how long they remember, and their end."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import click

from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.hints import command
from mirepoix.cli.options import Duration, json_option
from mirepoix.config import Settings
from mirepoix.ledger import drop, operate
from mirepoix.ledger import migrate as migrations
from mirepoix.operations.batches import deciding
from mirepoix.operations.format import count, duration, memory

PRUNE_BATCH = 5_000


@click.command()
@click.option("--post", is_flag=True, help="No process of an older release runs any more: remove what only it used.")
@json_option
@pass_context
def migrate(context: CliContext, post: bool, is_json: bool) -> None:
    """Create the ledger's tables, or bring them to this version.

    Safe to run at every deploy, before the new code, and from several hosts at once. The release before goes on
    working.
    """
    context.wait(None)
    connection = context.open()
    applied = migrations.migrate(connection, post=post)
    with connection.transaction() as tx:
        left = migrations.pending_post(tx)
    if is_json:
        context.print_json({"ledger": context.source.label, "applied": applied, "left": left})
        return
    for name in applied:
        click.echo(f"applied {name}")
    for name in left:
        click.echo(f"left    {name}: for {command('migrate')} --post, when no process of an older release runs")
    click.echo(f"The ledger in {context.source.label} is " + ("up to date." if applied else "up to date already."))


@click.command()
@click.option("--older-than", type=Duration(), required=True, help="How long ago they finished: 7d, 12h.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only count them, and tell how large the ledger is.")
@json_option
@pass_context
def prune(context: CliContext, older_than: timedelta, is_dry: bool, is_json: bool) -> None:
    """Delete tasks that finished long ago.

    That is succeeded, cancelled and expired ones. Failed, quarantined and parked tasks are never deleted: discard
    them first. Batches of 5,000, each in a transaction of its own, until none is left; Ctrl-C loses nothing.
    """
    if is_dry:
        _tell_size(context, older_than, is_json=is_json)
        return
    pruned, is_interrupted = 0, False
    settings = Settings() if context.app is None else context.installation.settings
    context.wait(None)
    try:
        while True:
            with deciding(context.ready()) as tx:
                batch = operate.prune(tx, older_than.total_seconds(), PRUNE_BATCH, settings.key_retention_s)
            pruned += batch
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


def _tell_size(context: CliContext, older_than: timedelta, *, is_json: bool) -> None:
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
    grown = f"{size.finished_in_a_day:,} of them since yesterday"
    context.say(f"It has {count(size.finished, 'task')} that ended and may be pruned, {grown}.")


@click.command("drop-tables")
@click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask.")
@click.option("--force", "is_forced", is_flag=True, help="Also if tasks are not finished, or workers are alive.")
@json_option
@pass_context
def drop_tables(context: CliContext, is_sure: bool, is_forced: bool, is_json: bool) -> None:
    """Delete the ledger: all its tables, with every task.

    Refused (exit code 1) while tasks are not finished, are parked or quarantined, or while workers are alive. migrate
    makes the tables again, empty.
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
        told = {"ledger": context.source.label, "dropped": seen.relations if is_dropped else (), "tasks": seen.tasks}
        context.print_json({**told, "workers": seen.workers})
    elif not seen.relations:
        context.say(f"There is no ledger in {context.source.label}.")
    elif is_dropped:
        context.say(f"Deleted {_described(seen)} in {context.source.label}.")
    else:
        context.say(f"Nothing was deleted: the ledger in {context.source.label} is in use, {seen}.", "yellow")
        context.say("Stop the workers when status says that nothing waits. To delete it all the same, use --force.")
    if not is_dropped:
        raise NotAllDone


def _confirm_drop(context: CliContext, seen: drop.Contents) -> None:
    click.echo(f"This deletes {_described(seen)} in {context.source.label}, for ever.", err=True)
    try:
        click.confirm("Delete them?", abort=True, err=True)
    except click.Abort:
        raise CliError("Nothing was deleted: it was not confirmed. Answer y, or use --yes.") from None


def _described(seen: drop.Contents) -> str:
    states = ", ".join(f"{number:,} {state}" for state, number in sorted(seen.tasks.items()))
    tasks = count(sum(seen.tasks.values()), "task")
    return f"{len(seen.relations)} tables and views, with {tasks}{f' ({states})' if states else ''}"
