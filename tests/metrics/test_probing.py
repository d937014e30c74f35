"""Probes go through real workers, and a queue that nobody serves is found."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from scraped import samples, value
from workers import Shop, until

from mirepoix.cli.main import mirepoix as cli
from mirepoix.crashpoints import Crashpoint
from mirepoix.ledger import queue_probes
from mirepoix.metrics import exporter_of

pytestmark = pytest.mark.slow

EVERY = {"queue_probe_interval_s": 0.2}


def text_of(shop: Shop) -> str:
    exporter = exporter_of(shop.url)
    try:
        return exporter.text()
    finally:
        exporter.close()


def probes(shop: Shop) -> list[queue_probes.QueueProbe]:
    return shop.ledger.do(queue_probes.latest)


def sent(shop: Shop) -> int:
    ((count,),) = shop.ledger.query("SELECT count(*) FROM mirepoix_task WHERE name = 'mirepoix.probe_queue'")
    return count


def test_each_queue_of_a_worker_is_probed_again_and_again(shop: Shop) -> None:
    shop.worker("w1", "-Q", "celery,slow", **EVERY)
    until(lambda: sent(shop) >= 6, "several probes ran")
    until(lambda: len(probes(shop)) == 2 and all(p.took_s is not None for p in probes(shop)), "both queues ran one")
    text = text_of(shop)
    for queue in ("celery", "slow"):
        assert 0 < value(text, "mirepoix_probe_seconds", queue=queue) < 60


def test_a_queue_whose_workers_do_nothing_is_found(shop: Shop) -> None:
    worker = shop.worker("w1", concurrency=1, **EVERY)
    until(lambda: [probe for probe in probes(shop) if not probe.is_pending], "a probe ran")
    gate = shop.send("gate", "open")
    shop.begun(gate)
    until(lambda: [probe for probe in probes(shop) if probe.is_pending], "a probe waits behind the task")
    shop.ledger.passes(400)
    assert value(text_of(shop), "mirepoix_probe_pending_seconds", queue="celery") > 300
    ran = CliRunner().invoke(cli, ["--ledger", shop.url, "health"])
    assert "FAIL probes: the probe of queue 'celery' has not run for 6m" in ran.output
    assert ran.exit_code == 1
    shop.make("open")
    assert worker.is_running


@pytest.mark.parametrize("point", [Crashpoint.PROBE_BEFORE_COMMIT, Crashpoint.PROBE_AFTER_COMMIT], ids=str)
def test_a_worker_that_dies_while_it_sends_probes_leaves_none_open(shop: Shop, point: Crashpoint) -> None:
    shop.make("token")
    env = {"MIREPOIX_CRASHPOINT": str(point), "MIREPOIX_CRASHPOINT_TOKEN": str(shop.folder / "token")}
    assert shop.worker("armed", env=env, is_awaited=False, **EVERY).ends().exit_code == -9
    assert sent(shop) == len(probes(shop)) == (0 if point is Crashpoint.PROBE_BEFORE_COMMIT else 1)
    shop.worker("clean", **EVERY)
    until(lambda: sent(shop) >= 3, "probes run again")


def test_without_the_setting_nothing_is_probed(shop: Shop) -> None:
    shop.worker("w1")
    id = shop.send("note")
    shop.wait(id, "succeeded")
    assert sent(shop) == 0
    assert not [name for name, _ in samples(text_of(shop)) if name.startswith("mirepoix_probe")]
