"""Kill a process at every commit boundary: whatever it was doing is done by another, once, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import invariants
import load
import pytest
from workers import Process, Shop, until

from mirepoix import control
from mirepoix.crashpoints import Crashpoint
from mirepoix.ledger.drop import Contents, contents

pytestmark = pytest.mark.slow

PRODUCE = ("-c", "import load, shop; load.produce(shop.app)")
SLOW_START = {"worker_prefetch_multiplier": 4}


def armed(shop: Shop, point: Crashpoint, nth: int = 1) -> dict[str, str]:
    """The environment in which one process dies at *point*, once."""
    shop.make("token")
    return {"MIREPOIX_CRASHPOINT": f"{point}:{nth}", "MIREPOIX_CRASHPOINT_TOKEN": str(shop.folder / "token")}


def dies(shop: Shop, process: Process, *, is_child: bool = False) -> None:
    """Wait until the token was taken, and the process (or one of its pool) killed by itself."""
    until(
        lambda: not (shop.folder / "token").exists(), f"{process.name} reached its crash point\n{process.said[-2000:]}"
    )
    if not is_child:
        assert process.ends().exit_code == -9


def leased(shop: Shop) -> set[str]:
    """What a worker has taken and not begun, as far as the ledger knows."""
    return {id for id, state in shop.ledger.states().items() if state == "leased"}


def produce(shop: Shop) -> None:
    """Send everything; what is there already is left alone."""
    load.produce(shop.app or shop.client())


def a_producer_dies(shop: Shop, point: Crashpoint) -> None:
    """The group is what is being sent, or the first task that is sent alone."""
    dies(shop, shop.start("armed", *PRODUCE, env=armed(shop, point)))
    assert set(shop.ledger.states()) == COMMITTED[point]
    produce(shop)
    shop.worker("clean")


def a_worker_dies(shop: Shop, point: Crashpoint) -> None:
    """Under the whole load."""
    produce(shop)
    dies(shop, shop.worker("armed", env=armed(shop, point), is_awaited=False))
    shop.worker("clean")


def a_pool_process_dies(shop: Shop, point: Crashpoint) -> None:
    """Its own worker takes care of it."""
    produce(shop)
    dies(shop, shop.worker("armed", env=armed(shop, point), is_awaited=False), is_child=True)


def a_reaper_dies(shop: Shop, point: Crashpoint) -> None:
    """While it takes back what another dead worker held."""
    produce(shop)
    shop.send("gate", "open", task_id="held", priority=9)
    victim = shop.worker("victim", concurrency=1)
    shop.begun("held")
    victim.remove()
    dies(shop, shop.worker("armed", env=armed(shop, point), is_awaited=False))
    shop.make("open")
    shop.worker("clean")
    shop.wait("held", "succeeded")
    assert shop.runs("held") >= 2


def a_stopping_worker_dies(shop: Shop, point: Crashpoint) -> None:
    """While it hands back what it took and had not begun; its pool still runs a task."""
    shop.send("gate", "open", task_id="held", priority=9)
    stopping = shop.worker("armed", concurrency=1, env=armed(shop, point), conf=SLOW_START)
    shop.begun("held")
    produce(shop)
    until(lambda: leased(shop) - {"held"}, "it took more than it runs")
    stopping.send(15)
    if point in (Crashpoint.STOP_BEFORE_COMMIT, Crashpoint.STOP_AFTER_COMMIT):
        until(lambda: not leased(shop), "it handed back what it had not begun")
        shop.make("open")
    dies(shop, stopping)
    shop.worker("clean")
    shop.make("open")
    shop.wait("held", "succeeded")


def a_pool_process_dies_in_a_step(shop: Shop, point: Crashpoint) -> None:
    """Before its result is committed the work is done again; after it, not."""
    a_pool_process_dies(shop, point)
    shop.wait("pay", "succeeded")
    assert len(shop.effects("pay", "charge")) == (2 if point is Crashpoint.STEP_BEFORE_COMMIT else 1)
    assert shop.runs("pay") == 2


def a_pool_process_dies_on_its_way_to_a_retry(shop: Shop, point: Crashpoint) -> None:
    """A place in the budget is wasted at the most; the death is no retry."""
    produce(shop)
    shop.app.send_task("retrying.pay_bank", ("after",), task_id="bank")
    worker = shop.worker("armed", "--include", "retrying", env=armed(shop, point), is_awaited=False)
    dies(shop, worker, is_child=True)
    shop.wait("bank", "succeeded")
    assert shop.row("bank")["retries"] == 1
    assert shop.runs("bank") == 3
    ((places,),) = shop.ledger.query("SELECT sum(taken) FROM mirepoix_budget")
    assert places == (1 if point is Crashpoint.RESERVE_BEFORE_COMMIT else 2)
    shop.ledger.write("UPDATE mirepoix_task SET generation = 0 WHERE id = 'bank'")  # as the others, for what is checked


def a_worker_dies_whose_code_can_take_what_was_parked(shop: Shop, point: Crashpoint) -> None:
    """Another takes it up, or the reaper gives it to whoever can."""
    shop.app.send_task("released.bill", (1,), task_id="parked")
    old = shop.worker("old")
    shop.wait("parked", "parked")
    old.stop()
    produce(shop)
    dies(shop, shop.worker("armed", "--include", "released", env=armed(shop, point), is_awaited=False))
    shop.worker("clean", "--include", "released")
    shop.wait("parked", "succeeded")
    assert shop.runs("parked") == 1


def a_worker_dies_while_it_holds(shop: Shop, point: Crashpoint) -> None:
    """Tasks of a paused name: another worker holds them, and all run after the resume."""
    control.pause(shop.app, task="shop.spin")
    produce(shop)
    dies(shop, shop.worker("armed", env=armed(shop, point), is_awaited=False))
    shop.worker("clean")
    until(lambda: shop.row("spin")["held_by"] == "task shop.spin", "another worker holds it")
    assert shop.runs("spin") == 0
    control.resume(shop.app, task="shop.spin")


def an_operator_dies_while_releasing(shop: Shop, point: Crashpoint) -> None:
    """What was held and is not released is released by the next worker."""
    control.pause(shop.app, task="shop.spin")
    produce(shop)
    holder = shop.worker("holder")
    until(lambda: shop.row("spin")["held_by"] == "task shop.spin", "it is held")
    holder.stop()
    resume = ("-m", "celery", "-A", "shop", "mirepoix", "resume", "task", "shop.spin")
    dies(shop, shop.start("armed", *resume, env=armed(shop, point)))
    assert control.paused(shop.app) == []
    assert (shop.row("spin")["held_by"] is None) == (point is Crashpoint.RELEASE_HELD_AFTER_COMMIT)
    shop.worker("clean")


def a_maintaining_worker_dies(shop: Shop, point: Crashpoint) -> None:
    """While it ends what has expired."""
    produce(shop)
    shop.task("note").apply_async(task_id="late", queue="nobody", expires=0.1)
    dies(shop, shop.worker("armed", env=armed(shop, point), is_awaited=False))
    shop.worker("clean")
    shop.wait("late", "expired")
    assert shop.runs("late") == 0
    shop.ledger.write("DELETE FROM mirepoix_task WHERE id = 'late'")  # all others are to succeed


def an_operator_dies(shop: Shop, point: Crashpoint) -> None:
    """While requeueing what was cancelled."""
    produce(shop)
    command = ("-m", "celery", "-A", "shop", "mirepoix")
    assert shop.start("cancels", *command, "cancel", "spin", "--yes").ends().exit_code == 0, shop.logs()
    assert shop.state("spin") == "cancelled"
    dies(shop, shop.start("armed", *command, "requeue", "spin", "--yes", env=armed(shop, point)))
    assert shop.state("spin") == ("cancelled" if point is Crashpoint.OPERATE_BEFORE_COMMIT else "pending")
    shop.start("clean-operator", *command, "requeue", "spin", "--yes").ends()
    shop.ledger.write("UPDATE mirepoix_task SET generation = 0 WHERE id = 'spin'")  # it never ran before
    shop.worker("clean")


GROUP = {f"group-{i}" for i in range(4)}
COMMITTED = {
    Crashpoint.ENQUEUE_BEFORE_COMMIT: set(),
    Crashpoint.ENQUEUE_AFTER_COMMIT: GROUP,
    Crashpoint.ENQUEUE_ONE_BEFORE_COMMIT: GROUP,
    Crashpoint.ENQUEUE_ONE_AFTER_COMMIT: {*GROUP, "chain-1"},
}
"""What is in the ledger when a producer has died there."""
SCENARIOS: dict[str, Callable[[Shop, Crashpoint], None]] = {
    "enqueue": a_producer_dies,
    "enqueue_one": a_producer_dies,
    "outcome": a_pool_process_dies,
    "step": a_pool_process_dies_in_a_step,
    "reserve": a_pool_process_dies_on_its_way_to_a_retry,
    "reap": a_reaper_dies,
    "expire": a_maintaining_worker_dies,
    "give_back": a_stopping_worker_dies,
    "stop": a_stopping_worker_dies,
    "resume_parked": a_worker_dies_whose_code_can_take_what_was_parked,
    "operate": an_operator_dies,
    "hold": a_worker_dies_while_it_holds,
    "release_held": an_operator_dies_while_releasing,
}
MIGRATION = """
import os
from mirepoix.connect.url import source_for
from mirepoix.ledger.migrate import migrate
migrate(source_for(os.environ["SHOP_LEDGER"]).open())
"""
WITH_A_BROKER = {
    point for point in Crashpoint if point.partition(".")[0] in ("receive", "publish", "note_sent", "resend")
}
"""Reached only with a broker in front of the ledger: test_every_crashpoint_of_a_broker.py."""
ALERTS = {point for point in Crashpoint if point.partition(".")[0] in ("alert", "tell", "tell_end")}
"""Reached only by those who watch: tests/alerts/test_processes.py."""
REFUSED = {point for point in Crashpoint if point.partition(".")[0] in ("complete_alone", "refuse")}
"""Reached only if the database refuses what is recorded: test_refused_outcomes_survive.py."""
SUBMIT = {point for point in Crashpoint if point.partition(".")[0] == "submit"}
"""Reached only by those who submit under a key: tests/e2e/test_submit_once.py."""
TEMPORAL = {point for point in Crashpoint if point.partition(".")[0] in ("activity", "workflow")}
"""Reached only beside a Temporal server: tests/temporal/test_kills.py."""
METRICS = {point for point in Crashpoint if point.partition(".")[0] in ("prune", "probe")}
"""Reached only when old tasks are deleted or queues are probed: tests/metrics."""
OF_SCHEDULES = ("fire", "fire_buffered", "settle", "schedule", "run_schedule", "backfill")
SCHEDULES = {point for point in Crashpoint if point.partition(".")[0] in OF_SCHEDULES}
"""Reached only where schedules are fired: test_schedules_survive.py."""
LIMITS = {point for point in Crashpoint if point.partition(".")[0] in ("limits", "limit_keys")}
"""Reached only where tasks have limits: test_limits_survive.py."""
MIGRATE = (Crashpoint.MIGRATE_BEFORE_COMMIT, Crashpoint.MIGRATE_AFTER_COMMIT)
DROP = (Crashpoint.DROP_BEFORE_COMMIT, Crashpoint.DROP_AFTER_COMMIT)
DRAIN = (Crashpoint.DRAIN_BEFORE_COMMIT, Crashpoint.DRAIN_AFTER_COMMIT)
"""Reached only by `mirepoix drain`: tests/broker/test_draining.py."""


@pytest.mark.parametrize(
    "point",
    [
        point
        for point in Crashpoint
        if point
        not in {*MIGRATE, *DROP, *DRAIN, *WITH_A_BROKER, *ALERTS, *METRICS, *REFUSED, *SUBMIT, *TEMPORAL, *SCHEDULES}
        | LIMITS
    ],
    ids=str,
)
def test_whoever_dies_nothing_is_lost_and_nothing_is_done_twice(shop: Shop, point: Crashpoint) -> None:
    shop.make("die")
    SCENARIOS.get(point.partition(".")[0], a_worker_dies)(shop, point)
    invariants.all_finished(shop)
    invariants.check(shop)


@pytest.mark.parametrize("point", MIGRATE, ids=str)
def test_a_migration_that_dies_is_finished_by_the_next(empty_url: str, tmp_path: Path, point: Crashpoint) -> None:
    migrate = ("-c", MIGRATION)
    with Shop(tmp_path / "shop", empty_url, has_client=False) as shop:
        shop.make("die")
        dies(shop, shop.start("armed", *migrate, env=armed(shop, point)))
        assert shop.start("migrates", *migrate).ends().exit_code == 0
        produce(shop)
        shop.worker("clean")
        invariants.all_finished(shop)
        invariants.check(shop)


@pytest.mark.parametrize("point", DROP, ids=str)
def test_a_drop_that_dies_can_be_finished_or_mended(ledger_url: str, tmp_path: Path, point: Crashpoint) -> None:
    drop = ("-m", "mirepoix.cli", "--ledger", ledger_url, "drop-tables", "--yes")
    migrate = ("-m", "mirepoix.cli", "--ledger", ledger_url, "migrate")
    with Shop(tmp_path / "shop", ledger_url, has_client=False) as shop:
        nth = 4 if point is Crashpoint.DROP_BEFORE_COMMIT and shop.ledger.source.dialect == "mysql" else 1
        dies(shop, shop.start("armed", *drop, env=armed(shop, point, nth)))  # on MariaDB some tables are gone then
        assert shop.start("migrates", *migrate).ends().exit_code == 0, shop.logs()
        assert shop.ledger.states() == {}
        dies(shop, shop.start("armed-again", *drop, env=armed(shop, point)))
        assert shop.start("drops", *drop).ends().exit_code == 0, shop.logs()
        assert shop.ledger.do(contents) == Contents()
