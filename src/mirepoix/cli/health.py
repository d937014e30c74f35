"""``mirepoix health``: one line a check and an exit code, for probes and monitors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import click

from mirepoix.cli.desk import Desk, pass_desk
from mirepoix.cli.errors import CliError
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.words import count, duration, one_line
from mirepoix.errors import MirepoixError
from mirepoix.ledger.query.health import Overview, overview

UNHEALTHY, UNKNOWN = 1, 2


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. *name* is stable: ``ledger``, ``schema``, ``workers``, ``queues``, ``reaper``."""

    name: str
    is_ok: bool
    message: str


@click.command()
@click.option(
    "--max-age", type=Duration(), default="5m", show_default=True, help="How long a ready task may wait for a worker."
)
@json_option
@pass_desk
def health(desk: Desk, max_age: timedelta, is_json: bool) -> None:
    """Check ledger and workers; the exit code tells.

    0 well, 1 not well, 2 it cannot be told. Not well: no live worker, a queue whose oldest ready task has waited
    too long, or tasks held by dead workers that nobody takes back. It cannot be told when the ledger cannot be
    reached or its tables are not of this version.
    """
    checks = _reach(desk)
    if all(check.is_ok for check in checks):
        with desk.reading() as tx:
            seen = overview(tx, late_after_s=max_age.total_seconds())
        checks += list(_judge(seen, max_age.total_seconds()))
        code = 0 if all(check.is_ok for check in checks) else UNHEALTHY
    else:
        code = UNKNOWN
    if is_json:
        desk.print_json({"status": ("well", "not well", "unknown")[code], "exit_code": code, "checks": checks})
    else:
        for check in checks:
            line = f"{'ok  ' if check.is_ok else 'FAIL'} {check.name}: {check.message}"
            desk.say(line, "green" if check.is_ok else "bold red")
    raise click.exceptions.Exit(code)


def _reach(desk: Desk) -> list[Check]:
    """Whether the ledger answers, and with tables of this version."""
    try:
        desk.require_file()
        desk.open()
    except (MirepoixError, click.ClickException) as error:
        return [Check("ledger", is_ok=False, message=_message(error))]
    except Exception as error:
        explained = desk.explained(error)
        if explained is None:
            raise
        return [Check("ledger", is_ok=False, message=_message(explained))]
    reached = Check("ledger", is_ok=True, message=f"{desk.source.label} answers")
    try:
        desk.require_schema()
    except MirepoixError as error:
        return [reached, Check("schema", is_ok=False, message=_message(error))]
    return [reached, Check("schema", is_ok=True, message="every migration is applied")]


def _message(error: Exception) -> str:
    return one_line(error.message if isinstance(error, CliError) else str(error))


def _judge(seen: Overview, max_age_s: float) -> Iterator[Check]:
    alive = [worker.name for worker in seen.alive]
    said = f"{count(len(alive), 'live worker')}" if alive else "no worker is alive"
    yield Check("workers", bool(alive), said)
    old = [load for load in seen.queues if (load.oldest_s or 0.0) > max_age_s]
    if old:
        worst = max(old, key=lambda load: load.oldest_s or 0.0)
        more = f", and {count(len(old) - 1, 'other queue')}" if old[1:] else ""
        served = "" if worst.is_served else "; no live worker serves it"
        said = f"a task in {one_line(worst.queue)!r} has waited {duration(worst.oldest_s)}{served}{more}"
    else:
        said = f"nothing has waited more than {duration(max_age_s)}"
    yield Check("queues", not old, said)
    lost = sum(held.count for held in seen.stranded)
    said = f"{count(lost, 'task')} held by workers that are not alive" if lost else "no task is held by a dead worker"
    yield Check("reaper", not lost, said)
