"""``mirepoix health``: one line a check and an exit code, for probes and monitors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import click

from mirepoix.broker.hearing import unheard
from mirepoix.cli.alerts import pointer
from mirepoix.cli.desk import Desk, pass_desk
from mirepoix.cli.errors import CliError
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.words import count, duration, one_line
from mirepoix.config import Settings
from mirepoix.errors import MirepoixError
from mirepoix.ledger import sending
from mirepoix.ledger.alerts import all_open
from mirepoix.ledger.query.health import Overview, overview
from mirepoix.ledger.tx import Tx

UNHEALTHY, UNKNOWN = 1, 2


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. *name* is stable.

    ``ledger``, ``schema``, ``workers``, ``queues``, ``reaper``; with a broker also ``relay`` and ``listeners``; and,
    always well, ``alerts``, if some are open.
    """

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
    too long, tasks held by dead workers that nobody takes back, or a worker that does not get on with its maintenance;
    with a broker also tasks that no relay publishes, and workers that are connected and hear nothing. It cannot be
    told when the ledger cannot be reached or its tables are not of this version.
    """
    checks = _reach(desk)
    if all(check.is_ok for check in checks):
        with desk.reading() as tx:
            seen = overview(tx, late_after_s=max_age.total_seconds())
            opened = all_open(tx)
            at_broker = list(_judge_broker(tx, _probe_interval_s(desk)))
        checks += list(_judge(seen, max_age.total_seconds()))
        checks += at_broker
        if opened:
            checks.append(Check("alerts", is_ok=True, message=pointer(opened)))
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


def _probe_interval_s(desk: Desk) -> float:
    """That of the app, if one was named."""
    installation = getattr(desk.app, "mirepoix", None)
    return float((Settings() if installation is None else installation.settings).probe_interval_s)


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
    stuck = [worker for worker in seen.alive if worker.stuck_s is not None]
    said = f"{count(lost, 'task')} held by workers that are not alive" if lost else "no task is held by a dead worker"
    for worker in stuck:
        said += f"; the maintenance of {one_line(worker.name)} has not come round for {duration(worker.stuck_s)}"
    yield Check("reaper", not lost and not stuck, said)


def _judge_broker(tx: Tx, interval_s: float) -> Iterator[Check]:
    """The relay and the listeners, where a broker stands in front of the ledger."""
    leader = sending.leader(tx)
    unsent = sum(queue.unsent for queue in sending.load(tx, 0.0))
    if leader is None and not unsent:
        return
    waiting = f"{count(unsent, 'task')} to be published"
    if leader is None:
        yield Check("relay", is_ok=False, message=f"{waiting}, and no relay is alive")
    elif leader.trouble:
        yield Check("relay", is_ok=False, message=f"{waiting}; {one_line(leader.name)}: {one_line(leader.trouble)}")
    else:
        yield Check("relay", is_ok=True, message=f"{one_line(leader.name)} publishes; {waiting}")
    seen = sending.seen(tx)
    deaf = [one for one in sending.listeners(tx) if unheard(one.heard_s, one.queues, seen, interval_s)]
    if deaf:
        named = ", ".join(f"{one_line(one.name)} for {duration(one.heard_s)}" for one in deaf)
        said = f"connected to the broker, and hearing nothing: {named}; restart it"
    else:
        said = "every live worker hears its queues"
    yield Check("listeners", not deaf, said)
