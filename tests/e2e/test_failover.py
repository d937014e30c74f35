"""A real failover of PostgreSQL: the primary dies, its standby answers read-only for a while, then is promoted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workers import Shop, until

from driver import Ledger, migrate_ledger
from failover import Address, Standby
from mirepoix.connect.url import source_for
from servers import PostgresServer, require_postgres

pytestmark = pytest.mark.slow


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, Standby]]:
    """A primary and its standby."""
    primary = PostgresServer(require_postgres())
    try:
        primary.start()
        migrate_ledger(primary.url())
        standby = Standby(require_postgres(), primary)
        try:
            yield primary, standby
        finally:
            standby.remove()
    finally:
        primary.remove()


def test_nothing_is_lost_and_no_worker_ends(pair: tuple[PostgresServer, Standby], tmp_path: Path) -> None:
    primary, standby = pair
    with Address(primary.port) as address:
        url = primary.url().replace(str(primary.port), str(address.port))
        with Shop(tmp_path / "shop", url) as shop:
            workers = [shop.worker("processes"), shop.worker("threads", pool="threads")]
            running = [shop.send("gate", "open") for _ in range(3)]
            running.append(shop.send("gate", "open", link=shop.task("note").set(task_id="link")))
            for id in running:
                shop.begun(id)
            waiting = [shop.send("note"), shop.send("note", countdown=1)]

            primary.kill()
            address.move(standby.port)
            for worker in workers:
                worker.says("during recovery")
            shop.make("open")
            until(lambda: all(shop.effects(id, "end") for id in running), "their code ended meanwhile")
            until(lambda: any("cannot be recorded yet" in one.said for one in workers), "one cannot be recorded")
            standby.promote()
            shop.ledger.connection.close()
            shop.app.mirepoix.source.close()
            shop.ledger = Ledger(source_for(url))

            after = shop.send("note")
            done = [*running, *waiting, "link", after]
            shop.wait(done, "succeeded")
            assert {id: shop.runs(id) for id in done} == dict.fromkeys(done, 1)
            assert shop.ledger.query("SELECT DISTINCT state FROM mirepoix_worker") == [("alive",)]
            assert all(worker.is_running for worker in workers)
