"""Transactional tasks in real workers: what they write commits with their outcome and what they send, or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from banks import HOWS, Bank
from celery import chain, chord, group
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
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """A bank with one worker that all tests of this module share."""
    how, database, pool = request.param
    folder = tmp_path_factory.mktemp(f"{how}-{database}-{pool}")
    with Bank(folder / "bank", request.getfixturevalue("shared_ledger")(database, folder), how) as bank:
        bank.pool = pool
        bank.steady_worker = bank.worker("w1", pool=pool)
        yield bank
        assert bank.steady_worker.is_running, bank.steady_worker.said


@pytest.fixture
def w() -> str:
    """A word that no other test writes."""
    return f"word-{next(_numbers)}"


def has_orm(bank: Bank) -> bool:
    return bank.how in ("session", "scoped", "django")


# What commits


def test_what_a_task_writes_commits_with_its_success(bank: Bank, w: str) -> None:
    id = bank.work(f"write {w}", f"orm {w}-2")
    assert bank.words(id) == [w, f"{w}-2"]
    assert (bank.runs(id), bank.outcomes(id), bank.row(id)["fence"]) == (1, ["succeeded"], 1)
    assert bank.app.AsyncResult(id).get(timeout=DEADLINE_S) == "done"


def test_nobody_sees_it_before(bank: Bank, w: str) -> None:
    id = bank.send("work", f"write {w}", f"mark {w}", f"wait {w}")
    until(lambda: bank.effects(id, w), "it wrote")
    assert bank.effects(id, w)[0].more["said"] == "1"
    with bank.ledger.connection.reading() as tx:
        assert tx.query("SELECT word FROM deed WHERE word = :w", w=w) == []
    bank.make(w)
    bank.wait(id, "succeeded")
    assert bank.words(id) == [w]


def test_what_it_sends_commits_with_it(bank: Bank, w: str) -> None:
    id = bank.work(f"send {w}", f"write {w}", f"send {w}-2")
    bank.wait([w, f"{w}-2"], "succeeded")
    assert {bank.row(child)["parent_id"] for child in (w, f"{w}-2")} == {id}


def test_links_and_the_rest_of_a_chain_commit_with_it(bank: Bank, w: str) -> None:
    link = bank.task("listed", "linked")
    link.freeze()
    last = chain(
        bank.task("work", f"write {w}").set(link=link), bank.task("listed"), bank.task("listed"), app=bank.app
    ).delay()
    bank.wait([link.id, last.id], "succeeded")
    first = last.parent.parent.id
    assert bank.words(first) == [w]
    assert bank.effects(last.parent.id, "begin")[0].more["words"] == ["done"]
    assert last.get(timeout=DEADLINE_S) == [["done"]]


def test_its_part_of_a_chord_commits_with_it(bank: Bank) -> None:
    one, two = next(_numbers), next(_numbers)
    result = chord(
        [bank.task("add", one, 1), bank.task("listed", "x"), bank.task("add", two, 2)], app=bank.app
    )(bank.task("listed"))  # fmt: skip
    bank.wait(result.id, "succeeded")
    assert result.get(timeout=DEADLINE_S) == [[one + 1, ["x"], two + 2]]
    assert {f"sum-{one}-1", f"sum-{two}-2"} <= set(bank.words())
    assert [bank.runs(member.id) for member in result.parent.results] == [1, 1, 1]


def test_tasks_of_a_group_each_commit_once(bank: Bank, w: str) -> None:
    members = group([bank.task("work", f"write {w}-{i}", f"orm {w}-{i}-2") for i in range(8)], app=bank.app).delay()
    bank.wait([member.id for member in members.results], "succeeded")
    assert [bank.words(member.id) for member in members.results] == [[f"{w}-{i}", f"{w}-{i}-2"] for i in range(8)]


def test_a_task_that_is_ignored_commits(bank: Bank, w: str) -> None:
    id = bank.work(f"write {w}", f"send {w}", "ignore")
    bank.wait(w, "succeeded")
    assert bank.words(id) == [w]
    assert bank.row(id)["reason"] == "ignored by the task"


def test_a_task_that_is_replaced_commits_with_the_message_of_the_other(bank: Bank, w: str) -> None:
    id = bank.send("work", f"write {w}", f"replace {w}")
    until(lambda: [e for e in bank.effects(id, "begin") if e.name == "bank.listed"], "the other ran")
    bank.wait(id, "succeeded")
    assert bank.words(id) == [w]
    assert bank.runs(id) == 2


def test_a_transactional_task_called_as_a_function_is_part_of_the_caller(bank: Bank, w: str) -> None:
    assert bank.words(bank.work(f"write {w}", f"function {w}-2")) == [w, f"{w}-2"]
    assert bank.words(bank.work(f"write {w}-3", f"function {w}-4", "fail x", state="failed")) == []


def test_called_by_a_task_that_is_none_it_commits_by_itself(bank: Bank, w: str) -> None:
    id = bank.send("call", f"write {w}-1", f"fail {w}-2", f"write {w}-3")
    bank.wait(id, "succeeded")
    assert bank.words(id) == [f"{w}-1", f"{w}-3"]
    assert len(bank.effects(id, "inner failure")) == 1


# What is rolled back


def test_nothing_of_a_failure_is_left_but_its_record(bank: Bank, w: str) -> None:
    errback = bank.task("errback")
    errback.freeze()
    id = bank.work(f"write {w}", f"orm {w}-2", f"send {w}", "fail no stock", state="failed", link_error=errback)
    bank.wait(errback.id, "succeeded")
    assert bank.words(id) == []
    assert w not in bank.ledger.states()
    (attempt,) = bank.ledger.attempts(id)
    assert (attempt["error"], attempt["outcome"]) == ("ValueError: no stock", "failed")
    assert bank.effects(errback.id, "begin")[0].more == {"failed": id}
    with pytest.raises(ValueError, match="no stock"):
        bank.app.AsyncResult(id).get(timeout=DEADLINE_S)


def test_a_chain_ends_with_a_failure(bank: Bank, w: str) -> None:
    last = chain(bank.task("work", f"write {w}", "fail x"), bank.task("listed"), app=bank.app).delay()
    bank.wait(last.parent.id, "failed")
    assert last.id not in bank.ledger.states()


def test_an_attempt_that_asks_for_a_retry_leaves_nothing(bank: Bank, w: str) -> None:
    id = bank.work(f"write {w}", f"send {w}", "retry 2")
    bank.wait(w, "succeeded")
    assert bank.words(id) == [w]  # the same word is unique: earlier attempts cannot have left it
    assert (bank.runs(id), bank.outcomes(id)) == (3, ["retried", "retried", "succeeded"])
    assert bank.runs(w) == 1


def test_retries_that_come_to_their_end_are_a_failure(bank: Bank, w: str) -> None:
    id = bank.work(f"write {w}", "retry 9", state="failed")
    assert (bank.words(id), bank.runs(id), bank.outcomes(id)) == ([], 3, ["retried", "retried", "failed"])
    assert "KeyError" in bank.row(id)["reason"]


def test_an_error_that_is_retried_by_itself_leaves_nothing(bank: Bank, w: str) -> None:
    bank.ledger.write("DELETE FROM deed WHERE word LIKE 'try-%'")
    id = bank.send("work_again", "key-error x")
    bank.wait(id, "succeeded")
    assert bank.words(id) == ["try-2"]
    assert bank.outcomes(id) == ["retried", "retried", "succeeded"]


def test_an_inner_block_can_be_rolled_back_alone(bank: Bank, w: str) -> None:
    id = bank.work(f"write {w}-1", f"broken-nested {w}-2", f"nested {w}-3", f"orm {w}-4")
    assert bank.words(id) == [f"{w}-1", f"{w}-3", f"{w}-4"]
    id = bank.work(f"write {w}-5", f"nested {w}-6", "fail x", state="failed")
    assert bank.words(id) == []


def test_a_block_that_an_error_has_broken_is_never_a_success(bank: Bank, w: str) -> None:
    bank.work(f"write {w}")
    id = bank.send("work", f"write {w}-2", f"swallow {w}", f"send {w}-3")
    bank.wait(id)
    if (bank.is_sqlite or bank.is_mysql) and bank.how in ("plain", "engine"):  # only the one statement was undone
        assert (bank.state(id), bank.words(id)) == ("succeeded", [f"{w}-2"])
    else:
        assert (bank.state(id), bank.words(id)) == ("failed", [])
        assert f"{w}-3" not in bank.ledger.states()


def test_what_is_refused_as_the_task_ends_is_its_failure(bank: Bank, w: str) -> None:
    if bank.how not in ("session", "scoped"):
        pytest.skip("only a Session writes then")
    bank.work(f"write {w}")
    id = bank.work(f"write {w}-2", f"orm {w}", state="failed")
    assert bank.words(id) == []
    assert "IntegrityError" in bank.row(id)["reason"]


def looks_in_the_commit(bank: Bank) -> None:
    """Skip where every constraint is looked at as the row is written."""
    if bank.is_mysql:
        pytest.skip("MariaDB knows no deferred constraints")


def test_a_constraint_that_is_looked_at_in_the_commit_makes_it_fail(bank: Bank, w: str) -> None:
    looks_in_the_commit(bank)
    errback, link = bank.task("errback"), bank.task("listed")
    errback.freeze()
    link.freeze()
    last = chain(
        bank.task("work", f"write {w}", f"promise {w}", f"send {w}").set(link_error=errback, link=link),
        bank.task("listed"),
        app=bank.app,
    ).delay()
    id = last.parent.id
    bank.wait(id, "failed")
    bank.wait(errback.id, "succeeded")
    assert bank.words(id) == []
    assert not {last.id, link.id, w} & set(bank.ledger.states())
    (attempt,) = bank.ledger.attempts(id)
    assert (attempt["outcome"], attempt["error_type"]) == (
        "failed",
        "mirepoix.celery.transactional.CommitRefused",
    )
    assert "foreign key" in attempt["error"].lower()
    assert bank.app.AsyncResult(id).state == "FAILURE"
    kept = bank.work(f"write {w}-2", f"sql INSERT INTO kept VALUES ('{w}')", f"promise {w}")
    assert bank.words(kept) == [f"{w}-2"]


def test_a_replacement_is_not_sent_if_the_commit_is_refused(bank: Bank, w: str) -> None:
    id = bank.work(f"write {w}", f"promise {w}", f"replace {w}", state="failed")
    assert (bank.words(id), bank.runs(id), bank.row(id)["name"]) == ([], 1, "bank.work")


def test_an_errback_that_takes_the_error_is_called_once(bank: Bank, w: str) -> None:
    looks_in_the_commit(bank)
    id = bank.work(f"promise {w}", state="failed", link_error=bank.task("errback_in_place"))
    (told,) = bank.errbacks(id)
    assert told.more["error"] == "CommitRefused"


# What user code does beside


def test_functions_on_commit_run_after_it_and_only_then(bank: Bank, w: str) -> None:
    if bank.how not in ("session", "django"):
        pytest.skip("the driver knows no such thing")
    done = bank.work(f"write {w}", f"on-commit {w}")
    until(lambda: bank.effects(done, w), "it was called")
    failed = bank.work(f"on-commit {w}", "fail x", state="failed")
    refused = bank.work(f"on-commit {w}", f"promise {w}", state="failed")
    assert [len(bank.effects(id, w)) for id in (done, failed, refused)] == [1, 0, 0]


def test_what_a_function_on_commit_sends_is_sent(bank: Bank, w: str) -> None:
    if bank.how not in ("session", "django"):
        pytest.skip("the driver knows no such thing")
    id = bank.work(f"write {w}", f"send-on-commit {w}")
    until(lambda: w in bank.ledger.states(), "it was sent")
    bank.wait(w, "succeeded")
    assert bank.row(w)["parent_id"] == id


def test_a_function_on_commit_that_fails_does_not_undo_the_success(bank: Bank, w: str) -> None:
    if bank.how not in ("session", "django"):
        pytest.skip("the driver knows no such thing")
    link = bank.task("listed")
    link.freeze()
    id = bank.work(
        f"write {w}", f"fail-on-commit {w}", f"on-commit {w}", link=link, link_error=bank.task("errback_in_place")
    )
    bank.wait(link.id, "succeeded")
    after = bank.work(f"write {w}-after")
    assert (bank.words(id), bank.words(after)) == ([w], [f"{w}-after"])
    assert bank.app.AsyncResult(id).get(timeout=DEADLINE_S) == "done"
    assert not bank.calls_errbacks(id)
    assert w in bank.steady_worker.said


@pytest.mark.parametrize("verb", ["commit", "rollback"])
def test_code_that_ends_the_transaction_by_itself_has_failed(bank: Bank, w: str, verb: str) -> None:
    id = bank.work(f"write {w}", verb, f"write {w}-2", f"send {w}", state="failed")
    if bank.how == "plain" and (bank.is_sqlite or bank.is_mysql):  # its driver lets everybody commit
        assert bank.words(id) == ([w] if verb == "commit" else []) + [f"{w}-2"]
        assert "ended its transaction by itself" in bank.row(id)["reason"]
    else:
        assert bank.words(id) == []
        assert w not in bank.ledger.states()


def test_so_it_has_if_it_does_that_in_sql(bank: Bank, w: str) -> None:
    if bank.how != "plain":
        pytest.skip("what a framework believes of the transaction is wrong then")
    id = bank.work(f"write {w}", "sql COMMIT", state="failed")
    assert bank.words(id) == [w]
    assert "ended its transaction by itself" in bank.row(id)["reason"]


def test_in_django_a_durable_block_is_refused(bank: Bank, w: str) -> None:
    if bank.how != "django":
        pytest.skip("it is Django's")
    id = bank.work(f"write {w}", "durable", state="failed")
    assert bank.words(id) == []
    assert "durable" in bank.row(id)["reason"]


def test_progress_is_seen_at_once_where_it_can_be(bank: Bank, w: str) -> None:
    if bank.pool == "solo" or bank.is_sqlite:
        pytest.skip("the worker takes nothing else while it runs a task; nor does SQLite")
    if bank.is_mysql and bank.how not in ("plain", "django"):
        pytest.skip("SQLAlchemy's transactions are MariaDB's REPEATABLE READ: what is reported is part of them")
    id = bank.send("work", f"write {w}", "state half", f"mark {w}", f"wait {w}")
    until(lambda: bank.effects(id, w), "it reported")
    result = bank.app.AsyncResult(id)
    assert (result.state, result.info) == ("PROGRESS", "half")
    bank.make(w)
    bank.wait(id, "succeeded")
    assert result.get(timeout=DEADLINE_S) == "done"
    assert bank.words(id) == [w]


def test_a_step_outlives_a_rollback_where_it_can_be_kept_apart(bank: Bank, w: str) -> None:
    id = bank.work(f"write {w}", f"step {w}", "retry 2")
    assert bank.words(id) == [w]
    assert bank.runs(id) == 3
    assert len(bank.effects(id, "step")) == (3 if bank.is_sqlite else 1)


def test_many_at_once_find_enough_connections(bank: Bank, w: str) -> None:
    ids = [bank.send("work", f"write {w}-{i}", f"step {w}", "state half") for i in range(24)]
    bank.wait(ids, "succeeded")
    assert [bank.words(id) for id in ids] == [[f"{w}-{i}"] for i in range(24)]
