"""``mirepoix migrate`` and ``mirepoix prune``: the tables, and how long they remember."""

from __future__ import annotations

from datetime import timedelta

import click

from mirepoix.cli.batches import deciding
from mirepoix.cli.desk import Desk, pass_desk
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.words import count, duration
from mirepoix.ledger import migrate as migrations
from mirepoix.ledger import operate

PRUNE_BATCH = 5_000


@click.command()
@click.option("--post", is_flag=True, help="No process of an older release runs any more: remove what only it used.")
@json_option
@pass_desk
def migrate(desk: Desk, post: bool, is_json: bool) -> None:
    """Create the ledger's tables, or bring them to this version.

    Safe to run at every deploy, before the new code, and from several hosts at once. The release before goes on
    working.
    """
    connection = desk.open()
    applied = migrations.migrate(connection, post=post)
    with connection.transaction() as tx:
        left = migrations.pending_post(tx)
    if is_json:
        desk.print_json({"ledger": desk.source.label, "applied": applied, "left": left})
        return
    for name in applied:
        click.echo(f"applied {name}")
    for name in left:
        click.echo(f"left    {name}: for mirepoix migrate --post, when no process of an older release runs")
    click.echo(f"The ledger in {desk.source.label} is " + ("up to date." if applied else "up to date already."))


@click.command()
@click.option("--older-than", type=Duration(), required=True, help="How long ago they finished: 7d, 12h.")
@json_option
@pass_desk
def prune(desk: Desk, older_than: timedelta, is_json: bool) -> None:
    """Delete tasks that finished long ago.

    That is succeeded, cancelled and expired ones. Failed, quarantined and parked tasks are never deleted: discard
    them first. Batches of 5,000, each in a transaction of its own, until none is left; Ctrl-C loses nothing.
    """
    pruned, is_interrupted = 0, False
    try:
        while True:
            with deciding(desk.ready()) as tx:
                batch = operate.prune(tx, older_than.total_seconds(), PRUNE_BATCH)
            pruned += batch
            if batch < PRUNE_BATCH:
                break
    except KeyboardInterrupt:
        is_interrupted = True
    if is_json:
        desk.print_json({"pruned": pruned, "is_interrupted": is_interrupted})
    else:
        age = duration(older_than.total_seconds())
        click.echo(f"Pruned {count(pruned, 'task')} that finished more than {age} ago.")
    if is_interrupted:
        click.echo("Interrupted: run it again for the rest.", err=True)
        raise click.exceptions.Exit(1)
