"""Processes die: what they ran is run again, and only what was running is blamed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
from workers import POOLS, QUICK, Process, Shop, until

from control_group import with_memory
from driver import moment
from mirepoix.daemons.memory_kills import EVIDENCE

pytestmark = pytest.mark.slow


def test_a_task_whose_process_was_killed_runs_again(shop: Shop) -> None:
    shop.make("die")
    worker = shop.worker()
    id = shop.send("die_once", "die")
    shop.wait(id, "succeeded")
    (killed,) = shop.ledger.attempts(id)
    first, second = shop.effects(id, "begin")
    assert shop.row(id)["deaths"] == 1
    assert (killed["outcome"], killed["signal"], killed["pid"]) == ("killed", 9, first.pid)
    assert killed["peak_memory_kb"] > 10_000
    assert killed["run_time_s"] > 0
    assert second.at - first.at < 3
    assert worker.is_running


def test_a_process_that_ended_itself_is_replaced_at_once(shop: Shop) -> None:
    shop.worker(concurrency=1, max_deaths=4)
    id = shop.send("leave")
    shop.wait(id, "quarantined")
    after = shop.send("note")
    shop.wait(after, "succeeded")
    at = [effect.at for effect in shop.effects(what="begin")]
    assert len(at) == 5
    assert max(later - earlier for earlier, later in pairwise(at)) < 3


@pytest.mark.parametrize("pool", POOLS)
def test_what_a_killed_worker_ran_is_taken_over(shop: Shop, pool: str) -> None:
    victim = shop.worker("victim", pool=pool, concurrency=1)
    id = shop.send("gate", "open")
    shop.begun(id)
    until(lambda: shop.state(id) == "running", "the ledger knows that it runs")
    shop.worker("other", pool=pool, concurrency=1)
    victim.remove()
    shop.begun(id, 2)
    shop.make("open")
    shop.wait(id, "succeeded")
    row = shop.row(id)
    (lost,) = shop.ledger.attempts(id)
    assert (row["deaths"], row["fence"], lost["outcome"]) == (1, 2, "lost")
    assert row["worker_id"].startswith("other@test#")
    assert shop.effects(what="overlap") == []


def test_children_that_outlive_their_worker_are_waited_for(shop: Shop) -> None:
    victim = shop.worker("victim", concurrency=1)
    id = shop.send("spin", 2.0)
    shop.begun(id)
    shop.worker("other", concurrency=1)
    victim.kill()
    shop.wait(id, "succeeded")
    assert shop.effects(what="overlap") == []


def test_what_ends_whole_workers_is_found_and_its_neighbour_runs(shop: Shop) -> None:
    poison = shop.send("die", 9, 0.3)
    innocent = shop.send("gate", "open")

    def is_over(worker: Process) -> bool:
        if shop.runs(innocent) > 1:
            shop.make("open")
        return not worker.is_running or shop.state(poison) == "quarantined"

    number = 0
    while shop.state(poison) != "quarantined":
        number += 1
        worker = shop.worker(f"w{number}", pool="threads", is_awaited=False)
        until(partial(is_over, worker), "it dies, or the cause is found")
    shop.make("open")  # the cause may be found before its neighbour has begun a second time
    shop.wait(innocent, "succeeded")
    assert (shop.row(poison)["deaths"], shop.row(innocent)["deaths"]) == (3, 0)
    assert any(
        "suspect was beside it" in one["error"] or "it was alone" in one["error"]
        for one in shop.ledger.attempts(poison)
    )


def four_suspects(shop: Shop) -> list[str]:
    """Tasks that ran together in a worker that was killed. They wait for the gate again when another worker runs."""
    victim = shop.worker("victim", concurrency=4)
    ids = [shop.send("gate", "open") for _ in range(4)]
    for id in ids:
        shop.begun(id)
    victim.remove()
    return ids


@pytest.mark.parametrize("pool", POOLS)
def test_suspects_run_one_after_the_other_without_a_pause(shop: Shop, pool: str) -> None:
    ids = four_suspects(shop)
    shop.make("open")
    shop.worker("other", pool=pool, poll_interval_s=3600.0)  # no poll finds the next
    shop.wait(ids, "succeeded")
    assert {shop.runs(id) for id in ids} == {2}
    ran = sorted((effect for effect in shop.effects() if effect.name == "shop.gate"), key=lambda effect: effect.at)
    assert [effect.what for effect in ran[-8:]] == ["begin", "end"] * 4


@pytest.mark.parametrize("pool", [pool for pool in POOLS if pool != "solo"])
def test_a_suspect_that_runs_long_does_not_keep_other_places_empty(shop: Shop, pool: str) -> None:
    suspects = four_suspects(shop)
    others = [shop.send("note") for _ in range(4)]
    shop.worker("other", pool=pool, concurrency=2, poll_interval_s=3600.0)  # no poll finds them
    shop.wait(others, "succeeded")
    shop.make("open")
    shop.wait(suspects, "succeeded")
    assert shop.effects(what="overlap") == []


def test_a_process_that_is_replaced_after_some_tasks_is_no_death(shop: Shop) -> None:
    shop.worker("w1", "--max-tasks-per-child", "2")
    ids = [shop.send("note") for _ in range(10)]
    shop.wait(ids, "succeeded")
    assert shop.ledger.query("SELECT DISTINCT fence, deaths, handovers FROM mirepoix_task") == [(1, 0, 0)]
    assert len({effect.pid for effect in shop.effects(what="begin")}) >= 5


def test_a_process_that_is_replaced_for_its_memory_is_no_death(shop: Shop) -> None:
    shop.worker("w1", "--max-memory-per-child", "60000", concurrency=1)
    ids = [shop.send("eat", 80) for _ in range(4)]
    shop.wait(ids, "succeeded")
    assert shop.ledger.query("SELECT DISTINCT fence, deaths, handovers FROM mirepoix_task") == [(1, 0, 0)]
    assert len({effect.pid for effect in shop.effects(what="begin")}) == 4


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)  # the kernel is the same
def test_a_process_that_was_killed_for_memory_is_known_by_that(shop: Shop) -> None:
    options = ["worker", "-n", "w1@test", "-c", "1", "-l", "info", *QUICK]
    code = f"import sys; sys.argv[1:] = ['-A', 'shop', *{options!r}]; from celery.__main__ import main; main()"
    with with_memory(400) as group:
        worker = shop.start("w1", "-c", group.command(code), is_forked=False, max_deaths=1)
        worker.says(" ready.")
        id = shop.send("eat", 1_000)
        shop.wait(id, "quarantined")
        worker.remove()
    (killed,) = shop.ledger.attempts(id)
    assert (killed["outcome"], killed["signal"]) == ("killed", 9)
    assert killed["error"].endswith(EVIDENCE)


def test_time_limits_are_failures_of_the_attempt(shop: Shop) -> None:
    shop.worker()
    soft = shop.send("soft", soft_time_limit=1)
    hard = shop.send("gate", "never", time_limit=1)
    shop.wait([soft, hard], "failed")
    (stopped,) = shop.ledger.attempts(soft)
    (killed,) = shop.ledger.attempts(hard)
    assert "SoftTimeLimitExceeded" in stopped["error_type"]
    assert "wait_for" in stopped["traceback"]
    assert "TimeLimitExceeded" in killed["error_type"]
    assert (killed["outcome"], shop.row(hard)["deaths"], shop.runs(hard)) == ("failed", 0, 1)
    assert 0.9 < killed["run_time_s"] < 3
    assert 0.9 < stopped["run_time_s"] < 3


def errbacks(shop: Shop) -> set[tuple[str, str, str | None]]:
    """Which error callbacks were called for which task, and what they were told."""
    return {
        (effect.more["failed"], effect.name, effect.more.get("error", "").partition("(")[0] or None)
        for effect in shop.effects()
        if effect.what in ("begin", "errback") and "failed" in effect.more
    }


def test_what_kills_its_process_is_quarantined_and_harms_nobody(shop: Shop) -> None:
    told = [shop.task("old_errback"), shop.task("new_errback")]
    late = shop.send("note", expires=datetime.now(UTC) - timedelta(seconds=1), link_error=told)
    shop.worker()
    poison = [shop.send("die", link_error=told), shop.send("die", 11)]
    healthy = [shop.send("spin", 0.02) for _ in range(30)]
    shop.wait(poison, "quarantined")
    shop.wait(healthy, "succeeded")
    until(lambda: len(errbacks(shop)) == 4, "all error callbacks are called")
    assert errbacks(shop) == {
        (poison[0], "shop.old_errback", None),
        (poison[0], "shop.new_errback", "WorkerLostError"),
        (late, "shop.old_errback", None),
        (late, "shop.new_errback", "TaskRevokedError"),
    }
    assert (shop.state(late), shop.runs(late)) == ("expired", 0)
    for id, number in zip(poison, (9, 11), strict=True):
        assert (shop.runs(id), shop.row(id)["deaths"]) == (3, 3)
        attempts = shop.ledger.attempts(id)
        assert [a["outcome"] for a in attempts] == ["killed"] * 3
        # Of a process that died in the moment of beginning, nobody can say what killed it.
        assert {a["signal"] for a in attempts} <= {number, None}
        assert all(a["started_at"] for a in attempts if a["run_time_s"])
    assert {(shop.row(id)["deaths"], shop.runs(id)) for id in healthy} == {(0, 1)}


def test_a_task_longer_than_the_lease_runs_once(shop: Shop) -> None:
    shop.worker("w1", lease_ttl_s=1)
    shop.worker("w2", lease_ttl_s=1)
    id = shop.send("spin", 3.0)
    shop.wait(id, "succeeded")
    assert (shop.runs(id), shop.row(id)["fence"]) == (1, 1)


def test_tasks_that_wait_for_their_eta_outlive_their_worker(shop: Shop) -> None:
    ids = [shop.send("note", countdown=600.0) for _ in range(20)]
    victim = shop.worker("victim")
    shop.wait(shop.send("note"), "succeeded")
    victim.remove()
    shop.ledger.passes(599)  # however long the victim took to start, it has begun none of them
    shop.worker("other")
    shop.wait(ids, "succeeded")
    assert [shop.runs(id) for id in ids] == [1] * 20
    assert all(
        moment(shop.row(id)["started_at"]) + timedelta(seconds=0.01) >= moment(shop.row(id)["eta"]) for id in ids
    )


def test_a_frozen_worker_can_write_nothing_and_goes_on_as_another(shop: Shop) -> None:
    link = shop.task("note")
    link.freeze()
    frozen = shop.worker("frozen", concurrency=1, lease_ttl_s=1)
    id = shop.send("gate", "open", link=link)
    shop.begun(id)
    frozen.freeze()
    other = shop.worker("other", concurrency=1, lease_ttl_s=1)
    shop.begun(id, 2)
    frozen.thaw()
    frozen.says("was declared dead while it lived")
    shop.make("open")
    shop.wait([id, link.id], "succeeded")
    until(lambda: len(shop.effects(id, "end")) == 2, "both runs came to their end")
    frozen.says("was refused")
    row = shop.row(id)
    assert (row["fence"], row["worker_id"].partition("#")[0]) == (2, "other@test")
    assert (shop.runs(link.id), shop.row(link.id)["generation"]) == (1, 0)
    other.stop()
    after = shop.send("note")
    shop.wait(after, "succeeded")
    incarnation = shop.row(after)["worker_id"]
    assert incarnation.startswith("frozen@test#")
    assert incarnation != shop.ledger.attempts(id)[0]["worker_id"]
