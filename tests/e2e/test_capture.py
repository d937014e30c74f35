"""Every way to send a task makes a row, and nobody dials the broker."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, chord, group, signals
from celery.exceptions import QueueNotFound
from kombu import Exchange, Queue
from kombu.exceptions import EncodeError
from workers import Shop

from driver import moment
from mirepoix.errors import EnqueueError, InvalidTaskId, PayloadNotSerializable, PayloadTooLarge, TaskIdTaken

SOON = timedelta(seconds=2)


def test_delay_makes_a_waiting_row(shop: Shop) -> None:
    id = shop.task("add", 1, 2).delay().id
    row = shop.row(id)
    assert (row["state"], row["name"], row["queue"], row["fence"]) == ("pending", "shop.add", "celery", 0)
    assert json.loads(row["body"])[0] == [1, 2]


def test_send_task_makes_a_waiting_row(shop: Shop) -> None:
    id = shop.app.send_task("shop.add", args=(1,), kwargs={"y": 2}).id
    row = shop.row(id)
    assert json.loads(row["body"])[:2] == [[1], {"y": 2}]


def test_a_task_defined_on_the_app_is_captured_too(shop: Shop) -> None:
    @shop.app.task(name="shop.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    id = add.delay(1, 2).id
    assert shop.state(id) == "pending"


def test_a_countdown_is_a_due_time(shop: Shop) -> None:
    now = datetime.now(UTC)
    row = shop.row(shop.send("add", 1, 2, countdown=60))
    assert abs(moment(row["due_at"]) - now - timedelta(seconds=60)) < SOON
    assert row["eta"] == row["due_at"]


def test_an_aware_eta_is_a_due_time(shop: Shop) -> None:
    eta = datetime.now(UTC) + timedelta(hours=1)
    row = shop.row(shop.send("add", 1, 2, eta=eta.astimezone()))
    assert abs(moment(row["due_at"]) - eta) < timedelta(milliseconds=2)


def test_naive_moments_are_in_utc_as_workers_of_celery_read_them(shop: Shop) -> None:
    app = shop.client({"timezone": "Asia/Kathmandu"})
    naive = (datetime.now(UTC) + timedelta(hours=1)).replace(tzinfo=None, microsecond=0)
    row = shop.row(app.send_task("shop.add", args=(1, 2), eta=naive, expires=naive).id)
    assert moment(row["due_at"]) == moment(row["expires_at"]) == naive.replace(tzinfo=UTC)


def test_an_eta_may_have_an_offset_with_seconds(shop: Shop) -> None:
    offset = timezone(timedelta(hours=5, minutes=53, seconds=28))  # as Calcutta had until 1906
    eta = datetime.now(offset).replace(microsecond=0) + timedelta(hours=1)
    assert moment(shop.row(shop.send("add", 1, 2, eta=eta))["due_at"]) == eta


def test_an_eta_in_the_past_is_due_at_once(shop: Shop) -> None:
    row = shop.row(shop.send("add", 1, 2, eta=datetime.now(UTC) - SOON))
    assert row["due_at"] is None
    assert row["eta"] is not None


@pytest.mark.parametrize("expires", [30, timedelta(seconds=30), "moment"])
def test_an_expiry_is_kept(shop: Shop, expires: Any) -> None:
    end = datetime.now(UTC) + timedelta(seconds=30)
    given = end if expires == "moment" else expires
    if isinstance(given, timedelta):
        given = given.total_seconds()
    row = shop.row(shop.send("add", 1, 2, expires=given))
    assert abs(moment(row["expires_at"]) - end) < SOON


def test_a_priority_is_kept(shop: Shop) -> None:
    assert shop.row(shop.send("add", 1, 2, priority=7))["priority"] == 7


def test_a_queue_is_kept(shop: Shop) -> None:
    assert shop.row(shop.send("add", 1, 2, queue="slow"))["queue"] == "slow"


def test_task_routes_choose_the_queue(shop: Shop) -> None:
    app = shop.client({"task_routes": {"shop.add": {"queue": "maths"}}})
    assert shop.row(app.send_task("shop.add", args=(1, 2)).id)["queue"] == "maths"


def test_a_direct_exchange_leads_to_the_queue_bound_to_the_key(shop: Shop) -> None:
    sums = Exchange("sums", type="direct")
    app = shop.client({"task_queues": [Queue("small", sums, "s"), Queue("large", sums, "l")]})
    row = shop.row(app.send_task("shop.add", args=(1, 2), exchange="sums", routing_key="l").id)
    assert (row["queue"], row["exchange"], row["routing_key"]) == ("large", "sums", "l")


def test_a_topic_exchange_leads_to_the_queue_whose_pattern_fits(shop: Shop) -> None:
    sums = Exchange("sums", type="topic")
    app = shop.client({"task_queues": [Queue("small", sums, "sum.small.#"), Queue("large", sums, "sum.large.*")]})
    row = shop.row(app.send_task("shop.add", args=(1, 2), exchange="sums", routing_key="sum.large.very").id)
    assert row["queue"] == "large"


@pytest.mark.parametrize("key", ["neither", "both.small"])
def test_an_exchange_that_leads_to_no_queue_or_to_several_is_refused(shop: Shop, key: str) -> None:
    sums = Exchange("sums", type="topic")
    app = shop.client({"task_queues": [Queue("one", sums, "both.*"), Queue("two", sums, "*.small")]})
    with pytest.raises(EnqueueError):
        app.send_task("shop.add", args=(1, 2), exchange="sums", routing_key=key)
    assert shop.ledger.states() == {}


def test_headers_shadow_and_ignore_result_are_kept(shop: Shop) -> None:
    id = shop.send("add", 1, 2, headers={"tenant": "blue"}, shadow="sum", ignore_result=True)
    headers = shop.row(id)["headers"]
    headers = headers if isinstance(headers, dict) else json.loads(headers)
    assert (headers["tenant"], headers["shadow"], headers["ignore_result"]) == ("blue", "sum", True)


def test_a_task_id_of_the_callers_own_is_kept(shop: Shop) -> None:
    assert shop.send("add", 1, 2, task_id="order-17") == "order-17"
    assert shop.state("order-17") == "pending"


def test_a_second_sending_of_a_waiting_task_is_ignored(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.send("add", 1, 2, task_id="order-17")
    shop.send("add", 1, 2, task_id="order-17")
    with pytest.raises(TaskIdTaken, match="order-17"):
        shop.send("add", 3, 4, task_id="order-17")
    assert shop.ledger.states() == {"order-17": "pending"}
    assert json.loads(shop.row("order-17")["body"])[0] == [1, 2]
    assert "order-17" in caplog.text


def test_the_first_of_a_chain_is_a_row_and_carries_the_rest(shop: Shop) -> None:
    result = chain(shop.task("add", 1, 2), shop.task("add", 3), app=shop.app).delay()
    (id,) = shop.ledger.states()
    assert id == result.parent.id
    (rest,) = json.loads(shop.row(id)["body"])[2]["chain"]
    assert rest["options"]["task_id"] == result.id


def test_a_group_is_a_row_a_member(shop: Shop) -> None:
    result = group([shop.task("add", i, i) for i in range(5)], app=shop.app).delay()
    assert shop.ledger.states() == dict.fromkeys((r.id for r in result.results), "pending")
    assert {shop.row(r.id)["group_id"] for r in result.results} == {result.id}


def test_a_group_of_which_one_member_cannot_be_sent_leaves_nothing(shop: Shop) -> None:
    members = [shop.task("add", 1, 1), shop.task("add", 2, object()), shop.task("add", 3, 3)]
    with pytest.raises(EncodeError):
        group(members, app=shop.app).delay()
    assert shop.ledger.states() == {}
    assert shop.send("add", 1, 2) in shop.ledger.states()


def test_chunks_map_and_starmap_are_rows(shop: Shop) -> None:
    @shop.app.task(name="shop.add", shared=False)
    def add(x: int, y: int = 0) -> int:
        return x + y

    add.map([1, 2]).delay()
    add.starmap([(1, 2), (3, 4)]).delay()
    add.chunks([(i, i) for i in range(6)], 2).delay()
    names = sorted(name for (name,) in shop.ledger.query("SELECT name FROM mirepoix_task"))
    assert names == ["celery.map", *["celery.starmap"] * 4]


def test_links_travel_with_the_task(shop: Shop) -> None:
    id = shop.send("add", 1, 2, link=shop.task("add", 3), link_error=shop.task("old_errback"))
    embed = json.loads(shop.row(id)["body"])[2]
    assert embed["callbacks"][0]["task"] == "shop.add"
    assert embed["errbacks"][0]["task"] == "shop.old_errback"
    assert list(shop.ledger.states()) == [id]


def test_the_publish_signals_fire(shop: Shop) -> None:
    fired = []

    def before(sender: str, headers: dict[str, Any], **_: Any) -> None:
        fired.append(("before", sender, headers["id"], shop.ledger.states()))

    def after(sender: str, headers: dict[str, Any], **_: Any) -> None:
        fired.append(("after", sender, headers["id"], shop.ledger.states()))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        id = shop.send("add", 1, 2)
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert fired == [("before", "shop.add", id, {}), ("after", "shop.add", id, {id: "pending"})]


def test_what_before_task_publish_puts_into_the_headers_is_kept(shop: Shop) -> None:
    def before(headers: dict[str, Any], **_: Any) -> None:
        headers["trace"] = "abc"

    signals.before_task_publish.connect(before)
    try:
        id = shop.send("add", 1, 2)
    finally:
        signals.before_task_publish.disconnect(before)
    headers = shop.row(id)["headers"]
    assert (headers if isinstance(headers, dict) else json.loads(headers))["trace"] == "abc"


def test_pickle_is_refused(shop: Shop) -> None:
    with pytest.raises(PayloadNotSerializable, match="pickle"):
        shop.send("add", 1, 2, serializer="pickle")
    assert shop.ledger.states() == {}


def test_arguments_that_json_cannot_hold_are_refused(shop: Shop) -> None:
    with pytest.raises(PayloadNotSerializable, match=r"shop\.add") as caught:
        shop.send("add", 1, object())
    assert isinstance(caught.value, EncodeError)
    assert shop.ledger.states() == {}


def test_a_payload_above_the_limit_is_refused(shop: Shop) -> None:
    app = shop.client(payload_limit_bytes=1_000)
    with pytest.raises(PayloadTooLarge) as caught:
        app.send_task("shop.add", args=("x" * 1_000, 2))
    assert caught.value.limit_bytes == 1_000
    assert shop.ledger.states() == {}


def test_an_unknown_queue_is_refused_where_queues_are_not_made(shop: Shop) -> None:
    app = shop.client({"task_create_missing_queues": False})
    with pytest.raises(QueueNotFound):
        app.send_task("shop.add", args=(1, 2), queue="nowhere")
    assert shop.ledger.states() == {}


@pytest.mark.parametrize("id", ["x" * 256, "a\nb", "a\0b", "\ud800"])
def test_an_id_that_no_column_holds_is_refused(shop: Shop, id: str) -> None:
    with pytest.raises(InvalidTaskId):
        shop.send("add", 1, 2, task_id=id)
    assert shop.ledger.states() == {}


WRONG_OPTIONS: dict[str, dict[str, Any]] = {
    "time_limit": {"time_limit": "5m"},
    "time_limit of a list": {"time_limit": [5]},
    "time_limit that no clock holds": {"time_limit": 10**400},
    "time_limit that never ends": {"time_limit": float("inf")},
    "time_limit of bool": {"time_limit": True},
    "soft_time_limit": {"soft_time_limit": "x"},
    "soft_time_limit of a timedelta": {"soft_time_limit": timedelta(seconds=5)},
    "priority": {"priority": "high"},
    "priority of a float": {"priority": 1.5},
    "priority beyond the column": {"priority": 100_000},
    "priority that is no number": {"priority": float("nan")},
    "countdown": {"countdown": "5"},
    "countdown that is no number": {"countdown": float("nan")},
    "eta that is no moment": {"eta": 5},
    "expires": {"expires": [5]},
    "headers": {"headers": 5},
    "content_type": {"content_type": "x"},
    "retries": {"retries": 10**30},
    "retries of a text": {"retries": "x"},
    "eta": {"eta": "soon"},
    "eta before any calendar": {"eta": "0001-01-01T00:00:00+00:00"},
    "expiration": {"expiration": "x"},
    "queue": {"queue": "q" * 300},
    "queue with NUL": {"queue": "a\0b"},
    "root_id": {"root_id": "r" * 300},
    "root_id with half a character": {"root_id": "\ud800"},
    "parent_id": {"parent_id": "a\0b"},
    "group_id": {"group_id": "g" * 300},
    "shadow": {"shadow": ["x"]},
    "header": {"headers": {"x": float("nan")}},
    "header of an object": {"headers": {"x": object()}},
    "key of a header": {"headers": {(1, 2): 3}},
    "property": {"reply_to": float("nan")},
    "link": {"link": 5},
    "link_error": {"link_error": ["shop.add"]},
    "time_limit of a link": {"link": {"task": "shop.add", "args": (), "kwargs": {}, "options": {"time_limit": "5m"}}},
    "priority of a chord's body": {
        "chord": {"task": "shop.add", "args": (), "kwargs": {}, "options": {"priority": 100_000}}
    },
}


def test_an_option_that_somebody_could_not_take_is_refused_at_the_call(shop: Shop) -> None:
    for what, wrong in WRONG_OPTIONS.items():
        with pytest.raises(EnqueueError) as caught:
            shop.send("add", 1, 2, **wrong)
        option = what.split()[0]
        said = str(caught.value).replace("queue name", "queue").replace("properties", "property")
        assert option in said or option == "key", (what, said)
        assert shop.ledger.states() == {}, what
    for wrong in ({"task_id": float("nan")}, {"queue": "q" * 300}, {"countdown": "x"}, {"task_id": "a\0b"}):
        with pytest.raises(EnqueueError, match=next(iter(wrong))):
            chain(shop.task("add", 1, 2), shop.task("add", 3).set(**wrong), app=shop.app).delay()
    body = shop.task("add", 1).set(priority=100_000)
    with pytest.raises(EnqueueError, match="priority=100000"):
        chord([shop.task("add", 1, 2)], body, app=shop.app).delay()
    assert shop.ledger.states() == {}


def test_options_at_the_edge_are_kept(shop: Shop) -> None:
    edges: list[dict[str, Any]] = [
        {"priority": 32_767},
        {"priority": -32_768},
        {"time_limit": 0.5, "soft_time_limit": 0},
        {"expires": datetime.max.replace(tzinfo=UTC)},
        {"retries": 2**31 - 1},
        {"queue": "q" * 255},
        {"headers": {"x": "a\0b \ud800"}},
    ]
    for edge in edges:
        shop.send("add", 1, 2, **edge)
    assert set(shop.ledger.states().values()) == {"pending"}
    assert len(shop.ledger.states()) == len(edges)


def test_what_rabbitmq_has_no_place_for_is_refused_at_the_call(shop: Shop) -> None:
    app = shop.client(delivery="broker")
    for wrong in ({"priority": 300}, {"priority": -1}, {"task_id": "ü" * 200}, {"headers": {"k" * 256: 1}}):
        with pytest.raises(EnqueueError):
            app.send_task("shop.add", args=(1, 2), **wrong)
    assert shop.ledger.states() == {}


def test_an_id_may_be_a_uuid(shop: Shop) -> None:
    id = uuid4()
    result = shop.app.send_task("shop.add", args=(1, 2), task_id=id)
    assert result.id == str(id)
    assert shop.ledger.states() == {str(id): "pending"}
    first = shop.task("add", 1, 2).set(task_id=uuid4())
    assert str(first.apply_async().id) in shop.ledger.states()


@pytest.mark.parametrize("text", ["naïve ☃ 🍲", "a\0b", "\ud800", "%s %(x)s :name {now}"])
def test_any_text_is_an_argument(shop: Shop, text: str) -> None:
    id = shop.send("add", text, 2)
    assert json.loads(shop.row(id)["body"])[0] == [text, 2]


def test_a_dead_broker_holds_up_nobody(shop: Shop) -> None:
    app = shop.client({"broker_url": "amqp://127.0.0.1:1//", "broker_transport_options": {"max_retries": 1}})
    id = app.send_task("shop.add", args=(1, 2), countdown=10).id
    assert shop.state(id) == "pending"
