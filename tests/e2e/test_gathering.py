"""A task with a strategy of its own: every call is recorded, whether its batch succeeds, fails or dies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from workers import Process, Shop

pytestmark = pytest.mark.slow


def open_gathering(shop: Shop, pool: str = "prefork") -> Process:
    """A worker of one process that knows the task."""
    shutil.copyfile(Path(__file__).with_name("gathering.py"), shop.folder / "gathering.py")
    return shop.worker("w1", "--include", "gathering", pool=pool, concurrency=1)


def batches(shop: Shop) -> list[list[str]]:
    """The calls of each batch that began."""
    return [effect.more["ids"] for effect in shop.effects(what="batch")]


def test_each_call_that_is_gathered_is_recorded(shop: Shop) -> None:
    worker = open_gathering(shop)
    ids = [shop.send("total", n) for n in range(6)]
    shop.wait(ids, "succeeded")
    assert batches(shop) == [ids[:3], ids[3:]]
    shop.make("raise")
    failing = [shop.send("total", n) for n in range(3)]
    shop.wait(failing, "failed")
    assert {shop.row(id)["reason"] for id in failing} == {"ValueError: no stock"}
    assert "raise ValueError" in shop.ledger.attempts(failing[0])[0]["traceback"]
    shop.make("die")
    dying = [shop.send("total", n) for n in range(3)]
    shop.wait(dying, "succeeded")
    assert [sorted(batch) for batch in batches(shop)[3:]] == [sorted(dying)] * 2
    assert {shop.row(id)["fence"] for id in dying} == {2}
    left = shop.send("total", 6)
    shop.wait(left, "leased")
    worker.stop()
    assert shop.state(left) == "pending"
    assert len(batches(shop)) == 5


@pytest.mark.parametrize("way", ["threads", "gevent"])
def test_pools_without_processes_record_gathered_calls(sqlite_url: str, tmp_path: Path, way: str) -> None:
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        open_gathering(shop, way)
        ids = [shop.send("total", n) for n in range(6)]
        shop.wait(ids, "succeeded")
        assert batches(shop) == [ids[:3], ids[3:]]
        shop.make("raise")
        failing = [shop.send("total", n) for n in range(3)]
        shop.wait(failing, "failed")
