"""`mirepoix status` and `health`: is anything lost, late or dead, or waits for you?"""

from __future__ import annotations

import re

import pytest

from driver import envelope
from mirepoix.ledger import enqueue, workers


def findings(cli, *words):
    return [(one["kind"], one["severity"], one["count"]) for one in cli.json("status", *words)["findings"]]


@pytest.fixture
def worker(ledger):
    return ledger.worker("w1")


WORDS_OF_BEFORE = re.compile(r"stuck|serves it|\btaken\b|\bleased\b|\bkept\b")


def test_people_read_the_words_of_today(cli, ledger, ended):
    for state in ("leased", "failed", "quarantined", "parked"):
        ended(state, state)
    ledger.send("elsewhere", queue="mail")
    ledger.send("later", eta="2999-01-01T00:00:00+00:00")
    ledger.passes(120)
    read = [
        cli("status").stdout,
        cli("tasks", columns=200).stdout.replace("leased", "", 1),  # its id
        cli("failures", columns=200).stdout,
        cli("health", "--max-age", "1m", code=1).stdout,
        cli("show", "leased").stdout.replace("leased", "").replace("mirepoix cancel", ""),
    ]
    assert not [found for text in read for found in WORDS_OF_BEFORE.findall(text)]
    for words in ("waiting for you 2", "failed for good 1", "no consumer for queue 'mail'"):
        assert words in read[0]
    assert "handed to a worker over 1m ago" in read[0]
    assert "handed to a worker" in read[1]
    assert "scheduled" in read[1]
    assert cli("tasks", "--ids", "--state", "scheduled").stdout.split() == ["later"]
    assert set(cli("tasks", "--ids", "--state", "pending").stdout.split()) == {"later", "elsewhere"}


@pytest.mark.parametrize("words", [("retry",), ("requeue",), ("failures", "replay")])
def test_help_tells_retry_requeue_and_replay_apart(cli, words):
    said = " ".join(cli(*words, "--help").stdout.split())
    for part in (
        "retry runs failed tasks,",
        "requeue also runs quarantined",
        "failures replay runs all failed tasks of one",
    ):
        assert part in said


def test_a_ledger_at_rest_with_a_worker_is_well(cli, worker):
    assert "ALL WELL" in cli("status").stdout
    assert cli.json("status")["verdict"] == "ok"
    assert cli.json("health")["status"] == "well"


def test_no_worker_is_critical(cli):
    assert findings(cli) == [("dead", "critical", 0)]
    assert "ACT NOW" in cli("status").stdout
    assert "FAIL workers" in cli("health", code=1).stdout


def test_a_queue_that_nobody_serves_is_critical_at_once(cli, ledger, worker):
    ledger.send("a", queue="mail")
    assert findings(cli) == [("late", "critical", 1)]
    assert "no consumer for queue 'mail'" in cli("status").stdout


def test_a_task_is_late_only_after_that_long(cli, ledger, worker):
    ledger.send("a")
    ledger.passes(120)
    assert findings(cli) == [("late", "warning", 1)]
    assert findings(cli, "--late-after", "3m") == []
    cli("health", "--max-age", "3m")
    assert "FAIL queues: a task in queue 'celery' has waited 2m" in cli("health", "--max-age", "1m", code=1).stdout


def test_a_task_that_is_due_tomorrow_is_scheduled_and_not_late(cli, ledger, worker):
    ledger.send("a", eta="2999-01-01T00:00:00+00:00")
    ledger.passes(120)
    (queue,) = cli.json("status")["queues"]
    assert (queue["waiting"], queue["scheduled"], queue["oldest_s"]) == (0, 1, None)
    assert findings(cli) == []


def test_a_task_that_came_due_waits_since_then(cli, ledger, worker):
    ledger.send("a", eta="2999-01-01T00:00:00+00:00")
    ledger.passes(7200)
    due = "due_at = {earlier 30}, eta = {earlier 30}"
    ledger.write(f"UPDATE mirepoix_task SET {due}")
    (queue,) = cli.json("status")["queues"]
    assert queue["waiting"] == 1
    assert 29 < queue["oldest_s"] < 60


