"""Alerts in the admin, to read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from admin_client import AdminClient
from shop import Shop

from mirepoix.ledger import alerts, counting
from mirepoix.records import Alert

LIST = "/admin/mirepoix/alert/"


@pytest.fixture
def admin_client(shop: Shop) -> AdminClient:
    return AdminClient(shop, is_master=True)


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


def titles(admin_client: AdminClient, **query: Any) -> list[str]:
    return re.findall(rf'href="{LIST}[^"]+">Something about (\w+) <', admin_client.page(LIST, **query))


def test_the_list_has_the_open_ones_first_and_who_was_told(shop: Shop, admin_client: AdminClient):
    open_(shop, subject="money")
    tell(shop, "logging")
    tell(shop, "mail_admins", "the server is away")
    page = admin_client.page(LIST)
    assert "logging; not mail_admins: the server is away" in page
    assert "late queue" in page
    shop.books.do(alerts.close, "late_queue:money")
    open_(shop, "parked", "mail")
    assert titles(admin_client) == ["mail", "money"]
    assert titles(admin_client, state="open") == ["mail"]
    assert titles(admin_client, state="over") == ["money"]
    assert titles(admin_client, kind="parked") == ["mail"]
    assert titles(admin_client, q="money") == ["money"]


def test_its_page_leads_to_the_task_and_the_group(shop: Shop, admin_client: AdminClient):
    shop.fail("a")
    counting.count_all(shop.books.connection)
    group = str(shop.books.row("a")["failure_group"])
    id = open_(shop, "new_failure", group, name="shop.pay", task_id="a", release="7")
    tell(shop, "logging")
    quoted = id.replace("_", "_5F").replace(":", "_3A")
    page = admin_client.page(f"{LIST}{quoted}/change/")
    for word in (f"/failuregroup/{group}/change/", "/task/a/change/", "shop.pay", "logging", "not yet, due"):
        assert word in page
    admin_client.page(f"{LIST}nothing/change/", 404)


def test_what_came_back_says_so(shop: Shop, admin_client: AdminClient):
    for _ in range(2):
        id = open_(shop)
        tell(shop, "logging")
        shop.books.do(alerts.close, id)
    page = admin_client.page(f"{LIST}late_5Fqueue_3Amoney/change/")
    assert "Came back" in page
    assert page.count("<td>logging</td>") == 2


def test_they_are_only_read_by_whom_may(shop: Shop):
    open_(shop)
    admin_client = AdminClient(shop, "view_alert")
    assert 'name="action"' not in admin_client.page(LIST)
    admin_client.page(f"{LIST}add/", 403)
    admin_client.page(f"{LIST}late_5Fqueue_3Amoney/delete/", 403)
    admin_client.user.user_permissions.clear()
    admin_client.page(LIST, 403)
    admin_client.page(f"{LIST}late_5Fqueue_3Amoney/change/", 403)
