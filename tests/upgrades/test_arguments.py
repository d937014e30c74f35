"""Format 1 is read as it was written, by a reader of our own, and becomes the running Celery's own message."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from mirepoix.ledger import arguments
from mirepoix.protocol.canonical import WRITER, as_of_now
from mirepoix.records import Lease, Taken

OTHER = "celery 5.6.1 kombu 5.6.0"
NOTHING_FOLLOWS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
AS_WRITTEN = [
    (
        {"__type__": "datetime", "__value__": "2026-02-03T04:05:06+02:00"},
        datetime.fromisoformat("2026-02-03T02:05:06Z"),
    ),
    ({"__type__": "datetime", "__value__": "2026-02-03T04:05:06"}, datetime(2026, 2, 3, 4, 5, 6)),  # noqa: DTZ001
    ({"__type__": "date", "__value__": "2026-02-03"}, date(2026, 2, 3)),
    ({"__type__": "date", "__value__": "2026-02-03T00:00:00"}, date(2026, 2, 3)),
    ({"__type__": "time", "__value__": "04:05:06.000007"}, time(4, 5, 6, 7)),
    ({"__type__": "decimal", "__value__": "10.10"}, Decimal("10.10")),
    ({"__type__": "uuid", "__value__": {"hex": "1" * 32}}, UUID("1" * 32)),
    ({"__type__": "uuid", "__value__": {"hex": "1" * 32, "version": None}}, UUID("1" * 32)),
    ({"__type__": "bytes", "__value__": "café"}, "café".encode()),
    ({"__type__": "base64", "__value__": "/wA="}, b"\xff\x00"),
    ({"__type__": "shop.Money", "__value__": "3 EUR"}, {"__type__": "shop.Money", "__value__": "3 EUR"}),
    ({"__type__": ["datetime"], "__value__": 1}, {"__type__": ["datetime"], "__value__": 1}),
    ({"__type__": "datetime"}, {"__type__": "datetime"}),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def app() -> Iterator[Celery]:
    app = Celery("upgrades", set_as_current=False, broker="memory://")
    yield app
    app.close()


def taken(body: str, writer: str | None = OTHER, **fields: Any) -> Taken:
    known = {
        "queue": "celery",
        "name": "shop.pay",
        "body_encoding": "utf-8",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {"id": "t1", "task": "shop.pay"},
        "properties": {},
        "exchange": "",
        "routing_key": "celery",
        "priority": 0,
        "is_redelivered": False,
    }
    return Taken(lease=Lease("t1", 1, "w1"), body=body, written_by=writer, **{**known, **fields})


@pytest.mark.parametrize(("written", "value"), AS_WRITTEN)
def test_every_marker_is_read(written: dict[str, Any], value: Any):
    call = arguments.read(json.dumps([[written, [written]], {"in": {"side": written}}, NOTHING_FOLLOWS]))
    assert (call.args, call.kwargs) == ([value, [value]], {"in": {"side": value}})


@given(args=st.lists(VALUES), kwargs=st.dictionaries(st.text(), VALUES))
def test_what_the_running_kombu_writes_is_read_as_it_reads_it(args: list[Any], kwargs: dict[str, Any]):
    body = dumps((args, kwargs, NOTHING_FOLLOWS))
    call = arguments.read(body)
    assert [call.args, call.kwargs, call.embed] == loads(body) == [args, kwargs, NOTHING_FOLLOWS]


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "{}", "[[], {}]", "[{}, [], {}]", "[[], {}, []]x", "[[], [], {}]", "[" * 100_000),
        '[[{"__type__": "datetime", "__value__": "yesterday"}], {}, {}]',
        '[[{"__type__": "decimal", "__value__": "much"}], {}, {}]',
        '[[{"__type__": "uuid", "__value__": "much"}], {}, {}]',
        '[[{"__type__": "bytes", "__value__": 1}], {}, {}]',
        '[[{"__type__": "base64", "__value__": "a"}], {}, {}]',
    ],
)
def test_what_cannot_be_read_is_left_to_the_consumer(app: Celery, body: str):
    assert arguments.read(body) is None
    assert as_of_now(taken(body), app) == taken(body)


def test_what_this_very_celery_wrote_is_not_looked_at(app: Celery):
    own = taken("[[], {}, {}]", WRITER)
    assert as_of_now(own, app) is own


@pytest.mark.parametrize("writer", [OTHER, None])
def test_headers_that_the_running_celery_expects_are_filled_in_and_unknown_ones_stay(app: Celery, writer: str | None):
    now = as_of_now(taken('[[1], {"a": 2}, {}]', writer, headers={"id": "t1", "retries": 2, "shelf": "top"}), app)
    model = app.amqp.as_task_v2("t1", "shop.pay", (1,), {"a": 2}, retries=2)
    assert now.headers == {**model.headers, "shelf": "top", "origin": writer or "unknown", "ignore_result": None} | {
        "argsrepr": "[1]"
    }
    assert now.properties["correlation_id"] == "t1"
    assert json.loads(now.body) == [[1], {"a": 2}, NOTHING_FOLLOWS]


def test_what_a_newer_celery_embeds_is_kept(app: Celery):
    now = as_of_now(taken('[[], {}, {"chain": [{"task": "shop.pay"}], "gifts": 1}]'), app)
    assert json.loads(now.body)[2] == {**NOTHING_FOLLOWS, "chain": [{"task": "shop.pay"}], "gifts": 1}


def test_a_stamped_task_keeps_its_stamps(app: Celery):
    stamped = {"id": "t1", "stamped_headers": ["season"], "stamps": {"season": "spring"}}
    now = as_of_now(taken("[[], {}, {}]", headers=stamped), app)
    assert {name: now.headers[name] for name in stamped} == stamped


@pytest.mark.parametrize(
    ("writer", "written", "meant"),
    [("celery 5.5.3 kombu 5.5.4", False, None), ("celery 5.5.3 kombu 5.5.4", True, True), (OTHER, False, False)],
)
def test_that_no_result_is_wanted_means_what_its_writer_meant(
    app: Celery, writer: str, written: bool, meant: bool | None
):
    headers = {"id": "t1", "ignore_result": written}
    assert as_of_now(taken("[[], {}, {}]", writer, headers=headers), app).headers["ignore_result"] is meant


@pytest.mark.parametrize(
    "fields",
    [
        {"content_type": "application/x-yaml"},
        {"body_encoding": "base64"},
        {"headers": {"id": "t1", "compression": "application/x-gzip"}},
        {"headers": ["no", "headers"]},
        {"properties": None},
    ],
)
def test_what_is_not_ours_to_read_is_not_touched(app: Celery, fields: dict[str, Any]):
    assert as_of_now(taken("[[], {}, {}]", **fields), app) == taken("[[], {}, {}]", **fields)


def test_broken_headers_stop_nobody(app: Celery, caplog: pytest.LogCaptureFixture):
    broken = taken("[[], {}, {}]", headers={"id": "t1", "stamped_headers": 7, "stamps": 7})
    with caplog.at_level(logging.ERROR):
        assert as_of_now(broken, app) == broken
    assert "shop.pay[t1]" in caplog.text
