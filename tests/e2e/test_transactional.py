"""Transactional tasks in real workers: what they write commits with their outcome and what they send, or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from celery import chain, chord, group
from transaction_harness import HOWS, TransactionHarness
from workers import DEADLINE_S, until

pytestmark = pytest.mark.slow

COMBINATIONS = [
    *[(how, database, "prefork") for how in HOWS for database in ("sqlite", "postgresql", "mariadb")],
    ("session", "postgresql", "threads"),
    ("scoped", "postgresql", "threads"),
    ("plain", "sqlite", "threads"),
    ("django", "postgresql", "threads"),
    ("django", "sqlite", "threads"),
    ("engine", "postgresql", "solo"),
    ("session", "sqlite", "solo"),
    ("session", "postgresql", "gevent"),
    ("plain", "postgresql", "gevent"),
    ("django", "postgresql", "gevent"),
]
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransactionHarness]:
    """A bank with one worker that all tests of this module share."""
    how, database, pool = request.param
    folder = tmp_path_factory.mktemp(f"{how}-{database}-{pool}")
    with TransactionHarness(
        folder / "bank", request.getfixturevalue("shared_ledger")(database, folder), how
    ) as harness:
        harness.pool = pool
        harness.steady_worker = harness.worker("w1", pool=pool)
        yield harness
        assert harness.steady_worker.is_running, harness.steady_worker.said


@pytest.fixture
def w() -> str:
    """A word that no other test writes."""
    return f"word-{next(_numbers)}"


def has_orm(harness: TransactionHarness) -> bool:
    return harness.how in ("session", "scoped", "django")


# What commits


def test_what_a_task_writes_commits_with_its_success(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"write {w}", f"orm {w}-2")
    assert harness.words(id) == [w, f"{w}-2"]
    assert (harness.runs(id), harness.outcomes(id), harness.row(id)["fence"]) == (1, ["succeeded"], 1)
    assert harness.app.AsyncResult(id).get(timeout=DEADLINE_S) == "done"


def test_nobody_sees_it_before(harness: TransactionHarness, w: str) -> None:
    id = harness.send("work", f"write {w}", f"mark {w}", f"wait {w}")
    until(lambda: harness.effects(id, w), "it wrote")
    assert harness.effects(id, w)[0].more["said"] == "1"
    with harness.ledger.connection.reading() as tx:
        assert tx.query("SELECT word FROM deed WHERE word = :w", w=w) == []
    harness.make(w)
    harness.wait(id, "succeeded")
    assert harness.words(id) == [w]


def test_what_it_sends_commits_with_it(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"send {w}", f"write {w}", f"send {w}-2")
    harness.wait([w, f"{w}-2"], "succeeded")
    assert {harness.row(child)["parent_id"] for child in (w, f"{w}-2")} == {id}


def test_links_and_the_rest_of_a_chain_commit_with_it(harness: TransactionHarness, w: str) -> None:
    link = harness.task("listed", "linked")
    link.freeze()
    last = chain(
        harness.task("work", f"write {w}").set(link=link),
        harness.task("listed"),
        harness.task("listed"),
        app=harness.app,
    ).delay()
    harness.wait([link.id, last.id], "succeeded")
    first = last.parent.parent.id
    assert harness.words(first) == [w]
    assert harness.effects(last.parent.id, "begin")[0].more["words"] == ["done"]
    assert last.get(timeout=DEADLINE_S) == [["done"]]


def test_its_part_of_a_chord_commits_with_it(harness: TransactionHarness) -> None:
    one, two = next(_numbers), next(_numbers)
    result = chord(
        [harness.task("add", one, 1), harness.task("listed", "x"), harness.task("add", two, 2)], app=harness.app
    )(harness.task("listed"))  # fmt: skip
    harness.wait(result.id, "succeeded")
    assert result.get(timeout=DEADLINE_S) == [[one + 1, ["x"], two + 2]]
    assert {f"sum-{one}-1", f"sum-{two}-2"} <= set(harness.words())
    assert [harness.runs(member.id) for member in result.parent.results] == [1, 1, 1]


def test_tasks_of_a_group_each_commit_once(harness: TransactionHarness, w: str) -> None:
    members = group(
        [harness.task("work", f"write {w}-{i}", f"orm {w}-{i}-2") for i in range(8)], app=harness.app
    ).delay()
    harness.wait([member.id for member in members.results], "succeeded")
    assert [harness.words(member.id) for member in members.results] == [[f"{w}-{i}", f"{w}-{i}-2"] for i in range(8)]


def test_a_task_that_is_ignored_commits(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"write {w}", f"send {w}", "ignore")
    harness.wait(w, "succeeded")
    assert harness.words(id) == [w]
    assert harness.row(id)["reason"] == "ignored by the task"


def test_a_task_that_is_replaced_commits_with_the_message_of_the_other(harness: TransactionHarness, w: str) -> None:
    id = harness.send("work", f"write {w}", f"replace {w}")
    until(lambda: [e for e in harness.effects(id, "begin") if e.name == "bank.listed"], "the other ran")
    harness.wait(id, "succeeded")
    assert harness.words(id) == [w]
    assert harness.runs(id) == 2


def test_a_transactional_task_called_as_a_function_is_part_of_the_caller(harness: TransactionHarness, w: str) -> None:
    assert harness.words(harness.work(f"write {w}", f"function {w}-2")) == [w, f"{w}-2"]
    assert harness.words(harness.work(f"write {w}-3", f"function {w}-4", "fail x", state="failed")) == []


def test_called_by_a_task_that_is_none_it_commits_by_itself(harness: TransactionHarness, w: str) -> None:
    id = harness.send("call", f"write {w}-1", f"fail {w}-2", f"write {w}-3")
    harness.wait(id, "succeeded")
    assert harness.words(id) == [f"{w}-1", f"{w}-3"]
    assert len(harness.effects(id, "inner failure")) == 1


# What is rolled back


def test_nothing_of_a_failure_is_left_but_its_record(harness: TransactionHarness, w: str) -> None:
    errback = harness.task("errback")
    errback.freeze()
    id = harness.work(f"write {w}", f"orm {w}-2", f"send {w}", "fail no stock", state="failed", link_error=errback)
    harness.wait(errback.id, "succeeded")
    assert harness.words(id) == []
    assert w not in harness.ledger.states()
    (attempt,) = harness.ledger.attempts(id)
    assert (attempt["error"], attempt["outcome"]) == ("ValueError: no stock", "failed")
    assert harness.effects(errback.id, "begin")[0].more == {"failed": id}
    with pytest.raises(ValueError, match="no stock"):
        harness.app.AsyncResult(id).get(timeout=DEADLINE_S)


def test_a_chain_ends_with_a_failure(harness: TransactionHarness, w: str) -> None:
    last = chain(harness.task("work", f"write {w}", "fail x"), harness.task("listed"), app=harness.app).delay()
    harness.wait(last.parent.id, "failed")
    assert last.id not in harness.ledger.states()


def test_an_attempt_that_asks_for_a_retry_leaves_nothing(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"write {w}", f"send {w}", "retry 2")
    harness.wait(w, "succeeded")
    assert harness.words(id) == [w]  # the same word is unique: earlier attempts cannot have left it
    assert (harness.runs(id), harness.outcomes(id)) == (3, ["retried", "retried", "succeeded"])
    assert harness.runs(w) == 1


def test_retries_that_come_to_their_end_are_a_failure(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"write {w}", "retry 9", state="failed")
    assert (harness.words(id), harness.runs(id), harness.outcomes(id)) == ([], 3, ["retried", "retried", "failed"])
    assert "KeyError" in harness.row(id)["reason"]


def test_an_error_that_is_retried_by_itself_leaves_nothing(harness: TransactionHarness, w: str) -> None:
    harness.ledger.write("DELETE FROM deed WHERE word LIKE 'try-%'")
    id = harness.send("work_again", "key-error x")
    harness.wait(id, "succeeded")
    assert harness.words(id) == ["try-2"]
    assert harness.outcomes(id) == ["retried", "retried", "succeeded"]


def test_an_inner_block_can_be_rolled_back_alone(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"write {w}-1", f"broken-nested {w}-2", f"nested {w}-3", f"orm {w}-4")
    assert harness.words(id) == [f"{w}-1", f"{w}-3", f"{w}-4"]
    id = harness.work(f"write {w}-5", f"nested {w}-6", "fail x", state="failed")
    assert harness.words(id) == []


def test_a_block_that_an_error_has_broken_is_never_a_success(harness: TransactionHarness, w: str) -> None:
    harness.work(f"write {w}")
    id = harness.send("work", f"write {w}-2", f"swallow {w}", f"send {w}-3")
    harness.wait(id)
    if (harness.is_sqlite or harness.is_mysql) and harness.how in (
        "plain",
        "engine",
    ):  # only the one statement was undone
        assert (harness.state(id), harness.words(id)) == ("succeeded", [f"{w}-2"])
    else:
        assert (harness.state(id), harness.words(id)) == ("failed", [])
        assert f"{w}-3" not in harness.ledger.states()


def test_what_is_refused_as_the_task_ends_is_its_failure(harness: TransactionHarness, w: str) -> None:
    if harness.how not in ("session", "scoped"):
        pytest.skip("only a Session writes then")
    harness.work(f"write {w}")
    id = harness.work(f"write {w}-2", f"orm {w}", state="failed")
    assert harness.words(id) == []
    assert "IntegrityError" in harness.row(id)["reason"]


def looks_in_the_commit(harness: TransactionHarness) -> None:
    """Skip where every constraint is looked at as the row is written."""
    if harness.is_mysql:
        pytest.skip("MariaDB knows no deferred constraints")


def test_a_constraint_that_is_looked_at_in_the_commit_makes_it_fail(harness: TransactionHarness, w: str) -> None:
    looks_in_the_commit(harness)
    errback, link = harness.task("errback"), harness.task("listed")
    errback.freeze()
    link.freeze()
    last = chain(
        harness.task("work", f"write {w}", f"promise {w}", f"send {w}").set(link_error=errback, link=link),
        harness.task("listed"),
        app=harness.app,
    ).delay()
    id = last.parent.id
    harness.wait(id, "failed")
    harness.wait(errback.id, "succeeded")
    assert harness.words(id) == []
    assert not {last.id, link.id, w} & set(harness.ledger.states())
    (attempt,) = harness.ledger.attempts(id)
    assert (attempt["outcome"], attempt["error_type"]) == (
        "failed",
        "mirepoix.celery.transactional.CommitRefused",
    )
    assert "foreign key" in attempt["error"].lower()
    assert harness.app.AsyncResult(id).state == "FAILURE"
    kept = harness.work(f"write {w}-2", f"sql INSERT INTO kept VALUES ('{w}')", f"promise {w}")
    assert harness.words(kept) == [f"{w}-2"]


def test_a_replacement_is_not_sent_if_the_commit_is_refused(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"write {w}", f"promise {w}", f"replace {w}", state="failed")
    assert (harness.words(id), harness.runs(id), harness.row(id)["name"]) == ([], 1, "bank.work")


def test_an_errback_that_takes_the_error_is_called_once(harness: TransactionHarness, w: str) -> None:
    looks_in_the_commit(harness)
    id = harness.work(f"promise {w}", state="failed", link_error=harness.task("errback_in_place"))
    (told,) = harness.errbacks(id)
    assert told.more["error"] == "CommitRefused"


# What user code does beside


def test_functions_on_commit_run_after_it_and_only_then(harness: TransactionHarness, w: str) -> None:
    if harness.how not in ("session", "django"):
        pytest.skip("the driver knows no such thing")
    done = harness.work(f"write {w}", f"on-commit {w}")
    until(lambda: harness.effects(done, w), "it was called")
    failed = harness.work(f"on-commit {w}", "fail x", state="failed")
    refused = harness.work(f"on-commit {w}", f"promise {w}", state="failed")
    assert [len(harness.effects(id, w)) for id in (done, failed, refused)] == [1, 0, 0]


def test_what_a_function_on_commit_sends_is_sent(harness: TransactionHarness, w: str) -> None:
    if harness.how not in ("session", "django"):
        pytest.skip("the driver knows no such thing")
    id = harness.work(f"write {w}", f"send-on-commit {w}")
    until(lambda: w in harness.ledger.states(), "it was sent")
    harness.wait(w, "succeeded")
    assert harness.row(w)["parent_id"] == id


def test_a_function_on_commit_that_fails_does_not_undo_the_success(harness: TransactionHarness, w: str) -> None:
    if harness.how not in ("session", "django"):
        pytest.skip("the driver knows no such thing")
    link = harness.task("listed")
    link.freeze()
    id = harness.work(
        f"write {w}", f"fail-on-commit {w}", f"on-commit {w}", link=link, link_error=harness.task("errback_in_place")
    )
    harness.wait(link.id, "succeeded")
    after = harness.work(f"write {w}-after")
    assert (harness.words(id), harness.words(after)) == ([w], [f"{w}-after"])
    assert harness.app.AsyncResult(id).get(timeout=DEADLINE_S) == "done"
    assert not harness.calls_errbacks(id)
    assert w in harness.steady_worker.said


@pytest.mark.parametrize("verb", ["commit", "rollback"])
def test_code_that_ends_the_transaction_by_itself_has_failed(harness: TransactionHarness, w: str, verb: str) -> None:
    id = harness.work(f"write {w}", verb, f"write {w}-2", f"send {w}", state="failed")
    if harness.how == "plain" and (harness.is_sqlite or harness.is_mysql):  # its driver lets everybody commit
        assert harness.words(id) == ([w] if verb == "commit" else []) + [f"{w}-2"]
        assert "ended its transaction by itself" in harness.row(id)["reason"]
    else:
        assert harness.words(id) == []
        assert w not in harness.ledger.states()


def test_so_it_has_if_it_does_that_in_sql(harness: TransactionHarness, w: str) -> None:
    if harness.how != "plain":
        pytest.skip("what a framework believes of the transaction is wrong then")
    id = harness.work(f"write {w}", "sql COMMIT", state="failed")
    assert harness.words(id) == [w]
    assert "ended its transaction by itself" in harness.row(id)["reason"]


def test_in_django_a_durable_block_is_refused(harness: TransactionHarness, w: str) -> None:
    if harness.how != "django":
        pytest.skip("it is Django's")
    id = harness.work(f"write {w}", "durable", state="failed")
    assert harness.words(id) == []
    assert "durable" in harness.row(id)["reason"]


def test_progress_is_seen_at_once_where_it_can_be(harness: TransactionHarness, w: str) -> None:
    if harness.pool == "solo" or harness.is_sqlite:
        pytest.skip("the worker takes nothing else while it runs a task; nor does SQLite")
    if harness.is_mysql and harness.how not in ("plain", "django"):
        pytest.skip("SQLAlchemy's transactions are MariaDB's REPEATABLE READ: what is reported is part of them")
    id = harness.send("work", f"write {w}", "state half", f"mark {w}", f"wait {w}")
    until(lambda: harness.effects(id, w), "it reported")
    result = harness.app.AsyncResult(id)
    assert (result.state, result.info) == ("PROGRESS", "half")
    harness.make(w)
    harness.wait(id, "succeeded")
    assert result.get(timeout=DEADLINE_S) == "done"
    assert harness.words(id) == [w]


def test_a_step_outlives_a_rollback_where_it_can_be_kept_apart(harness: TransactionHarness, w: str) -> None:
    id = harness.work(f"write {w}", f"step {w}", "retry 2")
    assert harness.words(id) == [w]
    assert harness.runs(id) == 3
    assert len(harness.effects(id, "step")) == (3 if harness.is_sqlite else 1)


def test_many_at_once_find_enough_connections(harness: TransactionHarness, w: str) -> None:
    ids = [harness.send("work", f"write {w}-{i}", f"step {w}", "state half") for i in range(24)]
    harness.wait(ids, "succeeded")
    assert [harness.words(id) for id in ids] == [[f"{w}-{i}"] for i in range(24)]
