"""`mirepoix health`: well, not well, and "it cannot be told"; and the probe of one worker, which asks no database."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from cable import Cable
from cli.conftest import Cli
from driver import Ledger
from mirepoix.config import Settings
from mirepoix.connect.url import source_for
from mirepoix.daemons import probe
from mirepoix.daemons.leases import Leases
from mirepoix.daemons.maintenance import Maintenance
from mirepoix.daemons.probe import Beat, Probe
from mirepoix.ledger import workers
from mirepoix.operations import health
from mirepoix.records import Worker
from pace import until
from servers import Served

NOWHERE = "postgresql://nobody:s3cret@127.0.0.1:1/none"


@pytest.fixture(autouse=True)
def probes(tmp_path, monkeypatch):
    monkeypatch.setenv(probe.FOLDER, str(tmp_path / "probes"))


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """Somebody has the table of workers for themselves, as ALTER TABLE does."""
    connection = ledger.source.open()
    try:
        if ledger.source.dialect == "mysql":
            with connection.raw.cursor() as cursor:
                cursor.execute("LOCK TABLES mirepoix_worker WRITE")
                yield
                cursor.execute("UNLOCK TABLES")
        else:
            with connection.transaction() as tx:
                tx.script("LOCK TABLE mirepoix_worker")
                yield
    finally:
        connection.close()


def test_a_locked_table_is_no_news_of_the_workers(served: Served):
    cli = Cli(served.url)
    with Ledger(source_for(served.url)) as ledger:
        ledger.worker("w1")
        with locked(ledger):
            report = cli.json("--timeout", "1s", "health", code=3)
            assert report["status"] == "unknown"
            judged = [(check["name"], check["is_ok"]) for check in report["checks"]]
            assert judged == [("ledger", None), ("schema", True)]
            said = cli("--timeout", "1s", "status", code=2).stderr
            assert "gave no answer" in said
            assert "--timeout" in said
        assert cli.json("health")["status"] == "well"
        ledger.source.close()


def test_a_server_that_says_nothing_is_no_news_of_the_workers(postgresql_url: str):
    with Cable(postgresql_url) as cable:
        cable.cut()
        assert Cli(cable.url).json("--timeout", "1s", "health", code=3)["status"] == "unknown"


def test_a_heartbeat_that_was_held_up_with_the_look_is_waited_for(cli, ledger):
    ledger.worker("w1", ttl_s=1)
    ledger.passes(60)
    beat = threading.Timer(0.3, lambda: ledger.do(workers.heartbeat, "w1", 60.0, 0.0))
    beat.start()
    report = cli.json("health")
    beat.join()
    assert report["status"] == "well"


def test_a_heartbeat_that_stays_out_is_told(cli, ledger, monkeypatch):
    monkeypatch.setattr(health, "LOOK_AGAIN_S", 0.3)
    ledger.worker("w1", ttl_s=1)
    ledger.passes(60)
    assert "no worker is alive; the heartbeats of 1 worker stopped" in cli("health", code=1).stdout


def test_what_status_calls_critical_is_not_well(cli, ledger):
    ledger.worker("w1")
    ledger.send("a", queue="mail")
    assert cli.json("status")["verdict"] == "critical"
    assert (
        "FAIL queues: a task in queue 'mail' has waited 0s; the queue has no consumer" in cli("health", code=1).stdout
    )


# The probe of one worker


def asked(name: str, code: int) -> str:
    (check,) = Cli(NOWHERE).json("health", "--worker", name, code=code)["checks"]
    return check["message"]


def test_a_worker_says_that_it_lives_until_it_stops_with_its_ledger_or_without(postgresql_url: str):
    with Cable(postgresql_url) as cable:
        source = source_for(cable.url)
        leases = Leases(source, Settings(lease_ttl_s=1.5), Worker("", "celery@web/1", "here", os.getpid()))
        leases.incarnation.register()
        maintenance = Maintenance(leases)
        assert "no worker 'celery@web/1' runs here" in asked("celery@web/1", code=3)
        maintenance.start()
        try:
            until(lambda: probe.last_beat("celery@web/1"), "the worker has said that it lives")
            assert "were at work" in asked("celery@web/1", code=0)
            cable.cut()
            until(lambda: probe.last_beat("celery@web/1").ledger_away_s, "the worker has missed its ledger")
            assert "the ledger has given it no answer for" in asked("celery@web/1", code=0)
            cable.mend()
        finally:
            maintenance.stop()
            leases.close()
            source.close()
        assert "no worker" in asked("celery@web/1", code=3)


@pytest.mark.parametrize(
    ("ago_s", "process", "code"),
    [(0.0, "of another host", 0), (0.0, None, 0), (3600.0, None, 1)],
)
def test_a_worker_that_does_not_come_round_is_not_well(ago_s: float, process: str | None, code: int):
    path = probe.path_of("w1")
    path.parent.mkdir()
    path.write_text(json.dumps(asdict(Beat(time.monotonic() - ago_s, 1800.0, 7, process))))
    assert "were at work" in asked("w1", code)


def test_a_worker_that_was_killed_is_not_well():
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        Probe("killed", 1.0).beat(0.0, None)
        os.write(writer, b"x")
        os._exit(0)
    os.read(reader, 1)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert f"the process {child} of killed is gone" in asked("killed", code=1)


def test_a_file_that_says_nothing_is_no_answer(tmp_path):
    path = probe.path_of("odd")
    path.parent.mkdir()
    for text in ("", "[]", '{"at": 1}'):
        path.write_text(text)
        assert "cannot be read" in asked("odd", code=3)


def test_a_folder_that_cannot_be_written_costs_a_worker_nothing(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv(probe.FOLDER, str(tmp_path / "file" / "folder"))
    written = Probe("w1", 1.0)
    for _ in range(2):
        written.beat(0.0, None)
    written.remove()
    assert caplog.text.count("cannot be written") == 1
