"""Alerts in the admin, to read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from desk import Desk
from shop import Shop

from mirepoix.ledger import alerts, counting
from mirepoix.records import Alert

LIST = "/admin/mirepoix/alert/"


@pytest.fixture
def desk(shop: Shop) -> Desk:
    return Desk(shop, is_master=True)


def open_(shop: Shop, kind: str = "late_queue", subject: str = "money", **fields: Any) -> str:
    id = f"{kind}:{subject}"
    told = Alert(id, kind, subject, f"Something about {subject}", **fields)
    shop.books.do(alerts.open_, told, ["mail_admins", "logging"])
    return id


def tell(shop: Shop, channel: str, trouble: str | None = None) -> None:
    (telling,) = shop.books.do(alerts.due, channel)
    assert shop.books.do(alerts.claim, telling)
    if trouble is None:
        shop.books.do(alerts.note_told, telling)
    else:
        shop.books.do(alerts.note_untold, telling, trouble, 5.0)


def titles(desk: Desk, **query: Any) -> list[str]:
    return re.findall(rf'href="{LIST}[^"]+">Something about (\w+) <', desk.page(LIST, **query))


def test_the_list_has_the_open_ones_first_and_who_was_told(shop: Shop, desk: Desk):
    open_(shop, subject="money")
    tell(shop, "logging")
    tell(shop, "mail_admins", "the server is away")
    page = desk.page(LIST)
    assert "logging; not mail_admins: the server is away" in page
    assert "late queue" in page
    shop.books.do(alerts.close, "late_queue:money")
    open_(shop, "parked", "mail")
    assert titles(desk) == ["mail", "money"]
    assert titles(desk, state="open") == ["mail"]
    assert titles(desk, state="over") == ["money"]
    assert titles(desk, kind="parked") == ["mail"]
    assert titles(desk, q="money") == ["money"]


def test_its_page_leads_to_the_task_and_the_group(shop: Shop, desk: Desk):
    shop.fail("a")
    counting.count_all(shop.books.connection)
    group = str(shop.books.row("a")["failure_group"])
    id = open_(shop, "new_failure", group, name="shop.pay", task_id="a", release="7")
    tell(shop, "logging")
    quoted = id.replace("_", "_5F").replace(":", "_3A")
    page = desk.page(f"{LIST}{quoted}/change/")
    for word in (f"/failuregroup/{group}/change/", "/task/a/change/", "shop.pay", "logging", "not yet, due"):
        assert word in page
    desk.page(f"{LIST}nothing/change/", 404)


def test_what_came_back_says_so(shop: Shop, desk: Desk):
    for _ in range(2):
        id = open_(shop)
        tell(shop, "logging")
        shop.books.do(alerts.close, id)
    page = desk.page(f"{LIST}late_5Fqueue_3Amoney/change/")
    assert "Came back" in page
    assert page.count("<td>logging</td>") == 2


def test_they_are_only_read_by_whom_may(shop: Shop):
    open_(shop)
    desk = Desk(shop, "view_alert")
    assert 'name="action"' not in desk.page(LIST)
    desk.page(f"{LIST}add/", 403)
    desk.page(f"{LIST}late_5Fqueue_3Amoney/delete/", 403)
    desk.user.user_permissions.clear()
    desk.page(LIST, 403)
    desk.page(f"{LIST}late_5Fqueue_3Amoney/change/", 403)
