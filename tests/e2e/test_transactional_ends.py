"""Transactional tasks that end otherwise than by themselves, or in a database that is set up otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transaction_harness import HOWS, Open, TransactionHarness, opening
from workers import until

pytestmark = pytest.mark.slow

SLOW_COMMIT = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON deed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.word = 'slow') EXECUTE FUNCTION slow()
"""


@pytest.fixture
def open_harness(tmp_path: Path) -> Iterator[Open]:
    """Opens a harness at a ledger's URL."""
    with opening(tmp_path) as open_:
        yield open_


@pytest.fixture(params=["session", "plain", "django"])
def harness(open_harness: Open, ledger_url: str, request: pytest.FixtureRequest) -> TransactionHarness:
    """One of each kind."""
    return open_harness(ledger_url, request.param)


# Cut short


def heeds_limits(harness: TransactionHarness) -> None:
    """Skip where nobody could end a task: the loop of its worker waits for SQLite's lock as well."""
    if harness.is_sqlite:
        pytest.skip("on SQLite a worker looks at time limits and remote control when the file is free")


def test_the_soft_time_limit_rolls_back(harness: TransactionHarness) -> None:
    heeds_limits(harness)
    harness.worker(concurrency=1)
    id = harness.work("write a", "wait never", state="failed", soft_time_limit=1)
    assert (harness.words(), len(harness.effects(id, "soft limit"))) == ([], 1)
    assert "SoftTimeLimitExceeded" in harness.ledger.attempts(id)[0]["error_type"]
    assert harness.words(harness.work("write a")) == ["a"]


def test_the_hard_time_limit_rolls_back(harness: TransactionHarness) -> None:
    heeds_limits(harness)
    harness.worker(concurrency=1)
    id = harness.work("write a", "wait never", state="failed", time_limit=1)
    assert "TimeLimitExceeded" in harness.ledger.attempts(id)[0]["error_type"]
    assert harness.words(harness.work("write a")) == ["a"]


def test_a_task_that_is_terminated_is_rolled_back(harness: TransactionHarness) -> None:
    heeds_limits(harness)
    harness.worker(concurrency=1)
    id = harness.send("work", "write a", "mark wrote", "wait never")
    until(lambda: harness.effects(id, "wrote"), "it wrote")
    harness.app.control.revoke(id, terminate=True)
    harness.wait(id, "cancelled")
    assert harness.words(harness.work("write a")) == ["a"]


def test_the_soft_time_limit_in_the_commit_leaves_all_or_nothing(open_harness: Open, postgresql_url: str) -> None:
    harness = open_harness(postgresql_url, "plain")
    harness.ledger.write(SLOW_COMMIT)
    harness.worker(concurrency=1)
    id = harness.send("work", "write slow", soft_time_limit=1)
    harness.wait(id)
    is_done = harness.state(id) == "succeeded"
    assert harness.words(id) == (["slow"] if is_done else [])
    assert harness.app.AsyncResult(id).state == ("SUCCESS" if is_done else "FAILURE")
    assert harness.words(harness.work("write after")) == ["after"]


def test_out_of_memory_rolls_back(harness: TransactionHarness) -> None:
    harness.worker(concurrency=1)
    harness.work("write a", "out-of-memory", state="failed")
    assert harness.words(harness.work("write a")) == ["a"]


# Isolation


@pytest.mark.parametrize("how", ["session", "engine", "django"])
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_the_isolation_is_what_was_configured(open_harness: Open, postgresql_url: str, how: str, level: str) -> None:
    harness = open_harness(postgresql_url, how, TRANSACTION_APP_ISOLATION=level)
    harness.worker()
    # Longer than it takes until its start is noted: the row of the task itself must not be in its way.
    id = harness.work("isolation", "write a", "state half", "step one", "sleep 0.3", "send child")
    harness.wait("child", "succeeded")
    assert harness.effects(id, "isolation")[0].more["level"] == level.lower()
    assert (harness.words(id), harness.runs(id)) == (["a"], 1)


