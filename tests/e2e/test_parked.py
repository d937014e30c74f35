"""What no code can take is parked with its reason, and the worker goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from workers import Process, Shop

pytestmark = pytest.mark.slow


def broken(shop: Shop, id: str, **columns: str) -> str:
    """Send a task, and break its row before any worker sees it."""
    shop.send("note", task_id=id, countdown=3600)
    quoted = ", ".join("{} = '{}'".format(name, value.replace("'", "''")) for name, value in columns.items())
    shop.ledger.write(f"UPDATE mirepoix_task SET {quoted}, due_at = NULL WHERE id = '{id}'")
    return id


def headers(shop: Shop, **more: Any) -> str:
    """The headers of a note, with these changed."""
    row = shop.row(shop.send("note", countdown=3600))
    found = row["headers"] if isinstance(row["headers"], dict) else json.loads(row["headers"])
    return json.dumps({**found, **more})


def is_parked(shop: Shop, steady_worker: Process, id: str) -> str:
    """Wait until it is parked; the worker must be as well as before. Returns the reason."""
    shop.wait(id, "parked")
    assert shop.runs(id) == 0
    assert [a["outcome"] for a in shop.ledger.attempts(id)] == ["parked"]
    after = shop.send("note")
    shop.wait(after, "succeeded")
    assert steady_worker.is_running
    return str(shop.row(id)["reason"])


def test_an_unknown_task_is_parked(open_shop: Shop, steady_worker: Process) -> None:
    assert "shop.nothing" in is_parked(open_shop, steady_worker, open_shop.send("nothing"))


@pytest.mark.parametrize(
    ("what", "columns"),
    [
        ("body", {"body": "{no json"}),
        ("content", {"content_type": "application/x-unknown"}),
        ("pair", {"body": "[1, 2]"}),
        ("text", {"body": '"text"'}),
        ("kwargs", {"body": "[[1], [2], {}]"}),
        ("args", {"body": '["text", {}, {}]'}),
        ("encoding", {"body_encoding": "base64", "body": "§"}),
        ("protocol", {"headers": "{}", "body": '{"task": "shop.note", "id": "x", "args": [], "kwargs": {}}'}),
        ("list", {"headers": "[]"}),
        ("unknown", {"body_encoding": "rot13"}),
        ("carried", {"body": "[[], {}, 5]"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_parked(
    open_shop: Shop, steady_worker: Process, what: str, columns: dict[str, str]
) -> None:
    assert is_parked(open_shop, steady_worker, broken(open_shop, f"broken-{what}", **columns))


def test_a_broken_expiry_is_parked(open_shop: Shop, steady_worker: Process) -> None:
    id = "broken-expires"
    assert is_parked(open_shop, steady_worker, broken(open_shop, id, headers=headers(open_shop, id=id, expires="soon")))


def test_a_time_limit_that_no_pool_can_take_is_parked(open_shop: Shop, steady_worker: Process) -> None:
    for number, limits in enumerate([5, ["5m", None], [None, [5]], [10**400, None], [{}, None, None]]):
        id = f"limit-{number}"
        row = broken(open_shop, id, headers=headers(open_shop, id=id, timelimit=limits))
        assert "limit" in is_parked(open_shop, steady_worker, row)


def test_a_name_that_is_none_is_parked_and_a_header_of_celerys_own_name_does_no_harm(
    open_shop: Shop, steady_worker: Process
) -> None:
    id = "broken-shadow"
    assert "name" in is_parked(
        open_shop, steady_worker, broken(open_shop, id, headers=headers(open_shop, id=id, shadow=["x"]))
    )
    id = "broken-headers"
    open_shop.wait(broken(open_shop, id, headers=headers(open_shop, id=id, headers=5)), "succeeded")


def test_a_broken_eta_in_the_headers_does_no_harm_as_the_ledger_knows_when_it_is_due(open_shop: Shop) -> None:
    id = "broken-eta"
    open_shop.wait(broken(open_shop, id, headers=headers(open_shop, id=id, eta="soon")), "succeeded")


def test_arguments_that_do_not_fit_are_parked(open_shop: Shop, steady_worker: Process) -> None:
    assert "argument" in is_parked(open_shop, steady_worker, open_shop.send("two", 1))
