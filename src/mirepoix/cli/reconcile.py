"""``mirepoix reconcile``: compare the broker with the ledger, publish what is missing, count the unaccounted."""

from __future__ import annotations

from dataclasses import asdict, replace

import click

from mirepoix.broker.outbox import Outbox
from mirepoix.broker.publisher import Publisher
from mirepoix.celery.installation import Installation, installation_of
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.hints import as_typed
from mirepoix.cli.options import json_option
from mirepoix.cli.relay import installation_with_broker
from mirepoix.cli.styles import plain_table
from mirepoix.connect.source import OwnConnection
from mirepoix.errors import BrokerAway
from mirepoix.ledger import sending
from mirepoix.ledger.query.account import account
from mirepoix.ledger.query.health import stranded
from mirepoix.operations.batches import deciding
from mirepoix.operations.broker_losses import Balance, balance, unaccounted
from mirepoix.operations.format import count, one_line

SETTLED_S = 2.0
"""Messages sent more recently may not have arrived yet."""


@click.command()
@click.option("--dry-run", is_flag=True, help="Only compare: publish nothing.")
@json_option
@pass_context
def reconcile(context: CliContext, dry_run: bool, is_json: bool) -> None:
    """Publish what the broker has lost; count the unaccounted.

    A task is accounted for if it has ended or waits for your decision, if a live worker holds it, if it is due later,
    if the broker has a message for it, or if a relay is about to publish one. The exit code is 0 if every task is
    accounted for, 1 if not, and 2 if the broker cannot be reached.

    Without a broker it accounts for the ledger alone: sent = ended + waiting for you + waiting + with workers.
    """
    if not _has_broker(context):
        _account(context, is_json=is_json)
        return
    installation = installation_with_broker(context, "reconcile")
    publisher = Publisher(installation.app)
    try:
        before = _balances(context.ready(), installation, publisher)
        again = {} if dry_run else _publish_missing(context.ready(), installation, publisher, before)
        after = [
            replace(row, sent_again=again.get(row.queue, 0))
            for row in _balances(context.ready(), installation, publisher)
        ]
    except BrokerAway as error:
        raise CliError(f"{error}. Nothing is lost: the tasks wait in the ledger.") from error
    finally:
        publisher.close()
    with context.reading() as tx:
        lost = sum(held.count for held in stranded(tx))
        is_relayed = sending.leader(tx) is not None
    left = unaccounted(after, lost, is_relayed=is_relayed)
    if is_json:
        context.print_json({"queues": after, "held_by_dead_workers": lost, "unaccounted": left})
    else:
        _print(context, after, lost, is_relayed=is_relayed)
        context.say(f"unaccounted: {left}", "bold red" if left else "bold green")
    raise click.exceptions.Exit(1 if left else 0)


def _has_broker(context: CliContext) -> bool:
    """Return whether the app has a broker; without an app, whether the ledger has records of one."""
    if context.app is None:
        with context.reading() as tx:
            has_sent = any(row.sent or row.unsent for row in sending.load(tx, 0.0))
            return has_sent or sending.leader(tx) is not None
    return bool(installation_of(context.app).settings.has_broker)


def _account(context: CliContext, *, is_json: bool) -> None:
    with context.reading() as tx:
        found = account(tx)
    if is_json:
        answer = {**asdict(found), "held_by_dead_workers": found.stranded, "unaccounted": found.unaccounted}
        context.print_json({"queues": [], **answer})
    else:
        kept = f"{found.ended:,} ended + {found.kept:,} waiting for you"
        context.say(f"{found.sent:,} sent = {kept} + {found.waiting:,} waiting + {found.held:,} with workers")
        if found.stranded:
            context.say(f"{count(found.stranded, 'task')} held by workers that are not alive: start a worker.", "red")
        context.say(f"unaccounted: {found.unaccounted}", "bold red" if found.unaccounted else "bold green")
    raise click.exceptions.Exit(1 if found.unaccounted else 0)


def _balances(connection: OwnConnection, installation: Installation, publisher: Publisher) -> list[Balance]:
    with connection.reading() as tx:
        load = sending.load(tx, SETTLED_S)
        listeners = sending.listeners(tx)
    return [
        balance(
            queue,
            (publisher.count(queue.queue) or 0) if publisher.can_count else None,
            listeners,
            installation.settings,
        )
        for queue in load
    ]


def _publish_missing(
    connection: OwnConnection, installation: Installation, publisher: Publisher, balances: list[Balance]
) -> dict[str, int]:
    again = {}
    for row in balances:
        if row.missing:
            with deciding(connection) as tx:
                again[row.queue] = sending.resend_all(tx, row.queue, SETTLED_S)
    Outbox(publisher, installation.settings).publish(connection)
    return again


def _print(context: CliContext, balances: list[Balance], lost: int, *, is_relayed: bool) -> None:
    table = plain_table()
    table.add_column("queue", no_wrap=True, min_width=8, max_width=32)
    for heading in ("ready", "sent", "to be sent", "in the broker", "missing", "sent again"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in balances:
        numbers = (row.ready, row.sent, row.unsent, row.in_broker, row.missing, row.sent_again)
        table.add_row(one_line(row.queue), *("?" if number is None else f"{number:,}" for number in numbers))
    if balances:
        context.print(table)
    else:
        context.say("No task is waiting to be taken.", "dim")
    if lost:
        context.say(f"{count(lost, 'task')} held by workers that are not alive: start a worker.", "red")
    if not is_relayed:
        context.say(as_typed("No relay is alive: start a worker, or celery -A YOUR_APP mirepoix relay."), "yellow")
