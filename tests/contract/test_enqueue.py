"""Enqueueing: what is sent is in the ledger exactly when the transaction commits, as it was sent."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from driver import Ledger, envelope, moment, rolled_back
from mirepoix.connect.source import OwnConnection, Source
from mirepoix.connect.url import source_for
from mirepoix.errors import TaskIdTaken
from mirepoix.ledger import enqueue
from servers import Served

ODD_TEXTS = {
    "quotes": """it's "quoted" `back` \\ slashed \\n""",
    "percent": "100% %s %(id)s %% %d",
    "placeholder": ":name :id ::text ?1 $1 {now} {later :x}",
    "comment": "-- no; DROP TABLE mirepoix_task;\n/* */ ;\n",
    "unicode": "Grüße, 世界, Ωμέγα, e\u0301, \u202eabc, \ufeff",
    "emoji": "🧅🥕🥬 👩‍🍳",
    "control": "tab\t bell\x07 esc\x1b cr\r\n",
    "empty": "",
    "blank": "   ",
}


def test_a_task_is_as_it_was_sent(ledger: Ledger):
    sent = envelope(
        "t",
        name="shop.pay",
        queue="mail",
        body="[[], {}, {}]",
        headers={"task": "shop.pay", "n": [1, None, True, 1.5], "deep": {"a": {"b": []}}},
        properties={"correlation_id": "t", "delivery_info": {"exchange": "", "routing_key": "mail"}},
        content_type="application/x-python",
        content_encoding="binary",
        body_encoding="base64",
        priority=7,
        exchange="x",
        routing_key="k",
        retries=2,
        root_id="r",
        parent_id="p",
        group_id="g",
    )
    assert ledger.do(enqueue.add, [sent]) == {"t"}
    row = ledger.row("t")
    without_column = {"headers", "properties", "expires", "follows", "eta_in_s", "expires_in_s", "asked_at", "at_limit"}
    for name, value in asdict(sent).items():
        if name not in without_column:
            assert row[name] == value, name
    assert (row["state"], row["fence"], row["generation"], row["deaths"], row["handovers"]) == ("pending", 0, 0, 0, 0)
    ledger.worker("w1")
    (taken,) = ledger.take("w1", queues=["mail"])
    for name in ("name", "queue", "body", "headers", "properties", "content_type", "content_encoding", "body_encoding"):
        assert getattr(taken, name) == getattr(sent, name)
    assert (taken.priority, taken.exchange, taken.routing_key, taken.is_redelivered) == (7, "x", "k", False)


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_odd_text_comes_back_as_it_went(ledger: Ledger, text: str):
    body = json.dumps([[text], {text: text}, {}])
    raw = json.dumps([[text], {}, {}], ensure_ascii=False)
    ledger.worker("w1")
    ledger.do(
        enqueue.add,
        [
            envelope(f"id {text}", name=text, queue=f"queue {text}", body=body, headers={text: text}, root_id=text),
            envelope(
                "raw", queue=f"queue {text}", body=raw, properties={text: [text]}, routing_key=text, exchange=text
            ),
        ],
    )
    first, second = ledger.take("w1", queues=[f"queue {text}"])
    assert first.lease.task_id == f"id {text}"
    assert (first.name, first.body, first.headers) == (text, body, {text: text})
    assert (second.body, second.properties, second.routing_key, second.exchange) == (raw, {text: [text]}, text, text)
    assert ledger.start(first.lease) == {first.lease.task_id}
    assert ledger.succeed(first.lease)
    assert ledger.retry(second.lease, queue=f"queue {text}", body=body)
    (again,) = ledger.take("w1", queues=[f"queue {text}"])
    assert again.body == body


def test_nul_and_lone_surrogates_escaped_in_json_are_kept(ledger: Ledger):
    body = json.dumps([["a\0b", "\ud800"], {"k": "\0"}, {}])
    assert "\\u0000" in body
    ledger.worker("w1")
    ledger.send("t", body=body, headers={"argsrepr": "a\0b"}, properties={"p": "\0"})
    (taken,) = ledger.take("w1")
    assert (taken.body, taken.headers, taken.properties) == (body, {"argsrepr": "a\0b"}, {"p": "\0"})
    ledger.fail(taken.lease)
    assert ledger.requeue("t") == ["t"]
    (taken,) = ledger.take("w1")
    assert taken.headers == {"argsrepr": "a\0b", "retries": 0, "expires": None}


def test_arguments_that_no_database_can_read_do_not_break_the_readable_view(ledger: Ledger):
    ledger.send("good", body='[[1], {"a": "ü"}, {}]')
    ledger.send("nan", body=json.dumps([[float("nan")], {}, {}]))
    ledger.send("nul", body=json.dumps([["\0"], {}, {}]))
    ledger.send("no json", body="{")
    ledger.send("binary", body="gASVBQ==", body_encoding="base64", content_type="application/x-python-serialize")
    found = {
        id: (args, kwargs) for id, args, kwargs in ledger.query("SELECT id, args, kwargs FROM mirepoix_task_readable")
    }
    args, kwargs = found["good"]
    if isinstance(args, str):
        args, kwargs = json.loads(args), json.loads(kwargs)
    assert (args, kwargs) == ([1], {"a": "ü"})
    for task_id in ("nan", "no json", "binary"):
        assert found[task_id] == (None, None), task_id


