"""``mirepoix drain``: move the messages of the app's former broker into the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from mirepoix.broker import drain as draining
from mirepoix.broker import former
from mirepoix.broker.drain import Drained
from mirepoix.celery.installation import Installation, installation_of
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.hints import as_typed
from mirepoix.cli.options import json_option
from mirepoix.cli.progress import progress
from mirepoix.cli.relay import NEEDS_APP
from mirepoix.errors import BrokerAway
from mirepoix.operations.format import count, one_line

KEPT = (
    "{!r} has its broker in front of its ledger, and its workers take the messages there. To move the messages of "
    "another broker, name it: --from URL."
)
NO_BROKER = "The app's settings name no broker (broker_url). Name it: --from redis://host:6379/0"


@click.command(short_help="Move messages of the former broker into the ledger.")
@click.option("--from", "url", metavar="URL", help="The broker. The default is the app's broker_url.")
@click.option("-Q", "--queue", "queues", multiple=True, help="Only this queue. The default is all that the app names.")
@click.option(
    "--unacknowledged",
    "is_unacknowledged_too",
    is_flag=True,
    help="Redis: also messages that workers took and have not acknowledged. Stop those workers first: the tasks run "
    "again.",
)
@click.option("--dry-run", is_flag=True, help="Only count the messages; move none.")
@json_option
@pass_context
def drain(
    context: CliContext,
    url: str | None,
    queues: tuple[str, ...],
    is_unacknowledged_too: bool,
    dry_run: bool,
    is_json: bool,
) -> None:
    """Move the messages of the app's former broker into the ledger.

    It writes a message into the ledger and deletes it from the broker after the commit. If it was interrupted, run it
    again: nothing is lost, and no task is added twice.
    """
    installation = _installation(context)
    broker = former.at(installation, url) if url else former.of(installation)
    if broker is None:
        raise CliError(KEPT.format(context.app.main) if installation.delivery == "broker" else NO_BROKER)  # type: ignore[union-attr]
    names = queues or former.queues_of(context.app)
    if dry_run:
        with _reaching():
            backlog = former.waiting(broker, names, draining.TIMEOUT_S, is_whole=not queues)
            _print_backlog(context, backlog, is_json=is_json)
        return
    drained: list[Drained] = []
    left: former.Backlog | None = None
    try:
        with _reaching():
            for queue in names:
                drained.append(Drained(queue))
                with (
                    progress(f"messages of {one_line(queue)}") as advanced,
                    broker.connected(draining.TIMEOUT_S) as connection,
                ):
                    draining.drain(
                        connection,
                        context.ready(),
                        installation,
                        drained[-1],
                        is_whole=is_unacknowledged_too,
                        advanced=advanced,
                    )
            left = former.waiting(broker, names, draining.TIMEOUT_S, is_whole=not queues)
    finally:  # also if a server went away half-way: what is committed is moved, and has to be reported
        changed = [queue for queue in drained if queue.moved or queue.known or queue.left]
        if changed or left is not None:
            _print_outcome(context, broker.label, changed, left, is_json=is_json)
    if any(queue.left for queue in drained):
        raise NotAllDone


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except BrokerAway as error:
        raise CliError(f"{error}. The tasks moved so far are in the ledger. Run drain again for the rest.") from error


def _installation(context: CliContext) -> Installation:
    if context.app is None:
        raise CliError(NEEDS_APP.format("drain", "drain"))
    installation = installation_of(context.app)
    installation.settings  # noqa: B018 (read, so that the app is configured)
    context.ready()
    return installation


def _print_outcome(
    context: CliContext, label: str, drained: list[Drained], left: former.Backlog | None, *, is_json: bool
) -> None:
    if is_json:
        waiting, others = ((), ()) if left is None else (left.queues, left.others)
        context.print_json(
            {
                "broker": label,
                "ledger": context.source.label,
                "queues": drained,
                "waiting": waiting,
                "other_queues": others,
            }
        )
        return
    for queue in drained:
        known = f" The ledger had {count(queue.known, 'task')} of it already." if queue.known else ""
        moved = f"Moved {count(queue.moved, 'task')} of the queue {one_line(queue.queue)!r} from {label}"
        context.say(f"{moved} into the ledger in {context.source.label}.{known}", "green")
        for why, number in queue.left.items():
            context.say(f"  {count(number, 'message')} left in the broker: {one_line(why)}", "yellow")
    if not drained:
        is_empty = left is None or not (left.queues or left.others)
        context.say(f"Nothing waits in {label}." if is_empty else f"No message was moved from {label}.")
    for sentence in () if left is None else left.sentences:
        context.say(as_typed(sentence), "yellow")


def _print_backlog(context: CliContext, backlog: former.Backlog, *, is_json: bool) -> None:
    if is_json:
        context.print_json({"broker": backlog.broker, "queues": backlog.queues, "other_queues": backlog.others})
        return
    for queue in backlog.queues:
        more = f", and {queue.unacknowledged:,} unacknowledged with workers" if queue.unacknowledged else ""
        context.say(
            f"{count(queue.messages, 'message')} in the queue {one_line(queue.queue)!r} on {backlog.broker}{more}"
        )
    for queue in backlog.others:
        context.say(
            f"{count(queue.messages, 'message')} in the queue {one_line(queue.queue)!r} on {backlog.broker}, which the "
            f"settings of this app do not name: drain -Q {one_line(queue.queue)}",
            "yellow",
        )
    if not backlog.queues and not backlog.others:
        context.say(f"Nothing waits on {backlog.broker}.")
