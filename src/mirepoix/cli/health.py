"""``mirepoix health``: one line for each check, and an exit code for probes and monitors."""

from __future__ import annotations

import threading
from datetime import timedelta

import click

from mirepoix.cli.alerts import pointer
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.options import Duration, json_option
from mirepoix.config import Settings
from mirepoix.errors import MirepoixError
from mirepoix.ledger.alerts import all_open
from mirepoix.operations.format import one_line
from mirepoix.operations.health import (
    Answer,
    Check,
    answer,
    check_of_process,
    checks,
    checks_of_broker,
    checks_of_limits,
    checks_of_probes,
    checks_of_processes,
    checks_of_schedules,
    settled_overview,
)

CODES = {Answer.WELL: 0, Answer.NOT_WELL: 1, Answer.UNKNOWN: 3}
MARKS = {True: ("ok  ", "green"), False: ("FAIL", "bold red"), None: ("?   ", "bold yellow")}

TIMEOUT_S = 5.0
"""How long to wait for all answers of the ledger together."""


@click.command()
@click.option(
    "--max-age", type=Duration(), default="5m", show_default=True, help="How long a ready task may wait for a worker."
)
@click.option(
    "--worker", metavar="NAME", help="Only check whether the worker of that name lives on this host; no database."
)
@click.option(
    "--live", "is_live", is_flag=True, help="Only check whether the workers of this host live; no database. Kubernetes."
)
@click.option(
    "--ready", "is_ready", is_flag=True, help="Only check whether the ledger answers and its tables are current."
)
@json_option
@pass_context
def health(
    context: CliContext, max_age: timedelta, worker: str | None, is_live: bool, is_ready: bool, is_json: bool
) -> None:
    """Check the ledger and the workers.

    The exit code is 0 for well, 1 for not well, 3 for unknown. Not well: no worker is alive; no live worker consumes a
    queue that has tasks; a ready task has waited too long; dead workers hold tasks and nobody takes them back; or a
    worker's maintenance is stuck. With a broker also: no relay publishes, or a worker is connected and receives
    nothing. Unknown: the ledger gives no answer in 5 seconds (mirepoix --timeout), or its tables are of another
    version. The workers may be well then, so do not restart them.

    --worker NAME (celery@web-1) is for the liveness probe of one worker. It reads a file that the worker writes about
    once a second on its host, also while the ledger is down. 1: the process is gone, or its threads do nothing. 3:
    there is no such file, because no worker of that name runs here as this user. --live is the same for every worker
    of this host, so a container with one worker needs no name.

    --ready asks the ledger, and nothing about workers: 0: it answers and every migration is applied. 3: otherwise.
    """
    if is_ready and (is_live or worker is not None):
        raise click.UsageError("--ready asks the ledger, and --live and --worker do not. Use one of them.")
    if worker is not None:
        found = [check_of_process(worker)]
    elif is_live:
        found = checks_of_processes()
    elif is_ready:
        context.source  # noqa: B018 (as below)
        context.wait(TIMEOUT_S)
        found = _reach(context)
    else:
        found = _look(context, max_age.total_seconds())
    status = answer(found)
    if is_json:
        context.print_json({"status": status, "exit_code": CODES[status], "checks": found})
    else:
        for check in found:
            mark, style = MARKS[check.is_ok]
            context.say(f"{mark} {check.name}: {check.message}", style)
    raise click.exceptions.Exit(CODES[status])


def _look(context: CliContext, max_age_s: float) -> list[Check]:
    context.source  # noqa: B018 (read, so that a wrong app or URL is the same error as in every command)
    timeout_s = context.wait(TIMEOUT_S) or TIMEOUT_S
    found = _reach(context)
    if not all(check.is_ok for check in found):
        return found
    connection = context.open()
    timer = threading.Timer(timeout_s, connection.abort)
    timer.daemon = True
    timer.start()
    try:
        seen = settled_overview(context, max_age_s)
        with context.reading() as tx:
            opened = all_open(tx)
            at_broker = list(checks_of_broker(tx, _probe_interval_s(context)))
            at_broker += [*checks_of_probes(tx, max_age_s), *checks_of_schedules(tx)]
            at_broker += checks_of_limits(tx, seen.queues)
    except context.database_errors() as error:
        return [Check("ledger", None, f"{context.source.label} gave no answer: {one_line(str(error))}"), found[1]]
    finally:
        timer.cancel()
    found += [*checks(seen), *at_broker]
    if opened:
        found.append(Check("alerts", is_ok=True, message=pointer(opened)))
    return found


def _reach(context: CliContext) -> list[Check]:
    """Check whether the ledger answers, and whether its tables are of this version."""
    try:
        context.require_file()
        context.open()
        reached = Check("ledger", is_ok=True, message=f"{context.source.label} answers")
        try:
            context.require_schema()
        except MirepoixError as error:
            return [reached, Check("schema", None, _message(error))]
    except (MirepoixError, click.ClickException) as error:
        return [Check("ledger", None, _message(error))]
    except Exception as error:
        explained = context.explained(error)
        if explained is None:
            raise
        return [Check("ledger", None, _message(explained))]
    return [reached, Check("schema", is_ok=True, message="every migration is applied")]


def _probe_interval_s(context: CliContext) -> float:
    """Return the app's setting, or the default without an app."""
    installation = getattr(context.app, "mirepoix", None)
    return float((Settings() if installation is None else installation.settings).probe_interval_s)


def _message(error: Exception) -> str:
    return one_line(error.message if isinstance(error, CliError) else str(error))