def test_a_large_body_comes_back_whole(ledger: Ledger):
    body = json.dumps([["å" * 1_000_000], {}, {}], ensure_ascii=False)
    ledger.worker("w1")
    ledger.send("t", body=body)
    assert ledger.take("w1")[0].body == body


def test_several_thousand_tasks_go_in_few_statements(source: Source, ledger: Ledger):
    statements = 0

    @contextmanager
    def counted():
        with ledger.connection.transaction() as tx:
            fetch = tx.fetch

            class Counting:
                dialect = tx.dialect

                def fetch(self, name, **params):
                    nonlocal statements
                    statements += 1
                    return fetch(name, **params)

            yield Counting()

    ids = [f"t{n}" for n in range(3_500)]
    with counted() as tx:
        assert enqueue.add(tx, [envelope(task_id) for task_id in ids]) == set(ids)
    assert statements == 4
    ledger.worker("w1")
    assert ledger.take_ids("w1", 5_000) == ids


def test_nothing_to_send_is_no_statement(ledger: Ledger):
    assert ledger.do(enqueue.add, []) == set()


def test_a_rollback_leaves_nothing(ledger: Ledger, source: Source):
    with rolled_back(ledger.connection) as tx:
        enqueue.add(tx, [envelope("t")])
    with rolled_back(source) as tx:
        enqueue.add(tx, [envelope("t")])
    assert ledger.counts()["mirepoix_task"] == 0
    assert ledger.send("t") == {"t"}


