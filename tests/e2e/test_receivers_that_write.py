"""On SQLite no code of the user's runs while a transaction of ours has the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from celery import chord
from workers import DEADLINE_S, Shop

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_receiver_may_write_when_a_chord_goes_on(sqlite_url: str, tmp_path: Path, pool: str) -> None:
    """It waited 30 s for the lock that the worker held."""
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        shutil.copyfile(Path(__file__).with_name("noting.py"), shop.folder / "noting.py")
        worker = shop.worker("w1", "--include", "noting", pool=pool)
        header = [shop.task("add", 1, number) for number in range(3)]
        assert chord(header, shop.task("collect"), app=shop.app).delay().get(timeout=DEADLINE_S) == [1, 2, 3]
        failing = shop.task("collect").on_error(shop.task("old_errback").set(task_id="errback"))
        chord([shop.task("note"), shop.task("fail")], failing, app=shop.app).delay()
        expiring = shop.task("collect").on_error(shop.task("old_errback").set(task_id="errback-of-expired"))
        chord([shop.task("note"), shop.task("note").set(queue="nobody", expires=0.5)], expiring, app=shop.app).delay()
        shop.wait(["errback", "errback-of-expired"], "succeeded")
        assert "locked" not in worker.said
