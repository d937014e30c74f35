"""`retry`, `requeue`, `cancel`, `discard`: they do what they say, and say what they did not do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import fork_server
from mirepoix.crashpoints import Crashpoint
from mirepoix.operations.batches import BATCH
from pace import DEADLINE_S

LATER = "2999-01-01T00:00:00+00:00"


def test_retry_runs_a_failed_task_again(cli, ledger, ended):
    ended("failed", "a")
    assert cli("retry", "a").stdout.split() == ["requeued:", "1", "task", "a"]
    assert ledger.state("a") == "pending"


def test_retry_hastens_a_task_that_waits_for_its_time(cli, ledger):
    ledger.send("a", eta=LATER)
    assert cli.json("retry", "a")["done"] == [{"id": "a", "did": "due now"}]
    assert ledger.row("a")["due_at"] is None


@pytest.mark.parametrize(
    ("verb", "state", "after"),
    [
        *(("requeue", state, "pending") for state in ("failed", "quarantined", "parked")),
        *(("discard", state, "cancelled") for state in ("failed", "quarantined", "parked")),
        ("cancel", "parked", "cancelled"),
        ("retry", "failed", "pending"),
    ],
)
def test_a_decision_changes_the_states_it_may(cli, ledger, ended, verb, state, after):
    ended(state, "a")
    cli(verb, "a")
    assert ledger.state("a") == after


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        *(("retry", state) for state in ("leased", "running", "succeeded", "quarantined", "parked")),
        *(("requeue", state) for state in ("leased", "running", "succeeded")),
        *(("cancel", state) for state in ("leased", "running", "succeeded", "failed", "quarantined")),
        *(("discard", state) for state in ("leased", "running", "succeeded")),
    ],
)
def test_what_a_decision_may_not_change_is_left_and_explained(cli, ledger, ended, verb, state):
    ended(state, "a")
    report = cli.json(verb, "a", code=1)
    assert report["done"] == []
    assert report["not_done"][0]["state"] == state
    assert report["not_done"][0]["why"]
    assert "at the same moment" not in report["not_done"][0]["why"]
    assert ledger.state("a") == state


def test_known_ids_are_served_and_the_others_reported(cli, ledger, ended):
    ended("failed", "a")
    report = cli.json("retry", "a", "nope", code=1)
    assert [one["id"] for one in report["done"]] == ["a"]
    assert [(one["id"], one["state"]) for one in report["not_done"]] == [("nope", None)]


def test_an_ambiguous_prefix_touches_nothing(cli, ledger, ended):
    ended("failed", "ab1")
    ended("failed", "ab2")
    assert "Several tasks begin with 'ab'" in cli("retry", "ab", code=2).stderr
    assert set(ledger.states().values()) == {"failed"}


def test_filters_ask_before_anything_is_changed(cli, ledger, ended):
    ended("failed", "a")
    asked = cli("retry", "--name", "shop.*", answer="n\n", code=2)
    assert "1 task (1 failed)" in asked.stderr
    assert "Nothing was changed" in asked.stderr
    assert ledger.state("a") == "failed"
    cli("retry", "--name", "shop.*", answer="y\n")
    assert ledger.state("a") == "pending"


def test_without_an_answer_nothing_is_changed(cli, ledger, ended):
    ended("failed", "a")
    cli("discard", "--name", "shop.*", answer="", code=2)
    assert ledger.state("a") == "failed"


def test_filters_mean_the_states_of_the_verb_unless_others_are_named(cli, ledger, ended):
    ended("failed", "failed")
    ended("quarantined", "quarantined")
    ledger.send("pending")
    ledger.cancel("pending")
    cli("retry", "--name", "*", "--yes")
    assert ledger.states() == {"failed": "pending", "quarantined": "quarantined", "pending": "cancelled"}
    cli("requeue", "--state", "cancelled", "--yes")
    assert ledger.state("pending") == "pending"


def test_neither_ids_nor_filters_is_refused(cli, ledger, ended):
    ended("failed", "a")
    assert "Say which tasks" in cli("discard", "--yes", code=2).stderr
    assert "not both" in cli("discard", "a", "--state", "failed", code=2).stderr
    assert ledger.state("a") == "failed"


def test_filters_that_match_nothing_change_nothing(cli):
    assert "nothing was changed" in cli("retry", "--name", "x", "--yes").stdout


def test_the_reason_is_kept(cli, ledger):
    ledger.send("a")
    cli("cancel", "a", "--reason", "wrong customer")
    assert ledger.row("a")["reason"] == "wrong customer"


@pytest.mark.parametrize(
    ("verb", "state"), [("retry", "failed"), ("requeue", "quarantined"), ("discard", "parked"), ("cancel", "pending")]
)
def test_who_decided_is_kept_and_shown(cli, ledger, ended, verb, state):
    if state == "pending":
        ledger.send("a")
    else:
        ended(state, "a")
    cli(verb, "a", "--by", "ann", "--reason", "wrong customer")
    (decision,) = cli.json("show", "a")["decisions"]
    assert (decision["verb"], decision["decided_by"], decision["reason"]) == (verb, "ann", "wrong customer")
    assert f"{verb} by ann: wrong customer" in cli("show", "a").stdout
    cli("requeue" if verb in ("discard", "cancel") else "cancel", "a")
    assert "@" in cli.json("show", "a")["decisions"][1]["decided_by"]


def test_what_was_refused_is_no_decision(cli, ledger, ended):
    ended("succeeded", "a")
    cli("retry", "a", code=1)
    assert ledger.counts()["mirepoix_decision"] == 0


def test_more_than_a_batch_is_done_and_counted(cli, ledger):
    ledger.send(*(f"t{n:05}" for n in range(BATCH + 20)))
    report = cli("cancel", "--queue", "celery", "--yes").stdout
    assert f"cancelled: {BATCH + 20:,} tasks" in report
    assert "and 500 more" in report
    assert set(ledger.states().values()) == {"cancelled"}


@pytest.mark.parametrize(
    ("point", "cancelled"), [(Crashpoint.OPERATE_BEFORE_COMMIT, BATCH), (Crashpoint.OPERATE_AFTER_COMMIT, 2 * BATCH)]
)
def test_a_death_in_the_second_batch_leaves_whole_batches(cli, ledger, point, cancelled):
    ledger.send(*(f"t{n:05}" for n in range(3 * BATCH)))
    command = [sys.executable, "-c", "from mirepoix.cli.main import mirepoix; mirepoix()"]
    died = fork_server.run(
        [*command, "--ledger", cli.url, "cancel", "--queue", "celery", "--yes"],
        Path.cwd(),
        {"MIREPOIX_CRASHPOINT": f"{point}:2"},
        timeout_s=DEADLINE_S,
    )
    assert died.returncode == -9
    assert list(ledger.states().values()).count("cancelled") == cancelled
    cli("cancel", "--queue", "celery", "--yes")
    assert set(ledger.states().values()) == {"cancelled"}
