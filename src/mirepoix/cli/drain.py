"""``mirepoix drain``: move what waits in the broker that the app had into the ledger."""

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
from mirepoix.cli.options import json_option
from mirepoix.cli.relay import NEEDS_APP
from mirepoix.errors import BrokerAway
from mirepoix.operations.format import count, one_line

KEPT = (
    "{!r} keeps its broker in front of its ledger: its workers take what waits there. To take the messages of another "
    "broker, name it: --from URL."
)
NO_BROKER = "The app's settings name no broker (broker_url). Name it: --from redis://host:6379/0"


@click.command()
@click.option("--from", "url", metavar="URL", help="The broker; otherwise the app's broker_url.")
@click.option("-Q", "--queue", "queues", multiple=True, help="Only this queue; otherwise those that the app names.")
@click.option(
    "--unacknowledged",
    "is_unacknowledged_too",
    is_flag=True,
    help="Redis: also what workers took and have not acknowledged. Only if no such worker runs: its tasks run again.",
)
@click.option("--dry-run", is_flag=True, help="Only count: move nothing.")
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

    A message is written into the ledger, and deleted in the broker after the commit. Run it again whenever it was cut
    short: nothing is lost, and a task that the ledger has is not added again.
    """
    installation = _installation(context)
    broker = former.at(installation, url) if url else former.of(installation)
    if broker is None:
        raise CliError(KEPT.format(context.app.main) if installation.delivery == "broker" else NO_BROKER)  # type: ignore[union-attr]
    names = queues or former.queues_of(context.app)
    if dry_run:
        with _reaching():
            _tell_backlog(context, former.waiting(broker, names, draining.TIMEOUT_S), is_json=is_json)
        return
    drained: list[Drained] = []
    left: former.Backlog | None = None
    try:
        with _reaching():
            for queue in names:
                drained.append(Drained(queue))
                with broker.connected(draining.TIMEOUT_S) as connection:
                    draining.drain(
                        connection, context.ready(), installation, drained[-1], is_whole=is_unacknowledged_too
                    )
            left = former.waiting(broker, names, draining.TIMEOUT_S)
    finally:  # also when a server went away half-way: what is committed is moved, and is said
        changed = [one for one in drained if one.moved or one.known or one.left]
        if changed or left is not None:
            _tell(context, broker.label, changed, left, is_json=is_json)
    if any(one.left for one in drained):
        raise NotAllDone


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except BrokerAway as error:
        raise CliError(f"{error}. What was moved is in the ledger; run it again for the rest.") from error


def _installation(context: CliContext) -> Installation:
    if context.app is None:
        raise CliError(NEEDS_APP.format("drain", "drain"))
    installation = installation_of(context.app)
    installation.settings  # noqa: B018 (read, so that the app is configured)
    context.ready()
    return installation


def _tell(
    context: CliContext, label: str, drained: list[Drained], left: former.Backlog | None, *, is_json: bool
) -> None:
    if is_json:
        waiting = () if left is None else left.queues
        context.print_json({"broker": label, "ledger": context.source.label, "queues": drained, "waiting": waiting})
        return
    for one in drained:
        known = f" {count(one.known, 'task')} of it stood there already." if one.known else ""
        said = f"Moved {count(one.moved, 'task')} of the queue {one_line(one.queue)!r} from {label} into the ledger in "
        context.say(f"{said}{context.source.label}.{known}", "green")
        for why, number in one.left.items():
            context.say(f"  {count(number, 'message')} left in the broker: {one_line(why)}", "yellow")
    if not drained:
        context.say(f"No message could be moved from {label}.")
    for sentence in () if left is None else left.sentences:
        context.say(sentence, "yellow")


def _tell_backlog(context: CliContext, backlog: former.Backlog, *, is_json: bool) -> None:
    if is_json:
        context.print_json({"broker": backlog.broker, "queues": backlog.queues})
        return
    for one in backlog.queues:
        more = f", {one.unacknowledged:,} more with workers (unacknowledged)" if one.unacknowledged else ""
        context.say(f"{count(one.messages, 'message')} in the queue {one_line(one.queue)!r} on {backlog.broker}{more}")
    if not backlog.queues:
        context.say(f"Nothing waits on {backlog.broker}.")