def test_a_rollback_of_a_rearm_leaves_the_task_as_it_was(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t")
    ledger.succeed(ledger.lease("w1"))
    before = ledger.row("t")
    with rolled_back(ledger.connection) as tx:
        assert enqueue.add(tx, [envelope("t", name="other")]) == {"t"}
    assert ledger.row("t") == before


def test_what_is_not_committed_nobody_can_take(source: Source, ledger: Ledger, connection: OwnConnection):
    if source.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time: the taker waits for the commit")
    ledger.worker("w1")
    with connection.transaction() as tx:
        enqueue.add(tx, [envelope("t")])
        assert ledger.take_ids("w1") == []
    assert ledger.take_ids("w1") == ["t"]


def test_an_id_that_somebody_else_is_sending_is_waited_for(served: Served):
    source = source_for(served.url)
    answers = []
    with Ledger(source) as ledger, Ledger(source) as other:
        with ledger.connection.transaction() as tx:
            enqueue.add(tx, [envelope("t")])
            sender = threading.Thread(target=lambda: answers.append(other.send("new", "t", "newer")))
            sender.start()
            sender.join(0.2)
            assert answers == []
        sender.join(20)
        assert answers == [{"new", "newer"}]
        assert set(ledger.states()) == {"t", "new", "newer"}
    source.close()


@pytest.mark.parametrize("state", ["pending", "leased", "running", "parked", "quarantined"])
def test_a_task_that_is_not_finished_ignores_a_second_sending(
    ledger: Ledger, state: str, caplog: pytest.LogCaptureFixture
):
    ledger.send("t")
    ledger.write(f"UPDATE mirepoix_task SET state = '{state}'")
    before = ledger.row("t")
    with caplog.at_level(logging.WARNING, "mirepoix.enqueue"):
        assert ledger.send("t", queue="other") == set()
    assert ledger.row("t") == before
    assert "it was sent again" in caplog.text


@pytest.mark.parametrize("other", [{"name": "other"}, {"body": '[[2], {"a": 2}, {}]'}], ids=str)
def test_an_unfinished_tasks_id_is_refused_to_another_task(ledger: Ledger, other: dict[str, str]):
    ledger.send("t")
    with pytest.raises(TaskIdTaken):
        ledger.send("t", **other)
    with pytest.raises(TaskIdTaken):
        ledger.do(enqueue.add, [envelope("u"), envelope("u", **other)])
    assert ledger.counts()["mirepoix_task"] == 1


def test_what_follows_from_a_task_is_another_one_if_its_id_is_taken(ledger: Ledger):
    """As the rest of a chain is that was sent twice with the same ids."""
    sent = [envelope("t", parent_id=parent, headers={"id": "t"}, follows=True) for parent in ("a", "b", "c")]
    ledger.do(enqueue.add, sent[:1])
    ledger.do(enqueue.add, sent)
    rows = ledger.query("SELECT parent_id, id FROM mirepoix_task ORDER BY parent_id")
    assert [parent for parent, _ in rows] == ["a", "b", "c"]
    assert rows[0] == ("a", "t")
    ledger.worker("w1")
    assert {taken.headers["id"] for taken in ledger.take("w1")} == {id for _, id in rows}


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled", "expired"])
def test_a_finished_task_that_is_sent_again_begins_a_new_generation(ledger: Ledger, state: str):
    ledger.worker("w1")
    ledger.send("t")
    ledger.start(ledger.lease("w1"))
    ledger.write(
        f"UPDATE mirepoix_task SET state = '{state}', deaths = 2, handovers = 3, reason = 'old', run_time_s = 1, "
        "peak_memory_kb = 1, finished_at = created_at"
    )
    assert ledger.send("t", name="new", queue="other", body="[[2], {}, {}]", priority=3, retries=1) == {"t"}
    row = ledger.row("t")
    assert (row["state"], row["generation"], row["fence"]) == ("pending", 1, 1)
    assert (row["name"], row["queue"], row["body"], row["priority"], row["retries"]) == (
        *("new", "other", "[[2], {}, {}]", 3, 1),
    )
    assert (row["deaths"], row["handovers"]) == (0, 0)
    for column in ("reason", "leased_at", "started_at", "finished_at", "run_time_s", "peak_memory_kb"):
        assert row[column] is None, column
    (taken,) = ledger.take("w1", queues=["other"])
    assert (taken.lease.fence, taken.is_redelivered) == (2, False)


def test_one_id_twice_in_one_sending_is_one_task(ledger: Ledger):
    assert ledger.send("t", "t") == {"t"}
    assert ledger.counts()["mirepoix_task"] == 1
    ledger.worker("w1")
    ledger.succeed(ledger.lease("w1"))
    assert ledger.send("t", "t") == {"t"}
    assert ledger.row("t")["generation"] == 1


def test_one_id_twice_in_one_adoption_is_the_first_of_them(ledger: Ledger):
    twice = [envelope("t", body="[[1], {}, {}]"), envelope("u"), envelope("t", body="[[2], {}, {}]")]
    assert ledger.do(enqueue.adopt, twice) == {"t", "u"}
    assert ledger.row("t")["body"] == "[[1], {}, {}]"
    assert ledger.do(enqueue.adopt, twice) == set()


def test_in_one_sending_new_known_and_finished_ids_each_get_their_own_answer(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("finished")
    ledger.succeed(ledger.lease("w1"))
    ledger.send("waiting")
    assert ledger.send("new", "waiting", "finished") == {"new", "finished"}


ZONES = ["+00:00", "Z", "+02:00", "-09:30", "+05:45", "+14:00", "-12:00"]


@pytest.mark.parametrize("zone", ZONES)
def test_an_eta_means_the_same_instant_in_every_zone(ledger: Ledger, zone: str):
    offset = timedelta(0)
    if zone != "Z":
        hours, minutes = zone[1:].split(":")
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if zone[0] == "-" else 1)
    instant = datetime.now(UTC).replace(microsecond=250_000) + timedelta(hours=1)
    local = (instant + offset).replace(tzinfo=None)
    ledger.send("t", eta=f"{local.isoformat()}{zone}", expires=f"{(local + timedelta(hours=1)).isoformat()}{zone}")
    row = ledger.row("t")
    assert moment(row["eta"]) == instant
    assert moment(row["due_at"]) == instant
    assert moment(row["expires_at"]) == instant + timedelta(hours=1)


def test_an_eta_across_a_change_of_clocks_is_the_instant_it_names(ledger: Ledger):
    # 2:30 happened twice in Berlin that night; the offset tells which.
    ledger.send("summer", eta="2030-10-27T02:30:00+02:00")
    ledger.send("winter", eta="2030-10-27T02:30:00+01:00")
    first, second = (moment(ledger.row(name)["due_at"]) for name in ("summer", "winter"))
    assert second - first == timedelta(hours=1)


def test_microseconds_of_an_eta_are_read(ledger: Ledger):
    ledger.send("t", eta="2030-01-01T12:00:00.123456+00:00")
    expected = datetime(2030, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    assert abs(moment(ledger.row("t")["due_at"]) - expected) < timedelta(milliseconds=1)


def test_an_eta_that_has_passed_is_kept_but_the_task_is_ready(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", eta="2020-01-01T00:00:00+00:00")
    assert ledger.row("t")["due_at"] is None
    assert moment(ledger.row("t")["eta"]) == datetime(2020, 1, 1, tzinfo=UTC)
    assert ledger.take_ids("w1") == ["t"]


def test_times_are_those_of_the_database_in_utc(ledger: Ledger):
    ledger.send("t")
    assert abs(moment(ledger.row("t")["created_at"]) - datetime.now(UTC)) < timedelta(seconds=5)


def test_headers_hold_what_celery_and_its_users_put_there(ledger: Ledger):
    moment = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    ledger.send("t", headers={"at": moment, "id": UUID(int=7), "price": Decimal("1.20"), "tags": {"b", "a"}})
    ledger.worker("w1")
    (taken,) = ledger.take("w1")
    assert taken.headers == {
        "at": "2026-11-22T09:30:00+00:00",
        "id": "00000000-0000-0000-0000-000000000007",
        "price": "1.20",
        "tags": ["a", "b"],
    }


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_a_header_that_json_cannot_hold_is_refused_and_nothing_is_written(ledger: Ledger, value: object):
    with pytest.raises((TypeError, ValueError), match="JSON"):
        ledger.send("t", headers={"x": value})
    assert ledger.query("SELECT count(*) FROM mirepoix_task") == [(0,)]
