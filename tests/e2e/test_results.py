"""What tasks return and raise is kept in the ledger, and whoever waits for it gets it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery, group
from celery.backends.base import Backend
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult, GroupResult
from workers import DEADLINE_S, Shop, until

import mirepoix
from driver import Ledger
from mirepoix.celery.capture import CaptureProducer
from mirepoix.connect.url import source_for
from mirepoix.errors import ConfigurationError
from releases import CELERY, since
from servers import Served

pytestmark = pytest.mark.slow


def result_of(shop: Shop, id: str) -> AsyncResult:
    return AsyncResult(id, app=shop.app)


def sent(shop: Shop, name: str, *args: Any, **options: Any) -> AsyncResult:
    return result_of(shop, shop.send(name, *args, **options))


def answer(result: Any, **how: Any) -> Any:
    return result.get(timeout=DEADLINE_S, **how)


def rows(shop: Shop, id: str) -> list[dict[str, Any]]:
    return shop.ledger.rows("SELECT * FROM mirepoix_result WHERE task_id = :id", id=id)


# ---- values and errors


@pytest.mark.parametrize(
    "value", [None, True, 0, 1.5, "it's 100% 🧅 {now} :x", [], [1, [2, {"a": None}]], {"a": {"b": [1]}}, "\0\ud83d"]
)
def test_a_value_comes_back(open_shop: Shop, value: Any) -> None:
    result = sent(open_shop, "collect", value)
    assert answer(result) == value
    assert (result.state, result.successful(), result.traceback) == ("SUCCESS", True, None)
    assert open_shop.state(result.id) == "succeeded"


def test_a_result_is_there_when_its_task_is_said_to_have_succeeded(open_shop: Shop) -> None:
    ids = [open_shop.send("add", n, n) for n in range(20)]
    open_shop.wait(ids, "succeeded")
    assert [result_of(open_shop, id).result for id in ids] == [2 * n for n in range(20)]


def test_a_large_value_is_committed_by_the_process_that_made_it(open_shop: Shop) -> None:
    result = sent(open_shop, "big", 3_000_000)
    assert answer(result) == "x" * 3_000_000
    assert [a["outcome"] for a in open_shop.ledger.history(result.id)] == ["succeeded"]


def test_an_error_comes_back_with_its_traceback(open_shop: Shop) -> None:
    result = sent(open_shop, "fail", "no stock")
    with pytest.raises(ValueError, match="no stock"):
        answer(result)
    assert (result.state, result.failed()) == ("FAILURE", True)
    assert "raise ValueError(words)" in result.traceback
    assert repr(answer(result, propagate=False)) == "ValueError('no stock')"


def test_a_value_that_json_cannot_hold_is_a_failure(open_shop: Shop) -> None:
    result = sent(open_shop, "unspeakable")
    error = answer(result, propagate=False)
    assert isinstance(error, Exception)
    assert "not JSON serializable" in str(error)
    assert result.state == "FAILURE"
    open_shop.wait(result.id, "failed")
    assert "not JSON serializable" in open_shop.row(result.id)["reason"]


def test_an_error_that_cannot_be_shown_is_a_failure_all_the_same(open_shop: Shop) -> None:
    result = sent(open_shop, "unprintable")
    with pytest.raises(Exception, match="x"):
        answer(result)
    open_shop.wait(result.id, "failed")


@pytest.mark.skipif(CELERY == (5, 6), reason="Celery 5.6 keeps the result of a task that is sent by its name")
def test_what_is_ignored_is_not_kept(open_shop: Shop) -> None:
    by_task, by_call = sent(open_shop, "quiet", 1), sent(open_shop, "add", 1, 1, ignore_result=True)
    open_shop.wait([by_task.id, by_call.id], "succeeded")
    assert [by_task.state, by_call.state] == ["PENDING", "PENDING"]
    assert rows(open_shop, by_task.id) == rows(open_shop, by_call.id) == []


def test_a_task_that_ignores_itself_has_no_result(open_shop: Shop) -> None:
    result = sent(open_shop, "ignore")
    open_shop.wait(result.id, "succeeded")
    assert rows(open_shop, result.id) == []


def test_children_are_known_by_their_parent(open_shop: Shop) -> None:
    children = [f"child-{os.urandom(4).hex()}" for _ in range(2)]
    result = sent(open_shop, "parent", *children)
    answer(result)
    assert [child.id for child in result.children] == children
    assert [one.id for _, one in result.iterdeps(intermediate=True)] == [result.id, *children]


def test_a_chain_is_known_backwards_and_collected_forwards(open_shop: Shop) -> None:
    last = (open_shop.task("add", 1, 1) | open_shop.task("add", 2) | open_shop.task("add", 3)).delay()
    assert answer(last) == 7
    assert (last.parent.get(timeout=DEADLINE_S), last.parent.parent.get(timeout=DEADLINE_S)) == (4, 2)
    assert [value for _, value in last.parent.parent.collect()] == [2, 4, 7]


def test_a_chain_that_fails_fails_all_its_results(open_shop: Shop) -> None:
    last = (open_shop.task("fail", "no stock") | open_shop.task("add", 2) | open_shop.task("add", 3)).delay()
    with pytest.raises(ValueError, match="no stock"):
        answer(last)
    assert [last.state, last.parent.state, last.parent.parent.state] == ["FAILURE"] * 3
    assert last.id not in open_shop.ledger.states()


def test_a_task_may_wait_for_another(open_shop: Shop, pool: str) -> None:
    if pool == "solo":
        pytest.skip("a solo worker runs one task at a time")
    assert answer(sent(open_shop, "waits_inside", 1)) == 3


def test_a_result_is_that_of_what_a_task_gave_way_to(open_shop: Shop) -> None:
    assert answer(sent(open_shop, "replaced_by_task")) == 42
    assert answer(sent(open_shop, "replaced_by_chain")) == 6
    assert answer(sent(open_shop, "replaced_by_chord", 3)) == [0, 2, 4]


def test_an_id_that_is_sent_again_has_its_new_result(open_shop: Shop) -> None:
    id = f"again-{os.urandom(4).hex()}"
    for number in range(3):
        open_shop.send("add", number, 1, task_id=id)
        until(lambda number=number: result_of(open_shop, id).result == number + 1, "the new result is there")
        open_shop.wait(id, "succeeded")


# ---- states on the way


def test_a_task_reports_how_far_it_is(open_shop: Shop) -> None:
    name = f"open-{os.urandom(4).hex()}"
    result = sent(open_shop, "progress", name)
    until(lambda: result.state == "PROGRESS", "it reported")
    assert result.info == {"done": 1, "of": 2}
    assert not result.ready()
    heard: list[Any] = []

    def hear(message: dict[str, Any]) -> None:
        heard.append((message["status"], message["result"]))
        open_shop.make(name)

    assert result.get(timeout=DEADLINE_S, on_message=hear) == "done"
    assert heard == [("PROGRESS", {"done": 1, "of": 2}), ("SUCCESS", "done")]


def test_a_retry_is_a_state_of_its_own(shop: Shop) -> None:
    shop.worker()
    result = sent(shop, "again", 1, 600.0)
    until(lambda: result.state == "RETRY", "it asked for a retry")
    assert "not yet" in str(result.result)
    assert "self.retry" in result.traceback
    assert (result.ready(), shop.state(result.id)) == (False, "pending")
    assert shop.celery("mirepoix", "retry", result.id, "--yes").returncode == 0
    assert answer(result) is None
    assert result.state == "SUCCESS"


def test_a_task_that_began_is_said_to_have_if_that_is_asked_for(shop: Shop) -> None:
    shop.worker(conf={"task_track_started": True})
    result = sent(shop, "gate", "open")
    until(lambda: result.state == "STARTED", "it began")
    shop.begun(result.id)
    assert result.info["pid"] == shop.effects(result.id, "begin")[0].pid
    assert result.info["hostname"] == "w1@test"
    shop.make("open")
    assert answer(result) == "open"


def test_an_extended_result_knows_its_task(shop: Shop) -> None:
    shop.worker(conf={"result_extended": True})
    result = sent(shop, "add", 1, 2)
    answer(result)
    assert (result.name, result.args, result.kwargs) == ("shop.add", [1, 2], {})
    assert (result.worker, result.retries, result.queue) == ("w1@test", 0, "celery")
    meta = json.loads(rows(shop, result.id)[0]["meta"])
    assert meta["name"] == "shop.add"
    assert meta["date_done"]


def test_a_zombie_reports_no_progress(shop: Shop) -> None:
    shop.make("first")
    zombie = shop.worker("zombie", lease_ttl_s=1.0)
    result = sent(shop, "late_progress", "first", "go on")
    shop.begun(result.id)
    zombie.freeze()
    shop.worker("other", lease_ttl_s=1.0)
    assert answer(result) is None
    shop.ledger.do(lambda tx: tx.script("DELETE FROM mirepoix_result"))
    shop.make("go on")
    zombie.thaw()
    until(lambda: shop.effects(result.id, "reported"), "the zombie reported")
    zombie.stop()
    assert rows(shop, result.id) == []
    assert (shop.state(result.id), shop.runs(result.id)) == ("succeeded", 2)


# ---- ends without a result


def test_a_revoked_task_that_waits_is_revoked(shop: Shop) -> None:
    result = sent(shop, "note")
    result.revoke()
    with pytest.raises(TaskRevokedError, match="revoked"):
        answer(result)
    assert result.state == "REVOKED"


def test_a_cancelled_task_is_revoked_with_the_operators_reason(shop: Shop) -> None:
    result = sent(shop, "note")
    assert shop.celery("mirepoix", "cancel", result.id, "--yes", "--reason", "wrong price").returncode == 0
    with pytest.raises(TaskRevokedError, match="wrong price"):
        answer(result)


def test_a_task_that_is_revoked_while_it_is_held_is_revoked(shop: Shop) -> None:
    shop.worker(concurrency=1, conf={"worker_prefetch_multiplier": 4})
    gate = shop.send("gate", "open")
    shop.begun(gate)
    result = sent(shop, "note")
    until(lambda: shop.state(result.id) == "leased", "it is held")
    shop.app.control.revoke(result.id, reply=True, limit=1, timeout=DEADLINE_S)
    shop.make("open")
    with pytest.raises(TaskRevokedError, match="revoked"):
        answer(result)
    shop.wait(result.id, "cancelled")


def test_a_running_task_that_is_terminated_is_revoked(shop: Shop) -> None:
    shop.worker()
    result = sent(shop, "gate", "never")
    shop.begun(result.id)
    result.revoke(terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError, match="terminated"):
        answer(result)


def test_a_revocation_says_nothing_of_a_task_that_runs(shop: Shop) -> None:
    shop.worker()
    result = sent(shop, "gate", "open")
    shop.begun(result.id)
    shop.app.control.revoke(result.id, reply=True, limit=1, timeout=DEADLINE_S)
    assert result.state == "PENDING"
    shop.make("open")
    assert answer(result) == "open"


def test_an_expired_task_is_revoked(shop: Shop) -> None:
    shop.worker()
    result = sent(shop, "note", queue="nobody", expires=0.1)
    with pytest.raises(TaskRevokedError, match="expired"):
        answer(result)
    assert shop.state(result.id) == "expired"


def test_a_quarantined_task_is_a_failure_until_it_is_requeued(shop: Shop) -> None:
    shop.worker(max_deaths=1)
    shop.make("die")
    result = sent(shop, "die_once", "die")
    with pytest.raises(Exception, match="died") as caught:
        answer(result)
    assert type(caught.value).__name__ == "WorkerLostError"
    assert (shop.state(result.id), result.state) == ("quarantined", "FAILURE")
    assert shop.celery("mirepoix", "requeue", result.id, "--yes").returncode == 0
    assert answer(result_of(shop, result.id)) is None


def test_a_time_limit_is_a_failure(shop: Shop) -> None:
    shop.worker()
    result = sent(shop, "gate", "never", time_limit=1)
    assert type(answer(result, propagate=False)).__name__ == "TimeLimitExceeded"
    assert result.state == "FAILURE"


def test_a_failed_task_that_is_requeued_has_its_new_result(shop: Shop) -> None:
    shop.worker()
    result = sent(shop, "pay", "fail")
    with pytest.raises(ValueError, match="out of stock"):
        answer(result)
    shop.make("mended")
    assert shop.celery("mirepoix", "requeue", result.id, "--yes").returncode == 0
    shop.wait(result.id, "succeeded")
    assert answer(result_of(shop, result.id)) is None


# ---- forgetting, expiry, existence


@since(5, 7, otherwise="no AsyncResult.exists()")
def test_what_exists_is_what_waits_runs_or_is_kept(shop: Shop) -> None:
    result = sent(shop, "gate", "open")
    assert not result_of(shop, "unknown").exists()
    assert result.exists()
    shop.worker()
    shop.begun(result.id)
    assert result.exists()
    shop.make("open")
    answer(result)
    assert result.exists()
    result.forget()
    assert not result_of(shop, result.id).exists()
    assert result_of(shop, result.id).state == "PENDING"
    assert shop.state(result.id) == "succeeded"


@since(5, 7, otherwise="no AsyncResult.exists()")
def test_what_is_expired_is_deleted_by_maintenance(shop: Shop) -> None:
    shop.worker(conf={"result_expires": 1, "result_failure_expires": 3_600}, prune_interval_s=0.2)
    result, failure = sent(shop, "add", 1, 1), sent(shop, "fail")
    shop.wait(result.id, "succeeded")
    shop.wait(failure.id, "failed")
    until(lambda: not result_of(shop, result.id).exists(), "maintenance deleted it")
    assert result_of(shop, failure.id).state == "FAILURE"
    assert shop.state(result.id) == "succeeded"


def test_what_does_not_expire_is_kept(shop: Shop) -> None:
    shop.worker(conf={"result_expires": None})
    result = sent(shop, "add", 1, 1)
    answer(result)
    assert rows(shop, result.id)[0]["expires_at"] is None


# ---- groups


def test_a_group_is_joined_in_its_order(open_shop: Shop) -> None:
    result = group((open_shop.task("add", n, n) for n in range(10)), app=open_shop.app).delay()
    assert result.join(timeout=DEADLINE_S) == [2 * n for n in range(10)]
    assert result.join_native(timeout=DEADLINE_S) == [2 * n for n in range(10)]
    assert result.get(timeout=DEADLINE_S) == [2 * n for n in range(10)]
    assert (result.completed_count(), result.successful(), result.ready()) == (10, True, True)
    assert sorted(meta["result"] for _, meta in result.iter_native(timeout=DEADLINE_S)) == [2 * n for n in range(10)]


def test_a_group_is_saved_restored_and_deleted(open_shop: Shop) -> None:
    inner = group([open_shop.task("add", 5, 5), open_shop.task("add", 6, 6)], app=open_shop.app)
    chained = open_shop.task("add", 1, 1) | inner
    result = group([open_shop.task("add", 1, 1), chained], app=open_shop.app)
    saved = group([open_shop.task("add", n, n) for n in range(3)], app=open_shop.app).delay()
    saved.save()
    restored = GroupResult.restore(saved.id, app=open_shop.app)
    assert restored == saved
    assert restored.join(timeout=DEADLINE_S) == [0, 2, 4]
    restored.delete()
    assert GroupResult.restore(saved.id, app=open_shop.app) is None
    assert GroupResult.restore(result.id or "unknown", app=open_shop.app) is None


def test_a_group_with_a_failure_raises_it(open_shop: Shop) -> None:
    result = group([open_shop.task("add", 1, 1), open_shop.task("fail", "no stock")], app=open_shop.app).delay()
    with pytest.raises(ValueError, match="no stock"):
        answer(result)
    values = answer(result, propagate=False)
    assert values[0] == 2
    assert isinstance(values[1], ValueError)


# ---- waiting


def test_waiting_ends_when_its_time_is_over(shop: Shop) -> None:
    result = sent(shop, "note")
    with pytest.raises(CeleryTimeoutError):
        result.get(timeout=0.05)
    with pytest.raises(CeleryTimeoutError):
        result_of(shop, "unknown").get(timeout=0)
    assert answer(_after(shop.worker, sent(shop, "add", 1, 1))) == 2


def _after(act: Any, result: AsyncResult) -> AsyncResult:
    act()
    return result


def test_who_waits_is_called_now_and_then_and_with_each_message(shop: Shop) -> None:
    result = group([shop.task("add", 1, 1), shop.task("gate", "open")], app=shop.app).delay()
    turns, messages = [], []

    def turn(*_: Any) -> None:
        turns.append(1)
        if len(turns) == 3:
            shop.worker()
            shop.make("open")

    assert result.get(timeout=DEADLINE_S, interval=0.05, on_interval=turn, on_message=messages.append) == [2, "open"]
    assert len(turns) >= 3
    assert {message["task_id"] for message in messages} == {one.id for one in result.results}
    assert {message["status"] for message in messages} == {"SUCCESS"}


def test_many_threads_wait_at_once(shop: Shop) -> None:
    gates = [sent(shop, "gate", "open") for _ in range(4)]
    results = [*gates, *(sent(shop, "add", n, n) for n in range(20))]
    with ThreadPoolExecutor(len(results)) as threads:
        waiting = [threads.submit(answer, result) for result in results]
        shop.worker(concurrency=6)
        for gate in gates:
            shop.begun(gate.id)
        shop.make("open")
        assert [one.result(DEADLINE_S) for one in waiting] == ["open"] * 4 + [2 * n for n in range(20)]


def test_several_threads_wait_for_one_result(shop: Shop) -> None:
    result = sent(shop, "gate", "open")
    ready = threading.Barrier(5)

    def wait() -> Any:
        ready.wait()
        return answer(result_of(shop, result.id))

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(wait) for _ in range(4)]
        ready.wait()
        shop.worker()
        shop.make("open")
        assert [one.result(DEADLINE_S) for one in waiting] == ["open"] * 4


FORKED = """
import os, sys
import shop
first = shop.add.delay(1, 1)
assert first.get(timeout=300) == 2
again = shop.add.delay(2, 2)
pid = os.fork()
assert shop.add.delay(3, 3).get(timeout=300) == 6
assert again.get(timeout=300) == 4
if pid:
    assert os.waitpid(pid, 0)[1] == 0
    assert shop.add.delay(4, 4).get(timeout=300) == 8
    print("all is well")
