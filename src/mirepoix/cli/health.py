"""``mirepoix health``: one line a check and an exit code, for probes and monitors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import click

from mirepoix.broker.stalled import stalled_queues
from mirepoix.cli.alerts import pointer
from mirepoix.cli.context import CliContext, pass_context
from mirepoix.cli.errors import CliError
from mirepoix.cli.options import Duration, json_option
from mirepoix.config import Settings
from mirepoix.daemons import probe
from mirepoix.errors import MirepoixError
from mirepoix.ledger import sending
from mirepoix.ledger.alerts import all_open
from mirepoix.ledger.query.health import Overview, overview, workers
from mirepoix.ledger.tx import Tx
from mirepoix.operations.format import count, duration, one_line

UNHEALTHY, UNKNOWN = 1, 3
ANSWERS = {0: "well", UNHEALTHY: "not well", UNKNOWN: "unknown"}
MARKS = {True: ("ok  ", "green"), False: ("FAIL", "bold red"), None: ("?   ", "bold yellow")}

TIMEOUT_S = 5.0
"""How long all answers of the ledger together are waited for."""

LOOK_AGAIN_S = 2.0
LOOK_EVERY_S = 0.2
"""What held up this look at the ledger may have held up heartbeats as well: those that stayed out are waited for so
long, and looked for so often, before a worker is called silent."""


@dataclass(frozen=True, slots=True)
class Check:
    """One answer. *name* is stable. *is_ok* is None if it cannot be told.

    ``ledger``, ``schema``, ``workers``, ``queues``, ``reaper``; with a broker also ``relay`` and ``listeners``; and,
    always well, ``alerts``, if some are open. With --worker only ``worker``.
    """

    name: str
    is_ok: bool | None
    message: str


@click.command()
@click.option(
    "--max-age", type=Duration(), default="5m", show_default=True, help="How long a ready task may wait for a worker."
)
@click.option(
    "--worker", metavar="NAME", help="Only whether the worker of that name lives on this host; asks no database."
)
@json_option
@pass_context
def health(context: CliContext, max_age: timedelta, worker: str | None, is_json: bool) -> None:
    """Check ledger and workers; the exit code tells.

    0 well, 1 not well, 3 it cannot be told. Not well: no live worker, tasks in a queue that no live worker serves, a
    queue whose oldest ready task has waited too long, tasks held by dead workers that nobody takes back, or a worker
    that does not get on with its maintenance; with a broker also tasks that no relay publishes, and workers that are
    connected and hear nothing. It cannot be told when the ledger gives no answer in 5 seconds (mirepoix --timeout), or
    its tables are not of this version: workers may be well then, so restart none because of it.

    --worker NAME (celery@web-1) is for the liveness probe of one worker. It reads the file that the worker writes about
    once a second on its host, whether the ledger is there or not. 1: its process is gone, or its threads do not come
    round. 3: there is no such file, as no worker of that name runs here, or not as this user.
    """
    checks = [_judge_process(worker)] if worker is not None else _look(context, max_age.total_seconds())
    answers = {check.is_ok for check in checks}
    code = UNHEALTHY if False in answers else UNKNOWN if None in answers else 0
    if is_json:
        context.print_json({"status": ANSWERS[code], "exit_code": code, "checks": checks})
    else:
        for check in checks:
            mark, style = MARKS[check.is_ok]
            context.say(f"{mark} {check.name}: {check.message}", style)
    raise click.exceptions.Exit(code)


def _judge_process(name: str) -> Check:
    """Whether a worker of this host lives, by its file."""
    path = probe.path_of(name)
    try:
        beat = probe.last_beat(name)
    except (OSError, ValueError) as error:
        return Check("worker", None, f"{path} cannot be read: {one_line(str(error))}")
    if beat is None:
        where = f"no worker {one_line(name)!r} runs here as this user: there is no {path}"
        return Check("worker", None, f"{where} (see {probe.FOLDER})")
    if beat.is_gone:
        return Check("worker", is_ok=False, message=f"the process {beat.pid} of {one_line(name)} is gone")
    said = f"the threads of {one_line(name)} (process {beat.pid}) came round {beat.age_s:.1f} s ago"
    if not beat.is_alive:
        return Check("worker", is_ok=False, message=f"{said}, more than {beat.good_for_s:g} s")
    if beat.ledger_away_s is not None:
        said += f"; the ledger has given it no answer for {duration(beat.ledger_away_s)}"
    return Check("worker", is_ok=True, message=said)


def _look(context: CliContext, max_age_s: float) -> list[Check]:
    context.source  # noqa: B018 (read: what is wrongly named is told as by every command)
    timeout_s = context.wait(TIMEOUT_S) or TIMEOUT_S
    checks = _reach(context)
    if not all(check.is_ok for check in checks):
        return checks
    connection = context.open()
    timer = threading.Timer(timeout_s, connection.abort)
    timer.daemon = True
    timer.start()
    try:
        seen = _seen(context, max_age_s)
        with context.reading() as tx:
            opened = all_open(tx)
            at_broker = list(_judge_broker(tx, _probe_interval_s(context)))
    except context.database_errors() as error:
        return [Check("ledger", None, f"{context.source.label} gave no answer: {one_line(str(error))}"), checks[1]]
    finally:
        timer.cancel()
    checks += [*_judge(seen, max_age_s), *at_broker]
    if opened:
        checks.append(Check("alerts", is_ok=True, message=pointer(opened)))
    return checks


def _seen(context: CliContext, max_age_s: float) -> Overview:
    """The ledger's state; if heartbeats stayed out, after those had time to come that were held up with this look."""
    with context.reading() as tx:
        seen = overview(tx, late_after_s=max_age_s)
    if not any(worker.is_silent for worker in seen.workers):
        return seen
    until = time.monotonic() + LOOK_AGAIN_S
    is_silent = True
    while is_silent and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        with context.reading() as tx:
            is_silent = any(worker.is_silent for worker in workers(tx))
    with context.reading() as tx:
        return overview(tx, late_after_s=max_age_s)


