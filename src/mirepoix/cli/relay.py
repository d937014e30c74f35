"""``mirepoix relay``: publish to the broker in a process of its own."""

from __future__ import annotations

import logging
import signal
import socket
import threading

import click

from mirepoix.celery.installation import Installation, installation_of
from mirepoix.celery.worker_process import WorkerProcess
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.ledger.query.health import RELAY_POOL
from mirepoix.records import RelayRole

NEEDS_APP = "This needs the app, which knows its broker: celery -A YOUR_APP mirepoix {}, or mirepoix --app YOUR_APP {}."
NO_BROKER = (
    "{!r} has no broker in front of its ledger: workers take their tasks from the database, and nothing is published. "
    "For one, see mirepoix.install(delivery='broker')."
)


@click.command()
@click.option("--loglevel", default="INFO", show_default=True, help="How much is logged.")
@pass_context
def relay(context: CliContext, loglevel: str) -> None:
    """Publish tasks that their senders did not publish.

    It runs until it is stopped. Workers do the same, one of them at a time. This command leads before them, and works
    also when all workers are busy or stopped. Start as many as you like: the oldest publishes, and the others stand by.
    """
    installation = installation_with_broker(context, "relay")
    logging.basicConfig(level=loglevel.upper(), format="[%(asctime)s: %(levelname)s] %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    name = f"relay@{socket.gethostname()}"
    worker = WorkerProcess.begin(
        installation, name, pool=RELAY_POOL, is_forking=False, concurrency=0, queues=(), relay_role=RelayRole.DEDICATED
    )
    worker.start_maintenance(lambda: None)
    worker.start_relay(lambda _connection: None)
    context.say(f"{name} publishes what waits in {installation.source.label}.")
    stopped.wait()
    worker.end()


def installation_with_broker(context: CliContext, command: str) -> Installation:
    """Return the app's installation. Raise CliError without an app, or if it has no broker."""
    if context.app is None:
        raise CliError(NEEDS_APP.format(command, command))
    installation = installation_of(context.app)
    if not installation.settings.has_broker:
        raise CliError(NO_BROKER.format(context.app.main))
    context.ready()
    return installation
