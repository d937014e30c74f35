"""The database's server dies and comes back while tasks run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from workers import Shop, until

from driver import Ledger
from mirepoix.connect.url import source_for
from servers import Served

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(served: Served, tmp_path: Path) -> Iterator[Shop]:
    """A shop whose database the test may kill."""
    with Shop(tmp_path / "shop", served.url) as shop:
        yield shop


def restart(shop: Shop, served: Served) -> None:
    """Start the server; the test's own connections begin anew."""
    served.server.start()
    shop.ledger.connection.close()
    shop.app.mirepoix.source.close()
    shop.ledger = Ledger(source_for(shop.url))


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_nothing_is_lost_and_nothing_runs_twice(shop: Shop, served: Served, pool: str) -> None:
    worker = shop.worker(pool=pool)
    done = [shop.send("note") for _ in range(5)]
    shop.wait(done, "succeeded")
    link = shop.task("note")
    link.freeze()
    running = [shop.send("gate", "open"), shop.send("gate", "open", link=link)]
    waiting = [shop.send("note") for _ in range(5)]
    for id in running:
        shop.begun(id)
    served.server.kill()
    shop.make("open")
    until(lambda: all(shop.effects(id, "end") for id in running), "their code ended while the database was away")
    restart(shop, served)
    shop.wait([*running, *waiting, link.id], "succeeded")
    assert {id: shop.runs(id) for id in (*done, *running, *waiting, link.id)} == dict.fromkeys(
        (*done, *running, *waiting, link.id), 1
    )
    assert worker.is_running


def test_a_process_that_dies_while_the_database_is_away_is_noticed(shop: Shop, served: Served) -> None:
    shop.worker(concurrency=1)
    id = shop.send("gate", "open")
    shop.begun(id)
    until(lambda: shop.state(id) == "running", "the ledger knows that it runs")
    (effect,) = shop.effects(id, "begin")
    served.server.kill()
    os.kill(effect.pid, signal.SIGKILL)
    until(lambda: "died" in shop.logs() or "exited" in shop.logs() or "lost" in shop.logs(), "the parent noticed")
    restart(shop, served)
    shop.make("open")
    shop.wait(id, "succeeded")
    assert (shop.runs(id), shop.row(id)["deaths"]) == (2, 1)
