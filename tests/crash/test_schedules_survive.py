"""Workers die at every step of a fire: each fire time has one decision, and each run that it names is one task."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from test_every_crashpoint import armed, dies
from workers import Shop, until

from mirepoix.crashpoints import Crashpoint
from mirepoix.ledger import schedules

pytestmark = pytest.mark.slow

EVERY_S = 0.5
CONF = {"beat_schedule": {"tick": {"task": "shop.note", "schedule": EVERY_S}}}
FIRING = [point for point in Crashpoint if point.partition(".")[0] in ("fire", "settle", "schedule")]
DONE = ("sent", "ran")


def fires(shop: Shop, name: str = "tick") -> list[schedules.FireRow]:
    """The decisions, the oldest first."""
    return shop.ledger.do(schedules.latest, name, 10_000)[::-1]


def check(shop: Shop, name: str = "tick") -> None:
    """One decision for each fire time, none left out, and one task for each that was sent."""
    found = fires(shop, name)
    assert all(two.fire_at - one.fire_at == timedelta(seconds=EVERY_S) for one, two in pairwise(found))
    assert all(fire.reason for fire in found if fire.state not in DONE)
    named = [fire.task_id for fire in found if fire.task_id is not None]
    assert len(named) == len({*named})
    assert {*named} == {*shop.ledger.states()}


@pytest.mark.parametrize("point", FIRING, ids=str)
def test_a_worker_dies_while_it_fires(shop: Shop, point: Crashpoint) -> None:
    nth = 1 if point.startswith("schedule") else 3
    dies(shop, shop.worker("armed", env=armed(shop, point, nth), conf=CONF, schedules=True, is_awaited=False))
    before = len(fires(shop))
    worker = shop.worker("clean", conf=CONF, schedules=True)
    until(lambda: len([fire for fire in fires(shop) if fire.state == "ran"]) >= 3, "it fires again, and runs end")
    until(lambda: len(fires(shop)) >= before + 3, "there are more fire times")
    worker.stop()
    check(shop)


BUFFERED = [Crashpoint.FIRE_BUFFERED_BEFORE_COMMIT, Crashpoint.FIRE_BUFFERED_AFTER_COMMIT]


@pytest.mark.parametrize("point", BUFFERED, ids=str)
def test_a_worker_dies_while_it_sends_what_was_buffered(shop: Shop, point: Crashpoint) -> None:
    (shop.folder / "slow.py").write_text(
        "import mirepoix\nfrom shop import app\n"
        f"app.conf.beat_schedule = {{'tick': {{'task': 'shop.gate', 'args': ['open'],\n"
        f"    'schedule': mirepoix.Schedule(every_s={EVERY_S}, overlap='buffer_all')}}}}\n"
    )
    options = {"schedules": True, "concurrency": 1}
    victim = shop.worker("armed", "--include", "slow", env=armed(shop, point), is_awaited=False, **options)
    until(lambda: [fire for fire in fires(shop) if fire.state == "buffered"], "a fire time waits")
    assert len(shop.ledger.states()) == 1
    shop.make("open")
    dies(shop, victim)
    worker = shop.worker("clean", "--include", "slow", **options)
    until(lambda: len([fire for fire in fires(shop) if fire.state == "ran"]) >= 3, "they run one after another")
    worker.stop()
    check(shop)


OPERATORS = [point for point in Crashpoint if point.partition(".")[0] in ("run_schedule", "backfill")]


@pytest.mark.parametrize("point", OPERATORS, ids=str)
def test_an_operator_dies_who_sends_runs(shop: Shop, point: Crashpoint) -> None:
    """The command can be repeated: a backfill sends each fire time once, and a run that was sent has a row."""
    command = ("-m", "celery", "-A", "shop", "mirepoix", "schedules")
    plan = ("--every", "10m", "--aligned", "--overlap", "skip")
    assert shop.start("adds", *command, "add", "tick", "shop.note", *plan).ends().exit_code == 0, shop.logs()
    shop.ledger.write("UPDATE mirepoix_schedule SET fired_until = '2040-01-01 00:00:00'")
    asked = ("run-now", "tick")
    if point.startswith("backfill"):
        asked = (
            "backfill",
            "tick",
            "--from",
            "2026-01-01T00:00",
            "--to",
            "2026-01-01T00:30",
            "--overlap",
            "allow",
            "-y",
        )
    dies(shop, shop.start("armed", *command, *asked, env=armed(shop, point)))
    is_committed = point.endswith("after_commit")
    assert len(fires(shop)) == len(shop.ledger.states()) == is_committed
    assert shop.start("again", *command, *asked).ends().exit_code == 0, shop.logs()
    assert len(fires(shop)) == len(shop.ledger.states()) == (4 if point.startswith("backfill") else 1 + is_committed)


def test_several_workers_fire_each_time_once(shop: Shop) -> None:
    workers = [shop.worker(f"w{number}", conf=CONF, schedules=True) for number in range(3)]
    until(lambda: len(fires(shop)) >= 8, "they fire")
    for worker in workers:
        worker.stop()
    check(shop)
    ((recorded,),) = shop.ledger.query("SELECT revision FROM mirepoix_schedule")
    assert recorded == 0


def test_without_the_setting_a_worker_fires_nothing(shop: Shop) -> None:
    shop.worker(conf=CONF)
    id = shop.send("note")
    shop.wait(id, "succeeded")
    assert shop.ledger.query("SELECT count(*) FROM mirepoix_schedule") == [(0,)]
    assert {*shop.ledger.states()} == {id}
