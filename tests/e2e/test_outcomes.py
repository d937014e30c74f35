"""What a task does, and what the ledger then says of it: in every pool, on every database."""

from __future__ import annotations

import json

import pytest
from celery import chain, group
from workers import DEADLINE_S, FORKING, Process, Shop, until

from driver import moment

pytestmark = pytest.mark.slow


def test_a_success_is_recorded_with_its_attempt(open_shop: Shop, pool: str) -> None:
    id = open_shop.send("spin", 0.12)
    open_shop.wait(id, "succeeded")
    row = open_shop.row(id)
    (run,) = open_shop.ledger.history(id)
    assert (row["fence"], row["deaths"], row["handovers"], row["retries"]) == (1, 0, 0, 0)
    assert (run["outcome"], run["fence"]) == ("succeeded", 1)
    assert 0.1 < row["run_time_s"] < 3
    assert row["worker_id"].startswith("w1@test#")
    assert row["pid"] == open_shop.effects(id, "begin")[0].pid
    assert moment(row["created_at"]) <= moment(row["leased_at"]) <= moment(row["finished_at"])
    if pool in FORKING:
        assert row["peak_memory_kb"] > 10_000


def test_a_failure_is_kept_with_its_traceback_and_run_time(open_shop: Shop) -> None:
    id = open_shop.send("fail", "no stock")
    open_shop.wait(id, "failed")
    row = open_shop.row(id)
    (run,) = open_shop.ledger.attempts(id)
    assert row["reason"] == "ValueError: no stock"
    assert (run["outcome"], run["error_type"], run["fence"]) == ("failed", "builtins.ValueError", 1)
    assert "raise ValueError(words)" in run["traceback"]
    assert run["pid"] == open_shop.effects(id, "begin")[0].pid
    assert row["run_time_s"] is not None
    assert run["run_time_s"] is not None


def test_an_end_that_a_pool_process_cannot_tell_of_is_recorded_as_well(open_shop: Shop, steady_worker: Process) -> None:
    ends = {how: open_shop.send("unreadable", how) for how in ("retry with an argument", "retry in a queue", "reject")}
    for how, id in ends.items():
        open_shop.wait(id, "failed")
        told = {"retry with an argument": "JSON", "retry in a queue": "queue name", "reject": "one and two"}
        assert told[how] in open_shop.row(id)["reason"]
    raised = open_shop.send("unreadable", "raise")
    open_shop.wait(raised, "failed")
    assert "UnreadableError: one and two" in open_shop.row(raised)["reason"]
    open_shop.wait(open_shop.send("unreadable", "ignore"), "succeeded")
    assert steady_worker.is_running


def test_a_task_sees_the_headers_of_its_caller_and_none_of_ours(open_shop: Shop) -> None:
    send = open_shop.app.send_task
    assert send("shop.headed", headers={"tenant": "blue"}).get(timeout=DEADLINE_S) == {"tenant": "blue"}
    assert not send("shop.headed").get(timeout=DEADLINE_S)


def test_who_waits_for_a_failure_hears_of_the_hard_time_limit(open_shop: Shop, pool: str) -> None:
    if pool not in (*FORKING, "gevent"):
        pytest.skip("this pool has no time limits")
    id = open_shop.send("hooked", "never", time_limit=0.5)
    open_shop.wait(id, "failed")
    heard = {"on_failure", "after_return FAILURE", "task_failure", "request.on_timeout False"}
    if pool in FORKING:
        heard.add("request.on_failure")
    until(lambda: {effect.what for effect in open_shop.effects(id)} - {"begin", "raise"} == heard, "all have heard")
    assert len(open_shop.effects(id, "on_failure")) == 1


