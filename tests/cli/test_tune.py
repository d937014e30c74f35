"""`mirepoix tune`: what was recorded, and what to change."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from functools import partial

import pytest
from celery import Celery

from mirepoix import install
from mirepoix.ledger.query.recorded import recorded
from recording import ran_one_after_another


@pytest.fixture
def ran(ledger):
    """Tasks that ran one after another on one process, each as soon as it was ready."""
    return partial(ran_one_after_another, ledger)


def test_what_is_read_of_a_run(ledger, ran):
    ran(3)
    ledger.send("waits")
    found = ledger.do(recorded, 3_600.0, 100)
    assert [run.name for run in found.runs] == ["shop.mail"] * 3
    first = found.runs[0]
    assert first.waited_s == pytest.approx(0.004, abs=0.01)
    assert first.run_s == 0.9
    assert first.ready_s == pytest.approx(-1_000, abs=5)
    assert first.peak_memory_kb == 90_000
    assert [(span.name, span.concurrency, span.queues, span.ended_s) for span in found.workers] == [
        ("w@host", 1, ("celery",), None)
    ]
    assert found.waiting == {"celery": 1}
    assert not found.is_capped


def test_a_failed_attempt_was_work_too(ledger):
    ledger.worker("w")
    ledger.send("bad")
    (taken,) = ledger.take("w")
    ledger.start(taken.lease)
    ledger.fail(taken.lease)
    ledger.write("UPDATE mirepoix_attempt SET run_time_s = 2.5")
    assert [(run.name, run.run_s) for run in ledger.do(recorded, 60.0, 10).runs] == [("shop.pay", 2.5)]


def test_more_than_the_limit_is_left_out_and_said(cli, ran):
    ran(5)
    assert cli.json("tune", "--limit", "3")["is_capped"] is True
    assert "--limit reads more" in cli("tune", "--limit", "3").stdout


def test_nothing_recorded_is_said(cli, ledger):
    assert "Not enough data" in cli("tune").stdout
    assert cli.json("tune")["tasks"] == 0


def test_an_objective_of_the_command_or_of_the_app_gets_an_answer(cli_of, ran, ledger_url, tmp_path):
    ran(120)
    app = Celery("shop", set_as_current=False)
    install(app, ledger_url, queue_objectives_s={"celery": 30})
    cli = cli_of(app)
    seen = cli.json("tune")
    assert seen["prefetch"] == 1
    assert seen["queues"][0]["objective_s"] == 30
    assert any("keeps its objective of 30s" in one["sentence"] for one in seen["advice"])
    plot = tmp_path / "plot.svg"
    shown = cli("tune", "--objective", "celery=1s", "--plot", str(plot)).stdout
    assert "recorded" in shown
    assert "soft_time_limit=3, time_limit=5" in shown
    assert "worker_max_memory_per_child = 143360" in shown
    root = ET.fromstring(plot.read_text("utf-8"))
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Waiting time in queue celery" in words
    assert "objective 1s" in words


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_screen(cli, ran, columns):
    ran(120)
    rows = [line for line in cli("tune", columns=columns).stdout.splitlines() if "concurrency 1 to" in line]
    assert rows
    assert max(map(len, rows)) <= columns


@pytest.mark.parametrize("words", ["=5s", "celery=soon", "celery=0s"])
def test_a_wrong_objective_is_refused(cli, words):
    assert "objective" in cli("tune", "--objective", words, code=2).stderr


def test_names_of_tasks_cannot_write_into_the_plot(cli, ran, tmp_path):
    ran(120, name="<script>alert(1)</script>")
    plot = tmp_path / "plot.svg"
    cli("tune", "--plot", str(plot))
    assert "<script" not in plot.read_text("utf-8")
    assert json.loads(cli("tune", "--json").stdout)["tasks"] == 120
