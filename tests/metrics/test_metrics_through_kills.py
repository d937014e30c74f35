"""Exported counters equal what the tasks did and what the ledger's rows say, whoever is killed and whenever."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from scraped import samples, total
from workers import Shop, until

from mirepoix.crashpoints import Crashpoint
from mirepoix.metrics import exporter_of
from mirepoix.states import FINAL

pytestmark = pytest.mark.slow


def rows(shop: Shop) -> Counter[str]:
    """The ended attempts in the tables, by outcome, in a query that has nothing in common with the exporter's."""
    found = Counter(dict(shop.ledger.query("SELECT outcome, count(*) FROM mirepoix_attempt GROUP BY outcome")))
    ((succeeded,),) = shop.ledger.query("SELECT count(*) FROM mirepoix_task WHERE state = 'succeeded'")
    return found + Counter(succeeded=succeeded)


def exported(text: str) -> Counter[str]:
    """The same as the exporter says it."""
    found: Counter[str] = Counter()
    for (name, labels), value in samples(text).items():
        if name == "mirepoix_attempts_total":
            found[dict(labels)["outcome"]] += int(value)
    return found


def text_of(shop: Shop) -> str:
    """What an exporter says that has just been started."""
    exporter = exporter_of(shop.url)
    try:
        return exporter.text()
    finally:
        exporter.close()


def falls(before: dict[object, float], after: dict[object, float]) -> list[object]:
    """The counters that fell."""
    return [
        series
        for series, value in before.items()
        if series[0].endswith(("_total", "_count", "_bucket")) and after.get(series, 0) < value  # type: ignore[index]
    ]


@pytest.mark.parametrize("kills", [6])
def test_counters_equal_the_rows_through_kills(shop: Shop, kills: int) -> None:
    exporter = exporter_of(shop.url)
    worker = shop.worker("w0", concurrency=2, max_deaths=100, max_handovers=100)
    seen: dict[object, float] = {}
    ids = []
    for number in range(kills):
        gate = shop.send("gate", f"open-{number}")
        ids += [gate, shop.send("note"), shop.send("fail")]
        shop.begun(gate)
        if number % 2:
            worker.remove()
            worker = shop.worker(f"w{number + 1}", concurrency=2, max_deaths=100, max_handovers=100)
        else:
            os.kill(shop.effects(gate, "begin")[-1].pid, signal.SIGKILL)
        shop.begun(gate, 2)
        shop.make(f"open-{number}")
        shop.wait(gate, "succeeded")
        now = samples(exporter.text())
        assert falls(seen, now) == []
        seen = now
    until(lambda: all(shop.state(id) in FINAL for id in ids), "everything has ended")
    found = exported(exporter.text())
    assert found == rows(shop) == exported(text_of(shop))
    assert found["succeeded"] == 2 * kills
    assert found["failed"] == kills
    assert found["killed"] + found["lost"] >= kills
    assert total(exporter.text(), "mirepoix_recoveries_total") == found["killed"] + found["lost"]
    exporter.close()


@pytest.mark.parametrize("point", [Crashpoint.PRUNE_BEFORE_COMMIT, Crashpoint.PRUNE_AFTER_COMMIT], ids=str)
def test_a_worker_that_dies_while_it_prunes_counts_each_attempt_once(shop: Shop, point: Crashpoint) -> None:
    ids = [shop.send("note") for _ in range(5)]
    shop.worker("first")
    shop.wait(ids, "succeeded")
    before = exported(text_of(shop))
    assert before == {"succeeded": 5}
    shop.make("token")
    env = {"MIREPOIX_CRASHPOINT": str(point), "MIREPOIX_CRASHPOINT_TOKEN": str(shop.folder / "token")}
    prunes = {"retention_s": 0.0, "prune_interval_s": 0.2}
    armed = shop.worker("armed", env=env, is_awaited=False, **prunes)
    assert armed.ends().exit_code == -9
    assert exported(text_of(shop)) == before
    shop.worker("clean", **prunes)
    until(lambda: not shop.ledger.states(), "everything was pruned")
    assert exported(text_of(shop)) == before