def test_a_retry_is_the_same_task_in_a_new_generation(open_shop: Shop) -> None:
    id = open_shop.send("again", 2)
    open_shop.wait(id, "succeeded")
    row = open_shop.row(id)
    assert (row["retries"], row["generation"], row["fence"]) == (2, 2, 3)
    assert [effect.retries for effect in open_shop.effects(id, "begin")] == [0, 1, 2]
    assert [(a["outcome"], a["generation"], a["fence"]) for a in open_shop.ledger.attempts(id)] == [
        ("retried", 0, 1),
        ("retried", 1, 2),
    ]
    assert "not yet" in open_shop.ledger.attempts(id)[0]["error"]


def test_a_retry_with_a_countdown_waits_in_the_ledger(open_shop: Shop) -> None:
    id = open_shop.send("again", 1, 0.7)
    until(lambda: open_shop.row(id)["retries"] == 1, "it asked for a retry")
    row = open_shop.row(id)
    assert (row["state"], row["worker_id"] is None or row["state"] == "pending") == ("pending", True)
    open_shop.wait(id, "succeeded")
    first, second = open_shop.effects(id, "begin")
    assert second.at - first.at >= 0.69


def test_an_automatic_retry_is_given_up_as_its_policy_says(open_shop: Shop) -> None:
    id = open_shop.send("again_by_itself")
    open_shop.wait(id, "failed")
    assert open_shop.runs(id) == 3
    assert [a["outcome"] for a in open_shop.ledger.attempts(id)] == ["retried", "retried", "failed"]
    assert open_shop.row(id)["retries"] == 2


def test_reject_is_a_failure(open_shop: Shop) -> None:
    id = open_shop.send("reject", False)
    open_shop.wait(id, "failed")
    assert open_shop.runs(id) == 1
    assert "not here" in open_shop.row(id)["reason"]


def test_reject_to_the_queue_comes_back_after_a_pause(open_shop: Shop) -> None:
    id = open_shop.send("reject", True, 1)
    open_shop.wait(id, "succeeded")
    first, second = open_shop.effects(id, "begin")
    assert second.at - first.at > 0.9
    assert open_shop.ledger.attempts(id)[0]["outcome"] == "rejected"
    assert open_shop.row(id)["deaths"] == 0


def test_reject_to_the_queue_is_bounded(open_shop: Shop) -> None:
    id = open_shop.send("reject", True)
    open_shop.wait(id, "quarantined")
    assert open_shop.runs(id) == 3
    assert open_shop.row(id)["handovers"] == 3


def test_ignore_is_a_success_with_a_reason(open_shop: Shop) -> None:
    id = open_shop.send("ignore")
    open_shop.wait(id, "succeeded")
    assert open_shop.row(id)["reason"] == "ignored by the task"


def test_sys_exit_is_a_death_and_is_bounded(open_shop: Shop, steady_worker: Process) -> None:
    id = open_shop.send("leave", 3)
    open_shop.wait(id, "quarantined")
    assert open_shop.runs(id) == 3
    assert open_shop.row(id)["deaths"] == 3
    codes = [a["exit_code"] for a in open_shop.ledger.attempts(id)]
    assert codes == ([3] * 3 if open_shop.pool in FORKING else [None] * 3)
    assert steady_worker.is_running


def test_running_out_of_memory_is_a_failure_and_does_not_end_the_worker(
    open_shop: Shop, steady_worker: Process
) -> None:
    id = open_shop.send("out_of_memory")
    open_shop.wait(id, "failed")
    (run,) = open_shop.ledger.attempts(id)
    assert "a list of everything" in run["error"]
    assert "raise MemoryError" in run["traceback"]
    assert steady_worker.is_running


def test_a_chain_runs_in_order_each_step_once(open_shop: Shop) -> None:
    steps = [open_shop.task("add", 1, 2), open_shop.task("add", 3), open_shop.task("add", 4)]
    last = chain(*steps, app=open_shop.app).delay()
    open_shop.wait(last.id, "succeeded")
    ids = [last.parent.parent.id, last.parent.id, last.id]
    assert [open_shop.runs(id) for id in ids] == [1, 1, 1]
    assert json.loads(open_shop.row(last.id)["body"])[0] == [6, 4]
    assert open_shop.row(last.id)["root_id"] == ids[0]
    assert open_shop.row(last.id)["parent_id"] == ids[1]