def _reach(context: CliContext) -> list[Check]:
    """Whether the ledger answers, and with tables of this version."""
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
    """That of the app, if one was named."""
    installation = getattr(context.app, "mirepoix", None)
    return float((Settings() if installation is None else installation.settings).probe_interval_s)


def _message(error: Exception) -> str:
    return one_line(error.message if isinstance(error, CliError) else str(error))


def _judge(seen: Overview, max_age_s: float) -> Iterator[Check]:
    alive = [worker.name for worker in seen.alive]
    said = f"{count(len(alive), 'live worker')}" if alive else "no worker is alive"
    if silent := sum(worker.is_silent for worker in seen.workers):
        said += f"; the heartbeat of {count(silent, 'worker')} stayed out"
    yield Check("workers", bool(alive), said)
    old = [load for load in seen.queues if (load.oldest_s or 0.0) > max_age_s or (load.waiting and not load.is_served)]
    if old:
        worst = max(old, key=lambda load: (not load.is_served, load.oldest_s or 0.0))
        more = f", and {count(len(old) - 1, 'other queue')}" if old[1:] else ""
        served = "" if worst.is_served else "; nobody takes from it"
        said = f"a task in queue {one_line(worst.queue)!r} has waited {duration(worst.oldest_s)}{served}{more}"
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
    unsent = sending.count_unsent(tx)
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
    stalled = [one for one in sending.listeners(tx) if stalled_queues(one.silent_s, one.queues, seen, interval_s)]
    if stalled:
        named = ", ".join(f"{one_line(one.name)} for {duration(one.silent_s)}" for one in stalled)
        said = f"connected to the broker, and receiving nothing: {named}; restart it"
    else:
        said = "every live worker hears its queues"
    yield Check("listeners", not stalled, said)
