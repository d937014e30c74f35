"""Schedules in real processes: what a task knows of its schedule, and beats that fire through the rows."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise

import pytest
from workers import Process, Shop, until

from mirepoix.ledger import schedules

pytestmark = pytest.mark.slow

CONF = {"beat_schedule": {"tick": {"task": "shop.note", "schedule": 0.5, "options": {"expires": 3600}}}}


def fires(shop: Shop) -> list[schedules.FireRow]:
    return shop.ledger.do(schedules.latest, "tick", 10_000)[::-1]


def beat(shop: Shop, name: str, *options: str, conf: dict | None = None, **settings: bool) -> Process:
    command = ("-m", "celery", "-A", "shop", "beat", "-l", "info", "--pidfile=", *options)
    return shop.start(name, *command, conf=conf or CONF, **settings)


def test_two_beats_with_the_ledgers_scheduler_send_once_also_if_one_is_killed(shop: Shop) -> None:
    shop.worker()
    scheduler = ("-S", "mirepoix.schedulers:LedgerScheduler")
    beats = [beat(shop, f"beat{number}", *scheduler) for number in range(2)]
    until(lambda: len(fires(shop)) >= 4, "they fire")
    beats[0].kill()
    before = len(fires(shop))
    until(lambda: len([fire for fire in fires(shop) if fire.state == "ran"]) >= before + 2, "the other goes on")
    beats[1].stop()
    found = fires(shop)
    assert all(two.fire_at - one.fire_at == timedelta(seconds=0.5) for one, two in pairwise(found))
    assert sorted(fire.task_id for fire in found if fire.task_id) == sorted(shop.ledger.states())


def test_a_task_knows_its_schedule_and_its_fire_time(shop: Shop) -> None:
    worker = shop.worker(conf=CONF, schedules=True)
    until(lambda: [fire for fire in fires(shop) if fire.state == "ran"], "one ran")
    worker.stop()
    fire = next(fire for fire in fires(shop) if fire.state == "ran")
    ((headers,),) = shop.ledger.query("SELECT headers FROM mirepoix_task WHERE id = :id", id=fire.task_id)
    headers = json.loads(headers) if isinstance(headers, str) else headers
    assert headers["mirepoix_schedule"] == "tick"
    assert headers["mirepoix_fire_at"] == fire.fire_at.isoformat()
    assert headers["expires"]


def test_an_ordinary_beat_beside_workers_that_fire_is_warned_of(shop: Shop) -> None:
    conf = {"beat_schedule": {"rare": {"task": "shop.note", "schedule": 86_400.0}}}
    ordinary = beat(shop, "ordinary", "-s", str(shop.folder / "beat.db"), conf=conf, schedules=True)
    ordinary.says("each task is sent twice").stop()
    own = beat(shop, "own", "-S", "mirepoix.schedulers:LedgerScheduler", conf=conf, schedules=True)
    own.says("the schedules of the code were recorded: rare").stop()
    assert "sent twice" not in own.said


def test_a_schedule_that_cannot_be_stored_stops_the_worker_with_its_name(shop: Shop) -> None:
    (shop.folder / "odd.py").write_text(
        "from celery.schedules import BaseSchedule\nfrom shop import app\n"
        "class Moon(BaseSchedule): ...\n"
        "app.conf.beat_schedule = {'tide': {'task': 'shop.note', 'schedule': Moon()}}\n"
    )
    worker = shop.worker("odd", "--include", "odd", is_awaited=False, schedules=True).ends()
    assert worker.exit_code == 1
    assert "The schedule 'tide' cannot be recorded." in worker.said
    assert "is a Moon, which the ledger cannot store. Use mirepoix.Schedule" in worker.said