def test_a_chain_ends_where_a_step_fails(open_shop: Shop) -> None:
    last = chain(open_shop.task("fail"), open_shop.task("note"), app=open_shop.app).delay()
    open_shop.wait(last.parent.id, "failed")
    assert last.id not in open_shop.ledger.states()


def test_a_link_is_sent_with_the_success(open_shop: Shop) -> None:
    link = open_shop.task("add", 10)
    link.freeze()
    id = open_shop.send("add", 1, 2, link=link)
    open_shop.wait([id, link.id], "succeeded")
    assert open_shop.effects(link.id, "begin")[0].more == {"x": 3, "y": 10}
    assert open_shop.row(id)["run_time_s"] is not None


def test_an_errback_of_old_is_sent_with_the_failure(open_shop: Shop) -> None:
    errback = open_shop.task("old_errback")
    errback.freeze()
    id = open_shop.send("fail", link_error=errback)
    open_shop.wait(id, "failed")
    open_shop.wait(errback.id, "succeeded")
    assert open_shop.effects(errback.id, "begin")[0].more == {"failed": id}


def test_an_errback_that_takes_the_error_is_called_once_the_failure_is_known(open_shop: Shop) -> None:
    id = open_shop.send("fail", "no stock", link_error=open_shop.task("new_errback"))
    (told,) = open_shop.errbacks(id)
    error = "ValueError('no stock')"
    assert told.more == {"failed": id, "error": error, "known": ["failed"], "args": ["no stock"], "is_traced": True}


def test_an_errback_is_called_whatever_the_size_of_what_failed(open_shop: Shop) -> None:
    words = "no stock " * 30_000
    id = open_shop.send("fail", words, link_error=open_shop.task("new_errback"))
    (told,) = open_shop.errbacks(id)
    assert told.more["error"] == repr(ValueError(words[:4_096]))
    assert told.more["args"] is None


def test_a_group_runs_each_member_once(open_shop: Shop) -> None:
    members = group([open_shop.task("add", i, i) for i in range(8)], app=open_shop.app).delay()
    ids = [member.id for member in members.results]
    open_shop.wait(ids, "succeeded")
    assert [open_shop.runs(id) for id in ids] == [1] * 8


def test_a_chain_into_a_group_sends_each_member_once(open_shop: Shop) -> None:
    members = [open_shop.task("add", i) for i in range(4)]
    for member in members:
        member.freeze()
    first = open_shop.task("add", 1, 1)
    first.freeze()
    (first | group(members, app=open_shop.app)).delay()
    open_shop.wait([first.id, *(member.id for member in members)], "succeeded")
    assert [open_shop.runs(member.id) for member in members] == [1] * 4


def test_a_task_replaced_by_a_task_is_the_same_task(open_shop: Shop) -> None:
    id = open_shop.send("replaced_by_task")
    open_shop.wait(id, "succeeded")
    assert open_shop.row(id)["name"] == "shop.add"
    assert [effect.name for effect in open_shop.effects(id, "begin")] == ["shop.replaced_by_task", "shop.add"]
    assert [a["outcome"] for a in open_shop.ledger.attempts(id)] == ["retried"]


def test_a_task_replaced_by_a_chain_ends_with_its_last_step(open_shop: Shop) -> None:
    id = open_shop.send("replaced_by_chain")
    until(
        lambda: [e.more for e in open_shop.effects(id, "begin") if e.name == "shop.add"],
        "the last step ran under the replaced task's id",
    )
    open_shop.wait(id, "succeeded")
    assert [e.more for e in open_shop.effects(id, "begin") if e.name == "shop.add"] == [{"x": 3, "y": 3}]


