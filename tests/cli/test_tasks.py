"""`mirepoix tasks`: filters, order, and what it keeps to itself."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from mirepoix.cli.streams import print_json_list
from mirepoix.ledger.query import holders, stream, tasks
from mirepoix.ledger.query.tasks import Filters
from mirepoix.operations.format import as_json
from mirepoix.records import AttemptFailure


def ids(cli, *words):
    return cli("tasks", "--ids", *words).stdout.split()


def test_the_newest_task_comes_first(cli, ledger, ended):
    ended("succeeded", "first")
    ended("failed", "second")
    ledger.passes(60)
    ledger.send("third")
    assert ids(cli) == ["third", "second", "first"]
    assert ids(cli, "--oldest") == ["first", "second", "third"]
    assert ids(cli, "--limit", "1") == ["third"]


def test_the_age_of_a_running_task_counts_from_its_start(cli, ledger):
    ledger.send("held", "runs")
    leases = {taken.lease.task_id: taken.lease for taken in ledger.take(ledger.worker("w1"))}
    ledger.passes(100)
    ledger.start(leases["runs"])
    ledger.passes(20)
    ages = {one["id"]: one["age_s"] for one in cli.json("tasks")["tasks"]}
    assert ages == {"held": pytest.approx(120, abs=15), "runs": pytest.approx(20, abs=15)}


@pytest.mark.parametrize("state", ["pending", "leased", "running", "succeeded", "failed", "quarantined", "parked"])
def test_a_state_finds_its_own_tasks_only(cli, ledger, ended, state):
    for one in ("leased", "running", "succeeded", "failed", "quarantined", "parked"):
        ended(one, f"is-{one}")
    ledger.send("is-pending")
    assert ids(cli, "--state", state) == [f"is-{state}"]


def test_states_can_be_listed_with_commas_or_repeated(cli, ended):
    ended("failed", "a")
    ended("parked", "b")
    ended("succeeded", "c")
    assert set(ids(cli, "--state", "failed,parked")) == {"a", "b"}
    assert set(ids(cli, "--state", "failed", "--state", "succeeded")) == {"a", "c"}


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("shop.pay", {"a"}),
        ("shop.*", {"a", "b", "c"}),
        ("shop.p?y", {"a"}),
        ("SHOP.*", set()),
        ("*100%_[x]*", {"c"}),
        ("*_*", {"c"}),
        ("x' OR '1'='1", set()),
    ],
)
def test_a_name_is_a_glob_and_never_sql(cli, ledger, glob, found):
    ledger.send("a", name="shop.pay")
    ledger.send("b", name="shop.mail")
    ledger.send("c", name="shop.100%_[x]")
    assert set(ids(cli, "--name", glob)) == found


def test_queue_and_worker_narrow_it_down(cli, ledger, ended):
    ended("running", "a")
    ledger.send("b", queue="mail")
    assert ids(cli, "--queue", "m*") == ["b"]
    assert ids(cli, "--worker", "ender@host") == ["a"]
    assert ids(cli, "--worker", "ender") == ["a"]
    assert ids(cli, "--worker", "nobody*") == []


def test_a_glob_finds_what_any_of_the_workers_has_or_had(cli, ledger, ended):
    for worker in ("ender2", "other"):
        ledger.worker(worker)
    ended("succeeded", "by-ender")
    ended("failed", "failed-by-ender")
    for worker in ("ender2", "other"):
        ledger.send(f"by-{worker}", priority=9)
        ledger.succeed(ledger.lease(worker))
    ledger.passes(7200)  # with the time at which the workers began
    assert set(ids(cli, "--worker", "ender*")) == {"by-ender", "failed-by-ender", "by-ender2"}
    assert set(ids(cli, "--worker", "?ther@*")) == {"by-other"}
    ledger.write("DELETE FROM mirepoix_worker WHERE id = 'other'")
    assert ids(cli, "--worker", "other") == ["by-other"]
    assert ids(cli, "--worker", "oth*") == []


def test_more_workers_than_can_be_named_are_asked_of_each_task(cli, ledger, ended, monkeypatch):
    monkeypatch.setattr(holders, "MOST", 0)
    ended("succeeded", "by-ender")
    ledger.send("waits")
    assert ids(cli, "--worker", "ender*") == ["by-ender"]


@pytest.mark.parametrize(("among", "found"), [(1, []), (2, ["c"]), (9, ["c", "a"])])
def test_a_search_may_be_bounded_to_the_newest_finished_tasks(ledger, ended, among, found):
    for name in "abcd":
        ended("succeeded", name, name="shop.pay" if name in "ac" else "shop.mail")
        ledger.passes(1)
    ledger.send("waits", name="shop.pay")
    with ledger.connection.reading() as tx:
        lines = tasks.search(tx, Filters(name="*pay*", among=among))
    assert [line.id for line in lines] == ["waits", *found]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--arg", "order_id=12"), {"a"}),
        (("--arg", 'email="ann@example.com"', "--arg", "order_id=12"), {"a"}),
        (("--arg", "email=ann@example.com"), {"a", "c"}),
        (("--arg", "12"), {"a", "b"}),
        (("--arg", "1"), set()),
        (("--arg", "x' OR '1'='1"), set()),
        (("--because", "*503*"), {"a", "b"}),
        (("--because", "*503*", "--arg", "order_id=12"), {"a"}),
        (("--min-tries", "2"), {"c"}),
        (("--max-tries", "1"), {"a", "b"}),
        (("--max-tries", "0"), {"waits"}),
    ],
)
def test_arguments_reasons_and_tries_narrow_it_down_for_lists_and_decisions(cli, ledger, words, found):
    ledger.worker("w")
    bodies = {
        "a": '[[], {"order_id": 12, "email": "ann@example.com"}, {}]',
        "b": "[[12, 123], {}, {}]",
        "c": '[[], {"order_id": 123, "deep": {"email": "ann@example.com"}}, {}]',
    }
    for id, body in bodies.items():
        ledger.send(id, body=body)
        lease = ledger.lease("w")
        if id == "c":
            ledger.give_back("w", [lease])
            lease = ledger.lease("w")
        ledger.fail(lease, AttemptFailure("HTTPError: 503 away" if id != "c" else "no stock", error_type="HTTPError"))
    if words == ("--max-tries", "1"):
        words = (*words, "--state", "failed")
    ledger.send("waits", body="[[], {}, {}]")
    assert set(ids(cli, *words)) == found
    if "waits" not in found:
        done = cli.json("discard", *words, "--yes")["done"]
        assert {one["id"] for one in done} == found


def test_a_cause_narrows_it_down_by_the_beginning_of_its_id(cli, ledger, ended):
    ended("failed", "a")
    ended("succeeded", "b")
    group = ledger.row("a")["failure_group"]
    assert ids(cli, "--failure-group", group[:6]) == ["a"]
    assert cli.json("retry", "--failure-group", group, "--yes")["done"] == [{"id": "a", "did": "requeued"}]


def test_since_and_until_take_durations_and_iso_times(cli, ledger, ended):
    ended("succeeded", "old")
    ledger.send("waits")
    ledger.passes(3600)
    ended("succeeded", "new")
    assert ids(cli, "--since", "10m") == ["new"]
    assert set(ids(cli, "--until", "10m")) == {"old", "waits"}
    assert ids(cli, "--since", "2000-01-01", "--until", "2000-01-02T03:00+01:00") == []
    assert len(ids(cli, "--since", "2000-01-01T00:00:00Z")) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--since", "yesterday"], "neither a duration"),
        (["--state", "lost"], "The states are"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_a_wrong_option_is_explained(cli, words, says):
    assert says in cli("tasks", *words, code=2).stderr


def test_arguments_are_shown_only_when_asked_for(cli, ledger):
    ledger.send("a", body='[["s3cret"], {"to": "me"}, {}]')
    assert "s3cret" not in cli("tasks").output
    assert "s3cret" not in cli("tasks", "--json").output
    assert '("s3cret", to="me")' in cli("tasks", "--args").stdout
    assert cli.json("tasks", "--args")["tasks"][0]["kwargs"] == {"to": "me"}


def test_arguments_that_are_not_json_are_no_obstacle(cli, ledger):
    ledger.send("a", body="gASV", content_type="application/x-python-serialize", body_encoding="base64")
    assert "not JSON" in cli("tasks", "--args").stdout
    assert cli.json("tasks", "--args")["tasks"][0]["args"] is None


def test_json_has_the_documented_keys(cli, ended):
    ended("failed", "a")
    found = cli.json("tasks")
    (task,) = found["tasks"]
    assert found["has_more"] is False
    assert set(task) == {
        *("id", "name", "queue", "state", "reason", "attempts", "since", "age_s", "created_at", "due_at"),
        *("held_by", "run_time_s", "worker_id", "worker", "version", "parked_for"),
    }
    assert task["since"].endswith("Z")
    assert task["state"] == "failed"


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_screen(cli, ledger, ended, columns):
    ended("failed", "a" * 36, name="shop.a.rather.long.name.of.a.task.in.some.module", queue="a-long-queue-name")
    ledger.send("b" * 36)
    lines = cli("tasks", columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) == 3


def test_escape_sequences_of_a_task_do_not_reach_the_terminal(cli, ledger):
    ledger.send("a", name="shop.\x1b[31mpay", queue="[red]q[/red]")
    output = cli("tasks").stdout
    assert "\x1b" not in output
    assert "[red]q" in output


def test_an_empty_answer_says_so(cli, ledger):
    assert "no tasks" in cli("tasks").stderr
    ledger.send("a")
    assert "matched whole" in cli("tasks", "--name", "pay").stderr


@pytest.fixture
def in_small_chunks(monkeypatch):
    """Every list is a long one."""
    monkeypatch.setattr(stream, "AT_ONCE", 2)
    monkeypatch.setattr(stream, "MOST_AT_ONCE", 4)


@pytest.mark.parametrize("order", [[], ["--oldest"]])
def test_a_long_list_is_read_in_chunks_and_is_the_same(cli, ledger, ended, order, monkeypatch, in_small_chunks):
    for number in range(6):
        ledger.send(f"waits-{number}")
        ended(("failed", "succeeded", "running")[number % 3], f"ended-{number}")
    for column, state in (("finished_at", "succeeded"), ("created_at", "pending")):  # which are all of one moment
        earliest = f"(SELECT at FROM (SELECT min({column}) AS at FROM mirepoix_task) AS one)"
        ledger.write(f"UPDATE mirepoix_task SET {column} = {earliest} WHERE state = '{state}'")
    chunked = ids(cli, *order), cli.json("tasks", "--limit", "7", *order), cli("tasks", *order).stdout
    monkeypatch.setattr(stream, "AT_ONCE", 1000)
    assert len(chunked[0]) == len(set(chunked[0])) == 12
    assert chunked[0] == ids(cli, *order)
    whole = cli.json("tasks", "--limit", "7", *order)
    assert [one["id"] for one in chunked[1]["tasks"]] == [one["id"] for one in whole["tasks"]]
    assert (len(chunked[1]["tasks"]), chunked[1]["has_more"]) == (7, True)


def test_a_long_list_keeps_no_transaction_open_while_it_is_printed(ledger, in_small_chunks):
    ledger.send(*(f"t{number}" for number in range(9)))
    opened = []

    @contextmanager
    def reading():
        with ledger.connection.reading() as tx:
            opened.append(tx)
            yield tx
            opened.pop()

    seen = 0
    for _ in stream.listed(reading, Filters(), 100):
        assert opened == []
        seen += 1
    assert seen == 9


@pytest.mark.parametrize("items", [[], [{"id": "a", "since": None}, {"id": "b\x1b", "tags": [1, {"x": []}]}]])
def test_a_list_that_is_printed_item_by_item_looks_like_one_that_is_printed_at_once(items, capsys):
    print_json_list("tasks", iter(items), lambda: {"has_more": False})
    assert capsys.readouterr().out == as_json({"tasks": items, "has_more": False}) + "\n"
