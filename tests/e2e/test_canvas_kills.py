"""Chains and chords while processes are killed: every one completes, and no callback is sent twice."""

from __future__ import annotations

import os
import random
import signal

import pytest
from celery import chain, chord
from celery.canvas import Signature
from workers import Shop, until

pytestmark = pytest.mark.slow

CHAINS, STEPS = 10, 4
CHORDS, MEMBERS = 5, 6


def test_chains_and_chords_complete_whatever_is_killed(shop: Shop) -> None:
    ids: list[str] = []

    def task(name: str, id: str, *args: float) -> Signature:
        ids.append(id)
        return shop.task(name, *args).set(task_id=id)

    for n in range(CHAINS):
        steps = [task("spin", f"chain-{n}-{step}", 0.05).set(immutable=True) for step in range(STEPS)]
        chain(*steps, app=shop.app).delay()
    for n in range(CHORDS):
        header = [task("add", f"chord-{n}-{place}", n, place) for place in range(MEMBERS - 1)]
        slow = task("spin", f"chord-{n}-slow", 0.1)
        body = task("collect", f"body-{n}").set(link=task("collect", f"link-{n}"))
        chord([*header, slow], body, app=shop.app).delay()
    names = iter(f"w{n}" for n in range(100))
    workers = [shop.worker(next(names), max_deaths=20, max_handovers=50) for _ in range(2)]

    def done() -> int:
        return sum(state == "succeeded" for state in shop.ledger.states().values())

    kills = ["child", "child", "worker", "child", "child", "worker", "child", "child"]
    for number, kind in enumerate(kills):
        until(lambda number=number: done() >= len(ids) * (number + 0.5) / len(kills), "enough is done")
        if kind == "child":
            pool = [pid for worker in workers for pid in worker.children()]
            os.kill(random.choice(pool), signal.SIGKILL)
        else:
            workers.pop(0).remove()
            workers.append(shop.worker(next(names), max_deaths=20, max_handovers=50))
    shop.wait(ids, "succeeded")

    twice = shop.ledger.query(
        "SELECT task_id FROM mirepoix_attempt_history WHERE outcome = 'succeeded' GROUP BY task_id HAVING count(*) > 1"
    )
    assert twice == []
    assert set(shop.ledger.query("SELECT generation, count(*) FROM mirepoix_task GROUP BY 1")) == {(0, len(ids))}
    chords = shop.ledger.query("SELECT size, done, state FROM mirepoix_chord")
    assert chords == [(MEMBERS, MEMBERS, "fired")] * CHORDS
    assert shop.ledger.query("SELECT 1 FROM mirepoix_chord_part") == []
    for n in range(CHORDS):
        expected = [n + place for place in range(MEMBERS - 1)] + [None]
        for run in (*shop.effects(f"body-{n}", "begin"), *shop.effects(f"link-{n}", "begin")):
            assert run.more["values"] == expected
    assert shop.effects(what="overlap") == []