def test_a_task_given_back_waits_since_then_and_not_since_it_was_sent(cli, ledger, worker):
    ledger.send("a")
    lease = ledger.lease(worker)
    ledger.start(lease)
    ledger.passes(7200)
    ledger.give_back(worker, [lease])
    (queue,) = cli.json("status")["queues"]
    assert queue["oldest_s"] < 60


def test_a_retry_that_came_due_waits_since_its_eta(cli, ledger, worker):
    ledger.send("a")
    ledger.retry(ledger.lease(worker), eta="2999-01-01T00:00:00+00:00")
    ledger.passes(7200)
    ledger.write("UPDATE mirepoix_task SET due_at = NULL, eta = {earlier 30}")
    (queue,) = cli.json("status")["queues"]
    assert 29 < queue["oldest_s"] < 60


@pytest.mark.parametrize("how", ["requeue", "retry", "run_now", "send again"])
def test_a_task_that_is_to_run_again_waits_since_then(cli, ledger, worker, ended, how):
    if how == "run_now":
        ledger.send("a", eta="2999-01-01T00:00:00+00:00")
    else:
        ended("failed", "a")
    ledger.passes(600)
    if how == "send again":
        ledger.send("a")
    else:
        cli({"run_now": "retry"}.get(how, how), "a")
    assert cli.json("status")["queues"][0]["oldest_s"] < 60
    assert findings(cli) == []
    ledger.passes(120)
    assert findings(cli) == [("late", "warning", 1)]


def test_a_retry_after_a_requeue_waits_since_it_came_due(cli, ledger, worker, ended):
    ended("failed", "a")
    cli("requeue", "a")
    lease = ledger.lease(worker)
    ledger.start(lease)
    ledger.retry(lease)
    assert ledger.row("a")["requeued_at"] is None


def test_failures_are_counted_though_more_has_finished_than_is_counted(cli, ledger, worker, ended, monkeypatch):
    from mirepoix.cli import status
    from mirepoix.ledger.query import health

    for module in (health, status):
        monkeypatch.setattr(module, "COUNTED_MOST", 3)
    for n in range(4):
        ended("succeeded", f"s{n}")
    ended("failed", "f")
    assert "last hour  3+ succeeded  1 failed for good\n" in cli("status").stdout


def test_taken_and_not_started_is_late_too(cli, ledger, worker):
    ledger.send("a")
    ledger.lease(worker)
    ledger.passes(120)
    assert findings(cli) == [("late", "warning", 1)]
    assert "handed to a worker over 1m ago, not started" in cli("status").stdout


def test_tasks_of_a_dead_worker_that_nobody_takes_back_are_lost(cli, ledger, worker):
    ledger.worker("w2")
    ledger.send("a")
    ledger.start(ledger.lease("w2"))
    ledger.die("w2")
    ledger.passes(10)
    assert ("lost", "critical", 1) in findings(cli)
    assert ("dead", "warning", 1) in findings(cli)
    assert "FAIL reaper: 1 task held" in cli("health", code=1).stdout
    ledger.reap()
    assert [kind for kind, _, _ in findings(cli)] == ["dead"]


def test_the_deaths_of_one_name_are_one_line_and_hide_nobody(cli, ledger, worker, ended):
    ended("quarantined", "q")
    for n in range(11):
        incarnation = ledger.worker(f"x{n}")
        ledger.write(f"UPDATE mirepoix_worker SET name = 'celery@invoices' WHERE id = '{incarnation}'")
        ledger.die(incarnation)
    ledger.passes(60)
    assert findings(cli)[:2] == [("stuck", "warning", 1), ("dead", "warning", 11)]
    screen = cli("status").stdout
    assert "worker celery@invoices died 11 times, last 1m" in screen
    assert "DEAD 11 times" in screen
    assert "w1@host" in screen
    assert "more (--all)" not in screen
    assert len(cli.json("status")["workers"]) == 13
    again = ledger.worker("again")
    ledger.write(f"UPDATE mirepoix_worker SET name = 'celery@invoices' WHERE id = '{again}'")
    assert "ago, and is alive again" in cli("status").stdout