def test_without_a_word_it_is_read_committed(open_harness: Open, postgresql_url: str) -> None:
    harness = open_harness(postgresql_url, "session")
    harness.worker()
    id = harness.work("isolation", "sleep 0.3")
    assert harness.effects(id, "isolation")[0].more["level"] == "read committed"


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_what_cannot_be_serialised_in_the_commit_runs_again(
    open_harness: Open, postgresql_url: str, driver: str
) -> None:
    harness = open_harness(
        postgresql_url, "session", TRANSACTION_APP_ISOLATION="SERIALIZABLE", TRANSACTION_APP_DRIVER=driver
    )
    harness.worker()
    ids = [harness.send("work", f"add-up {word}", link_error=harness.task("errback_in_place")) for word in "ab"]
    harness.wait(ids, "succeeded")
    # Each read before the other wrote: the second COMMIT was refused, ran again, and saw what the first one wrote.
    assert sorted(word[-1] for word in harness.words()) == ["0", "1"]
    assert sorted(harness.runs(id) for id in ids) == [1, 2]
    assert sorted(outcome for id in ids for outcome in harness.outcomes(id)) == [
        "rolled back",
        "succeeded",
        "succeeded",
    ]
    assert not harness.calls_errbacks(*ids)


# Another database


@pytest.mark.parametrize("how", ["session", "engine"])
@pytest.mark.parametrize("has_ledger", [False, True])
def test_a_session_of_another_database_is_refused(
    open_harness: Open, ledger_url: str, tmp_path: Path, sqlite_template: Path, how: str, has_ledger: bool
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(sqlite_template.read_bytes() if has_ledger else b"")
    harness = open_harness(ledger_url, how, TRANSACTION_APP_ROWS=f"sqlite:///{other}")
    harness.worker()
    id = harness.work("write a", state="failed")
    assert "belongs to another database than the ledger" in harness.row(id)["reason"]
    assert (harness.words(), harness.runs(id)) == ([], 0)


def test_an_engine_that_commits_by_itself_is_refused(open_harness: Open, postgresql_url: str) -> None:
    harness = open_harness(postgresql_url, "session", TRANSACTION_APP_ISOLATION="AUTOCOMMIT")
    harness.worker()
    id = harness.work("write a", state="failed")
    assert "AUTOCOMMIT" in harness.row(id)["reason"]
    assert (harness.words(), harness.runs(id)) == ([], 0)


def test_a_table_that_is_missing_is_a_failure_and_not_tried_again(open_harness: Open, ledger_url: str) -> None:
    harness = open_harness(ledger_url, "session")
    harness.ledger.write("DROP TABLE deed")
    harness.worker()
    id = harness.work("orm a", state="failed")
    assert harness.runs(id) == 1


# Another result backend


@pytest.mark.parametrize("how", HOWS)
def test_another_result_backend_hears_of_the_success_after_the_commit(
    open_harness: Open, ledger_url: str, tmp_path: Path, how: str
) -> None:
    harness = open_harness(ledger_url, how)
    results = tmp_path / "results"
    results.mkdir()
    harness.worker(env={"TRANSACTION_APP_RESULTS": f"file://{results}"})

    def kept(id: str) -> dict[str, Any]:
        file = results / f"celery-task-meta-{id}"
        until(file.exists, f"{id} has a result")
        return json.loads(file.read_text())

    done = harness.work("write a", "send child")
    refused = harness.work("write b", "promise b", state="failed")
    failed = harness.work("write c", "fail c", state="failed")
    assert [kept(id)["status"] for id in (done, refused, failed)] == ["SUCCESS", "FAILURE", "FAILURE"]
    assert harness.words() == ["a"]
    harness.wait("child", "succeeded")


# Without a worker


@pytest.mark.parametrize("how", HOWS)
def test_eager_and_direct_calls_run_in_a_transaction_of_their_own(
    open_harness: Open, ledger_url: str, how: str
) -> None:
    harness = open_harness(ledger_url, how)
    said = harness.script(
        f"""
assert work.apply(("write {how}-eager", "send {how}-sent")).get() == "done"
assert work.apply(("write {how}-failed", "send {how}-never", "fail x")).state == "FAILURE"
assert work.apply(("write {how}-refused", "promise x")).state == "FAILURE"
work.apply(("write {how}-ignored", "ignore"))
assert work("write {how}-direct") == "done"
try:
    work("write {how}-raised", "fail x")
except ValueError:
    print("raised")
try:
    work("write {how}-refused", "promise x")
except Exception as error:
    print(type(error).__name__)
for number in range(30):
    work(f"write {how}-many-{{number}}")
"""
    )
    assert "raised" in said
    assert "IntegrityError" in said or "ForeignKeyViolation" in said
    words = [word for word in harness.words() if word.startswith(how) and "many" not in word]
    assert words == [f"{how}-direct", f"{how}-eager", f"{how}-ignored"]
    assert (f"{how}-sent" in harness.ledger.states(), f"{how}-never" in harness.ledger.states()) == (True, False)


def test_outside_of_a_transactional_task_there_is_no_transaction(open_harness: Open, sqlite_url: str) -> None:
    said = open_harness(sqlite_url, "session").script(
        """
from mirepoix.errors import ConfigurationError
try:
    mirepoix.transaction()
except ConfigurationError as error:
    print(error)
try:
    @app.task(transactional=True)
    async def one():
        pass
    app.finalize()
except ConfigurationError as error:
    print(error)
"""
    )
    assert "outside of a transactional task" in said
    assert "an async def" in said


def test_an_eager_call_leaves_the_scoped_session_of_its_caller_alone(open_harness: Open, ledger_url: str) -> None:
    harness = open_harness(ledger_url, "scoped")
    harness.script(
        """
mine = Session()
mine.add(Deed(task="mine", word="mine"))
work.apply(("orm eager",)).get()
assert Session() is mine, "another session"
assert list(mine.new), "flushed"
Session.rollback()
Session.remove()
"""
    )
    assert harness.words() == ["eager"]


def test_an_eager_call_in_an_atomic_block_is_part_of_it(open_harness: Open, ledger_url: str) -> None:
    harness = open_harness(ledger_url, "django")
    harness.script(
        """
with transaction.atomic():
    work.apply(("write a",)).get()
    assert work.apply(("write b", "fail x")).state == "FAILURE"
    with suppress(ERRORS):
        work("write c", "write a")
    Deed.objects.create(task="mine", word="mine")
with suppress(KeyError), transaction.atomic():
    work.apply(("write d", "on-commit never")).get()
    raise KeyError
"""
    )
    assert harness.words() == ["a", "mine"]
    assert harness.effects(what="never") == []


# Many threads


def test_as_many_as_there_are_threads_can_report_at_once(open_harness: Open, postgresql_url: str) -> None:
    harness = open_harness(postgresql_url, "plain")
    harness.worker(pool="threads", concurrency=14)
    ids = [harness.send("work", f"write {n}", "mark wrote", "wait all", "state half") for n in range(14)]
    until(lambda: len(harness.effects(what="wrote")) == 14, "all of them have a transaction open")
    harness.make("all")
    harness.wait(ids, "succeeded")
    assert len(harness.words()) == 14


def test_on_sqlite_a_long_transaction_costs_no_worker_its_life(open_harness: Open, sqlite_url: str) -> None:
    harness = open_harness(sqlite_url, "plain")
    for name in ("w1", "w2", "w3"):
        harness.worker(name, concurrency=2, lease_ttl_s=1)
    waiting = [harness.send("hold", "open") for _ in range(2)]
    for id in waiting:
        harness.begun(id)
    until(lambda: all(harness.state(id) == "running" for id in waiting), "the ledger knows that they run")
    ids = [harness.send("work", f"write {n}", "sleep 3") for n in range(2)]
    harness.wait(ids, "succeeded")
    harness.make("open")
    harness.wait(waiting, "succeeded")
    assert [harness.runs(id) for id in (*ids, *waiting)] == [1] * 4
    assert "declared dead" not in harness.logs()
