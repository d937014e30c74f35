"""``mirepoix alerts``: list the open alerts, send the new ones, or watch until stopped."""

from __future__ import annotations

import logging
import signal

import click
from rich.text import Text

from mirepoix.alerts.channels import Channel, channels
from mirepoix.alerts.deliver import SUMMARY_S, deliver_due
from mirepoix.alerts.sync_open import sync_open
from mirepoix.alerts.thread import AlertThread
from mirepoix.cli.columns import Column
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError, NotAllDone
from mirepoix.cli.hints import command
from mirepoix.cli.options import json_option
from mirepoix.config import Settings
from mirepoix.ledger.alerts import OpenAlert, all_open, held_back
from mirepoix.operations.format import count, duration, one_line
from mirepoix.records import Alert

NO_CHANNEL = (
    "The app has no channel for alerts. Set mirepoix_alerts, e.g. mirepoix.install(app, url, "
    "alerts=['mailto:oncall@example.com?via=smtp://localhost:25'])."
)
NO_APP = "This needs the app, which names the channels: celery -A YOUR_APP mirepoix alerts --{0}."


@click.command()
@click.option("--send", "is_sending", is_flag=True, help="Check now, and send the new alerts. For cron.")
@click.option("--watch", "is_watching", is_flag=True, help="Check and send until stopped, apart from the workers.")
@click.option("--test", "is_test", is_flag=True, help="Send a test to every channel, and print the result.")
@click.option("--loglevel", default="INFO", show_default=True, help="How much --watch logs.")
@json_option
@pass_context
def alerts(
    context: CliContext, is_sending: bool, is_watching: bool, is_test: bool, loglevel: str, is_json: bool
) -> None:
    """List the open alerts.

    Workers check and send alerts by themselves, to the channels of the app's setting alerts. Dead workers send
    nothing: run --watch on another host, or --send from cron.
    """
    if is_sending + is_watching + is_test > 1:
        raise click.UsageError("Give one of --send, --watch and --test.")
    if is_watching:
        _watch(context, loglevel)
        return
    if is_test:
        _test(context)
        return
    if is_sending:
        settings, found = _settings(context, "send")
        sync_open(context.ready(), settings, [channel.label for channel in found])
        for channel in found:
            deliver_due(context.ready(), settings, channel)
    with context.reading() as tx:
        opened = all_open(tx, held_back(tx, _per_hour(context), SUMMARY_S))
    if is_json:
        context.print_json({"alerts": opened})
    elif opened:
        context.list(_COLUMNS, map(_cells, opened))
    else:
        click.echo("No alert is open.", err=True)
    if is_sending and any(open_alert.trouble for open_alert in opened):
        raise NotAllDone


def _per_hour(context: CliContext) -> int:
    installation = getattr(context.app, "mirepoix", None)
    return int((Settings() if installation is None else installation.settings).alerts_per_hour)


def _settings(context: CliContext, option: str) -> tuple[Settings, tuple[Channel, ...]]:
    if context.app is None:
        raise CliError(NO_APP.format(option))
    settings: Settings = context.installation.settings
    if not settings.alerts:
        raise CliError(NO_CHANNEL)
    return settings, channels(settings)


def _watch(context: CliContext, loglevel: str) -> None:
    settings, found = _settings(context, "watch")
    context.ready()
    logging.basicConfig(level=loglevel.upper(), format="[%(asctime)s: %(levelname)s] %(message)s")
    watcher = AlertThread(context.source, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watcher.end_soon())
    labels = ", ".join(channel.label for channel in found)
    context.say(f"Checking {context.source.label} every {settings.alerts_interval_s:g} s; notifying {labels}.")
    watcher.run()
    watcher.stop()


def _test(context: CliContext) -> None:
    _, found = _settings(context, "test")
    is_well = True
    for channel in found:
        try:
            channel.tell(Alert("test:", "test", "", "A test of Mirepoix's alerts: nothing is wrong"))
        except Exception as error:  # noqa: BLE001 (anybody's code, and anybody's server)
            is_well = False
            context.say(f"FAIL {channel.label}: {type(error).__name__}: {one_line(str(error))}", "bold red")
        else:
            context.say(f"ok   {channel.label}", "green")
    if not is_well:
        raise NotAllDone


def pointer(opened: list[OpenAlert]) -> str:
    """Return a line that names the latest alert and this command."""
    return (
        f"{count(len(opened), 'open alert')}, the latest: {one_line(opened[0].alert.title)}; see: {command('alerts')}"
    )


_COLUMNS = (Column("alert"), Column("open", is_right=True), Column("notified"), Column("what", 24))


def _cells(open_alert: OpenAlert) -> list[Text | str]:
    waits = f"held back until {open_alert.held_until:%H:%M}Z" if open_alert.held_until else "no"
    notified = (
        Text("yes", style="green")
        if open_alert.told_at
        else Text(one_line(open_alert.trouble) or waits, style="yellow")
    )
    kind = Text(open_alert.alert.kind.replace("_", " "), style="bold red")
    return [kind, duration(open_alert.open_s), notified, one_line(open_alert.alert.title)]