sys.stdout.flush()
os._exit(0)
"""


def test_a_process_waits_after_a_fork_as_before(shop: Shop) -> None:
    shop.worker()
    shop.start("forked", "-W", "ignore", "-c", FORKED).says("all is well").ends()


GREEN = """
from gevent import monkey
monkey.patch_all()
import gevent
import shop
results = [shop.add.delay(n, n) for n in range(20)]
waiting = [gevent.spawn(result.get, timeout=300) for result in results]
turns = []
def tick():
    while True:
        turns.append(1)
        gevent.sleep(0.001)
gevent.spawn(tick)
gevent.joinall(waiting)
assert [one.value for one in waiting] == [2 * n for n in range(20)]
assert len(turns) > 3, turns
print("all is well")
"""


def test_greenlets_wait_without_holding_up_each_other(shop: Shop) -> None:
    process = shop.start("green", "-W", "ignore", "-c", GREEN)
    until(lambda: len(shop.ledger.states()) == 20, "they were sent")
    shop.worker()
    process.says("all is well").ends()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_who_waits_while_the_server_restarts_gets_the_result(served: Served, tmp_path: Any, how: str) -> None:
    with Shop(tmp_path / "shop", served.url) as shop:
        shop.worker()
        result = sent(shop, "gate", "open")
        shop.begun(result.id)
        is_waiting = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(answer, result, on_interval=is_waiting.set, interval=0.1)
            assert is_waiting.wait(20)
            getattr(served.server, how)()
            shop.make("open")
            until(lambda: shop.effects(result.id, "end"), "its code ended while the database was away")
            served.server.start()
            assert waiting.result(DEADLINE_S) == "open"
        shop.ledger.connection.close()
        shop.ledger = Ledger(source_for(shop.url))


# ---- which backend


def test_the_ledgers_backend_may_be_named(shop: Shop) -> None:
    conf = {"result_backend": "mirepoix://"}
    shop.worker(conf=conf)
    app = shop.client(conf)
    id = app.send_task("shop.add", args=(1, 2)).id
    assert AsyncResult(id, app=app).get(timeout=DEADLINE_S) == 3
    assert app.backend.as_uri() == app.mirepoix.source.label
    assert len(rows(shop, id)) == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_app_that_names_another_backend_keeps_its_results_there(shop: Shop, pool: str) -> None:
    (shop.folder / "results").mkdir()
    conf = {"result_backend": f"file://{shop.folder / 'results'}"}
    shop.worker(pool=pool, conf=conf)
    app = shop.client(conf)
    id = app.send_task("shop.add", args=(1, 2)).id
    failed = app.send_task("shop.fail").id
    assert AsyncResult(id, app=app).get(timeout=DEADLINE_S) == 3
    with pytest.raises(ValueError, match="no stock"):
        AsyncResult(failed, app=app).get(timeout=DEADLINE_S)
    shop.wait(id, "succeeded")
    shop.wait(failed, "failed")
    assert shop.ledger.query("SELECT * FROM mirepoix_result") == []
    assert isinstance(app.backend, Backend)


def test_results_may_be_sent_back_as_messages(shop: Shop) -> None:
    conf = {"result_backend": "rpc://"}
    app = shop.client(conf)
    # Its queue of replies is declared while somebody else writes.
    with shop.ledger.connection.transaction(), app.producer_or_acquire() as producer:
        assert isinstance(producer, CaptureProducer)
        assert app.backend.on_task_call(producer, "some-id") is None
    shop.worker(conf=conf)
    assert app.send_task("shop.add", args=(1, 2)).get(timeout=DEADLINE_S) == 3
    with pytest.raises(ValueError, match="no stock"):
        app.send_task("shop.fail").get(timeout=DEADLINE_S)
    assert shop.ledger.query("SELECT * FROM mirepoix_result") == []


def test_disabled_results_are_disabled(shop: Shop) -> None:
    shop.worker(conf={"result_backend": "disabled://"})
    id = shop.send("add", 1, 2)
    shop.wait(id, "succeeded")
    assert rows(shop, id) == []


def test_pickled_results_are_refused(shop: Shop) -> None:
    app = shop.client({"result_serializer": "pickle"})
    with pytest.raises(ConfigurationError, match="result_serializer='json'"):
        _ = app.backend


def test_a_task_called_eagerly_has_its_result_at_hand(sqlite_url: str) -> None:
    app = Celery("eager", set_as_current=False)
    app.conf.update(task_always_eager=True, task_store_eager_result=True)
    mirepoix.install(app, sqlite_url)

    @app.task
    def double(x: int) -> int:
        return 2 * x

    result = double.delay(2)
    assert result.get() == 4
    assert AsyncResult(result.id, app=app).get(timeout=5) == 4
    app.mirepoix.source.close()


def test_a_result_can_be_read_by_the_command_of_celery(shop: Shop) -> None:
    shop.worker()
    id = shop.send("add", 1, 2)
    shop.wait(id, "succeeded")
    said: subprocess.CompletedProcess[str] = shop.celery("result", id)
    assert (said.returncode, said.stdout.strip()) == (0, "3"), said.stderr