def test_a_silent_worker_does_not_count_as_alive(cli, ledger):
    ledger.worker("w1", ttl_s=1)
    ledger.passes(60)
    assert ("dead", "critical", 1) in findings(cli)


def test_a_worker_whose_maintenance_does_not_come_round_is_not_well(cli, ledger):
    ledger.worker("w1")
    ledger.do(workers.heartbeat, "w1", 60.0, 29.0)
    assert "ok   reaper" in cli("health").stdout
    ledger.do(workers.heartbeat, "w1", 60.0, 31.5)
    assert "FAIL reaper" in cli("health", code=1).stdout
    assert "the maintenance of w1@host has not completed a round for 31s" in cli("health", code=1).stdout


def test_what_waits_for_a_decision_is_counted_with_its_newest(cli, ended):
    ended("failed", "f1")
    ended("failed", "f2")
    ended("quarantined", "q")
    ended("parked", "p")
    assert findings(cli) == [("stuck", "warning", 1), ("stuck", "warning", 1), ("failed", "warning", 2)]
    kept = {one["state"]: (one["count"], one["newest_id"]) for one in cli.json("status")["kept"]}
    assert kept == {"quarantined": (1, "q"), "parked": (1, "p"), "failed": (2, "f2")}


def test_failures_of_yesterday_are_listed_but_no_news(cli, ledger, ended):
    ended("failed", "a")
    ledger.passes(5000)
    assert all(kind != "failed" for kind, _, _ in findings(cli))
    assert cli.json("status")["kept"][0]["count"] == 1


def test_the_last_hour_is_counted_and_older_is_not(cli, ledger, ended):
    ended("succeeded", "old")
    ledger.passes(3700)
    ended("succeeded", "new")
    ended("failed", "bad")
    assert cli.json("status")["last_hour"] == {"succeeded": 1, "failed": 1, "cancelled": 0, "expired": 0}


def test_a_worker_is_shown_with_what_it_does(cli, ledger, worker):
    ledger.send("a", "b")
    ledger.start(ledger.lease(worker))
    ledger.lease(worker)
    (seen,) = cli.json("status")["workers"]
    assert (seen["name"], seen["running"], seen["held"], seen["is_alive"]) == ("w1@host", 1, 2, True)


def test_a_hundred_queues_still_fit_one_screen(cli, ledger, worker):
    for n in range(100):
        ledger.do(enqueue.add, [envelope(queue=f"queue-with-a-long-name-{n}")])
    screen = cli("status").stdout.splitlines()
    assert len(screen) <= 30
    assert max(map(len, screen[1:])) <= 80  # the first line names the ledger, whole
    assert "95 queues more (--all)" in cli("status").stdout
    assert len(cli("status", "--all").stdout.splitlines()) > 100


def test_versions_are_told(cli, ledger):
    from importlib.metadata import version

    ledger.worker("w1")
    ledger.write("""UPDATE mirepoix_worker SET software = '{"mirepoix": "0.9", "celery": "5.5.3"}'""")
    screen = cli("status", columns=160).stdout
    assert f"1 worker: mirepoix 0.9, celery 5.5.3 · this command: mirepoix {version('mirepoix')}" in screen
    assert cli.json("status")["workers"][0]["software"]["celery"] == "5.5.3"
    assert cli("--version").stdout == f"mirepoix {version('mirepoix')}\n"


def test_status_has_the_documented_keys(cli, worker):
    assert list(cli.json("status")) == [
        *("ledger", "at", "verdict", "findings", "late_after_s", "queues", "paused", "kept", "last_hour", "workers"),
        *("stranded", "alerts", "former_broker"),
    ]


def test_health_names_every_check(cli, worker):
    report = cli.json("health")
    assert [check["name"] for check in report["checks"]] == ["ledger", "schema", "workers", "queues", "reaper"]
    assert report["exit_code"] == 0