def test_what_a_task_sends_is_a_row_that_knows_its_parent(open_shop: Shop) -> None:
    id = open_shop.send("parent", "child-1", "child-2")
    open_shop.wait([id, "child-1", "child-2"], "succeeded")
    assert {open_shop.row(child)["parent_id"] for child in ("child-1", "child-2")} == {id}


@pytest.mark.parametrize("kind", ["map", "starmap"])
def test_map_and_starmap_run(open_shop: Shop, kind: str) -> None:
    id = open_shop.app.send_task(f"celery.{kind}", kwargs={"task": open_shop.task("note"), "it": [(1, 2), (3, 4)]}).id
    open_shop.wait(id, "succeeded")
    assert open_shop.row(id)["name"] == f"celery.{kind}"


def test_an_errback_that_does_not_fit_is_parked_and_the_failure_is_told_as_it_was(open_shop: Shop) -> None:
    errback = open_shop.task("two").set(task_id="misfit-errback")
    id = open_shop.send("fail", "no stock", link_error=errback)
    open_shop.wait(id, "failed")
    (attempt,) = open_shop.ledger.attempts(id)
    assert attempt["error"] == "ValueError: no stock"
    open_shop.wait("misfit-errback", "parked")


def test_a_failure_whose_errback_cannot_be_sent_is_recorded_all_the_same(
    open_shop: Shop, steady_worker: Process
) -> None:
    errback = open_shop.task("note").set(exchange="nowhere", routing_key="nobody")
    id = open_shop.send("fail", "no stock", link_error=errback)
    open_shop.wait(id, "failed")
    (attempt,) = open_shop.ledger.attempts(id)
    assert attempt["outcome"] == "failed"
    assert "no stock" in attempt["error"]
    assert "; then EnqueueError" in attempt["error"]
    assert steady_worker.is_running


@pytest.mark.parametrize("how", ["return", "raise", "reject", "ignore", "retry"])
def test_what_is_sent_around_a_task_is_sent_however_it_ends(open_shop: Shop, how: str) -> None:
    id = open_shop.send("around", how)
    open_shop.wait(id)
    attempts = range(2 if how == "retry" else 1)
    sent = [f"{id} {what} {retries}" for what in ("before", "prerun", "postrun") for retries in attempts]
    until(lambda: set(sent) <= set(open_shop.ledger.states()), "all are sent")
    open_shop.wait(sent, "succeeded")


@pytest.mark.parametrize(("size", "error"), [(3, ""), (70_000, ""), (3, "no stock")])
def test_a_retry_that_is_asked_for_and_not_raised_is_the_outcome(open_shop: Shop, size: int, error: str) -> None:
    told = [open_shop.task(name).set(task_id=f"{name} {size} {error}") for name in ("note", "old_errback")]
    result = open_shop.task("softly", size, error).apply_async(link=told[0], link_error=told[1])
    open_shop.wait(result.id, "succeeded")
    assert open_shop.runs(result.id) == 2
    assert len(result.get(timeout=DEADLINE_S)) == size
    open_shop.wait(told[0].id, "succeeded")
    assert open_shop.runs(told[0].id) == 1
    assert told[1].id not in open_shop.ledger.states()


def test_a_chain_that_is_sent_again_meanwhile_runs_to_its_end_each_time(open_shop: Shop) -> None:
    steps = chain(open_shop.task("add", 1, 1), open_shop.task("add", 1).set(queue="nobody"), app=open_shop.app)
    first = [steps.delay().parent.id for _ in range(3)]
    open_shop.wait(first, "succeeded")
    ends = open_shop.ledger.query(
        "SELECT id FROM mirepoix_task WHERE parent_id IN (:a, :b, :c)", a=first[0], b=first[1], c=first[2]
    )
    assert len(ends) == 3
    open_shop.app.control.revoke([id for (id,) in ends])
