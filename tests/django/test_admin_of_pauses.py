"""Pauses in the admin: what is paused, and who may pause and resume."""

from __future__ import annotations

from typing import Any

import pytest
from admin_client import AdminClient
from shop import Shop

from mirepoix.ledger import holds, take
from mirepoix.ledger.holds import Kind

LIST = "/admin/mirepoix/hold/"


@pytest.fixture
def admin_client(shop: Shop) -> AdminClient:
    return AdminClient(shop, is_master=True)


def pause(admin_client: AdminClient, kind: str, value: str, status: int = 200, **more: Any) -> str:
    data = {"kind": kind, "value": value, "note": "the bank is down", **more}
    return admin_client._text(admin_client.client.post(f"{LIST}add/", data, follow=True), status)


def resume(admin_client: AdminClient, *keys: str, **more: Any) -> str:
    data = {"action": "resume", "_selected_action": keys, "index": 0, **more}
    return admin_client._text(admin_client.client.post(LIST, data, follow=True))


def paused(shop: Shop) -> list[tuple[str, str, str, str]]:
    return [(hold.kind.value, hold.value, hold.paused_by, hold.note) for hold in shop.books.do(holds.read)]


def test_a_queue_is_paused_seen_and_resumed_by_whom_and_why(shop: Shop, admin_client: AdminClient):
    shop.books.send("a", queue="mail")
    page = pause(admin_client, "queue", "mail")
    assert "queue 'mail'" in page
    assert "the bank is down" in page
    assert 'href="/admin/mirepoix/task/?queue=mail&state=pending"' in page
    assert paused(shop) == [("queue", "mail", "ann", "the bank is down")]
    assert "Queue 'mail' is resumed" in resume(admin_client, "queue:mail", note="it is up")
    assert paused(shop) == []
    acts = shop.books.query("SELECT verb, kind, value, decided_by, reason FROM mirepoix_steering ORDER BY id")
    assert acts == [
        ("pause", "queue", "mail", "ann", "the bank is down"),
        ("resume", "queue", "mail", "ann", "it is up"),
    ]


def test_resuming_a_name_releases_its_tasks(shop: Shop, admin_client: AdminClient):
    shop.books.send("a", "b", name="shop.pay")
    pause(admin_client, "task", "shop.pay")
    assert shop.books.do(holds.hold_ready, ["celery"], ["shop.pay"]) == 2
    assert "Task 'shop.pay' is resumed, 2 held tasks released" in resume(admin_client, "task:shop.pay")
    shop.books.worker("w1")
    assert len(shop.books.do(take.take, "w1", ["celery"], 10)) == 2


@pytest.mark.parametrize(("kind", "value"), [("worker", "w1@host"), ("release", "7")])
def test_workers_and_releases_are_paused_too(shop: Shop, admin_client: AdminClient, kind: str, value: str):
    shop.books.worker("w1")
    pause(admin_client, kind, value, is_forced="on")
    assert paused(shop) == [(kind, value, "ann", "the bank is down")]
    assert "is resumed" in resume(admin_client, f"{kind}:{value}")


def test_a_name_that_nothing_has_is_refused_unless_it_is_forced(shop: Shop, admin_client: AdminClient):
    shop.books.send("a", queue="mail")
    page = pause(admin_client, "queue", "mial")
    assert "No live worker consumes queue 'mial'" in page
    assert "spelled like it: 'mail'" in page
    for kind, value in (("queue", ""), ("planet", "mail"), ("queue", "a" * 256)):
        pause(admin_client, kind, value, is_forced="on")
    assert paused(shop) == []
    pause(admin_client, "queue", "mial", is_forced="on")
    assert "queue 'mial' is paused already" in pause(admin_client, "queue", "mial", is_forced="on")
    assert [value for _, value, *_ in paused(shop)] == ["mial"]


def test_who_lacks_a_permission_pauses_and_resumes_nothing(shop: Shop):
    shop.books.do(holds.pause, Kind.QUEUE, "mail", "ben", "")
    admin_client = AdminClient(shop, "view_hold")
    page = admin_client.page(LIST)
    assert "queue 'mail'" in page
    assert 'value="resume"' not in page
    assert "queue 'mail'" in admin_client.page(f"{LIST}queue_3Amail/change/")
    assert f'href="{LIST}add/' not in page
    pause(admin_client, "queue", "celery", 403, is_forced="on")
    resume(admin_client, "queue:mail")
    admin_client.page(f"{LIST}queue_3Amail/delete/", 403)
    assert paused(shop) == [("queue", "mail", "ben", "")]
    admin_client.user.user_permissions.clear()
    admin_client.page(LIST, 403)
    assert admin_client.client.post(f"{LIST}add/", {"kind": "queue", "value": "mail"}).status_code == 403
