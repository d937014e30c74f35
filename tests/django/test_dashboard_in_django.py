"""The dashboard among a project's pages: Django's login and permissions decide, and its forms are protected."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from admin_client import AdminClient
from django.test import Client, override_settings
from shop import Shop

from mirepoix.django.dashboard import VERBS

SITE = "/ops/tasks/"
ALL = ("view_task", *(f"{verb}_task" for verb in VERBS))
TOKEN = re.compile(r'name="form_token" value="(\w+)"')


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    shop = Shop(request.getfixturevalue(f"{request.param}_site_url"))
    with override_settings(ROOT_URLCONF="urls_with_dashboard"):
        yield shop
    shop.close()


def test_it_needs_a_login_and_a_permission(shop: Shop):
    shop.fail("failed1")
    for path in ("", "tasks", "tasks/failed1", "static/site.css"):
        answer = Client().get(SITE + path)
        assert (answer.status_code, answer["location"].partition("?")[0]) == (302, "/accounts/login/")
    assert AdminClient(shop).client.get(f"{SITE}tasks").status_code == 403


def test_it_shows_the_ledger_and_follows_the_permissions(shop: Shop):
    shop.fail("failed1")
    ann = AdminClient(shop, "view_task")
    page = ann.page(f"{SITE}tasks/failed1")
    assert "It failed, and no retry is left." in page
    assert 'href="/ops/tasks/queues"' in page
    assert ">ann<" in page
    assert "Retry …" not in page
    token = TOKEN.search(page)[1]
    assert ann.client.post(f"{SITE}act", {"form_token": token, "verb": "retry", "id": "failed1"}).status_code in (
        403,
        413,
    )
    assert ann.client.get(f"{SITE}static/site.css").status_code == 200
    assert "frame-ancestors 'none'" in ann.client.get(SITE)["content-security-policy"]


def test_who_may_decide_decides_under_the_name_of_the_account(shop: Shop):
    shop.fail("failed1")
    ann = AdminClient(shop, *ALL)

    def send(path: str, **form: str):
        body = "&".join(f"{name}={value}" for name, value in form.items())
        return ann.client.post(path, body, content_type="application/x-www-form-urlencoded")

    token = TOKEN.search(ann.page(f"{SITE}tasks/failed1"))[1]
    assert send(f"{SITE}act", form_token="0" * 64, verb="retry", id="failed1").status_code == 403
    page = send(f"{SITE}act", form_token=token, verb="retry", id="failed1").content.decode()
    action = re.search(r'action="(/ops/tasks/act/[^"]+)"', page)[1]
    answer = send(action, form_token=token, reason="fixed")
    assert answer.status_code == 303
    assert "requeued: 1 task" in ann.page(answer["location"])
    assert shop.books.state("failed1") == "pending"
    assert shop.books.query("SELECT decided_by, reason FROM mirepoix_decision") == [("ann", "fixed")]
