"""Failure groups in the admin: what is shown, what can be decided, and who may."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from admin_client import AdminClient
from django.test import override_settings
from shop import LOST, Shop

from mirepoix.django.models import FailureGroup, Replay
from mirepoix.ledger import finish
from mirepoix.ledger.query.failures import groups
from mirepoix.records import AttemptFailure

LIST = "/admin/mirepoix/failuregroup/"


@pytest.fixture
def admin_client(shop: Shop) -> AdminClient:
    return AdminClient(shop, is_master=True)


def fail(shop: Shop, task_id: str, error: str = "ValueError", release: str | None = None, **fields: Any) -> str:
    """Let a task fail by that error; the id of its group."""
    trouble = AttemptFailure(
        f"{error}: card ending 4242",
        f"builtins.{error}",
        LOST.replace("ValueError", error),
        pid=7,
        run_time_s=0.25,
        release=release,
    )
    assert shop.books.do(finish.fail, shop.lease(task_id, name="shop.pay", **fields), trouble)
    return str(shop.books.row(task_id)["failure_group"])


def ids(admin_client: AdminClient, **query: Any) -> list[str]:
    return re.findall(rf'href="{LIST}([^/"]+)/change/[^"]*">', admin_client.page(LIST, **query))


def act(admin_client: AdminClient, verb: str, *chosen: str) -> str:
    data = {"action": f"{verb}_groups", "_selected_action": chosen, "index": 0}
    return admin_client._text(admin_client.client.post(LIST, data, follow=True))


def decide(admin_client: AdminClient, verb: str, id: str, status: int = 200, **more: Any) -> str:
    return admin_client._text(admin_client.client.post(f"{LIST}{id}/decide/{verb}/", more, follow=True), status)


def statuses(shop: Shop) -> dict[str, str]:
    shop.books.count_failures()
    return {group.id: group.status.value for group in shop.books.do(groups)}


def test_the_list_has_what_needs_a_decision_with_its_numbers(shop: Shop, admin_client: AdminClient):
    group = fail(shop, "a", release="2026.11.3")
    assert fail(shop, "b", release="2026.11.4") == group
    page = admin_client.page(LIST)
    assert re.search(r"first \d+s ago, 2026\.11\.3", page)
    for word in ("ValueError: card ending", "in shop.pay", group, "2026.11.3", "mirepoix-open", "shop.pay"):
        assert word in page
    assert f'href="/admin/mirepoix/task/?group={group}&state=attention">2</a>' in page
    assert ids(admin_client) == [group]


def test_filters_and_words_narrow_it_down(shop: Shop, admin_client: AdminClient):
    value = fail(shop, "a", release="1")
    key = fail(shop, "b", "KeyError", release="2")
    assert set(ids(admin_client)) == {value, key}
    assert ids(admin_client, first_release="2") == [key]
    assert ids(admin_client, q="valueerror") == [value]
    assert ids(admin_client, q=key[:6]) == [key]
    assert set(ids(admin_client, name="shop.pay")) == {value, key}
    act(admin_client, "resolve", key)
    assert ids(admin_client) == [value]
    assert ids(admin_client, state="resolved") == [key]
    assert set(ids(admin_client, state="all")) == {value, key}
    assert "No failure group matches." in admin_client.page(LIST, q="nothing of it")
    assert admin_client.client.get(LIST, {"note__startswith": "1"}).status_code == 302


def test_without_failures_the_list_says_so(admin_client: AdminClient):
    assert "No failure waits for a decision." in admin_client.page(LIST)


def test_a_groups_page_has_its_traceback_and_leads_to_its_tasks(shop: Shop, admin_client: AdminClient):
    group = fail(shop, "a", release="2026.11.3")
    fail(shop, "b", "KeyError")
    page = admin_client.page(f"{LIST}{group}/change/")
    for word in ("Traceback (most recent call last)", "card ending 4242", "/task/a/change/", "in release 2026.11.3"):
        assert word in page
    assert f"mirepoix failures replay {group}" in page
    (link,) = re.findall(r'href="([^"]+state=failed[^"]*)"', page)
    tasks = admin_client.page(link)
    assert "/task/a/change/" in tasks
    assert "/task/b/change/" not in tasks
    assert "failure group" in tasks
    assert f"{LIST}{group}/change/" in admin_client.page("/admin/mirepoix/task/a/change/")


def test_replays_are_told_of(shop: Shop, admin_client: AdminClient):
    group = fail(shop, "a")
    shop.books.write(
        "INSERT INTO mirepoix_replay (id, failure_group, began_by, reason, tasks, canaries, rate_per_s, outcome) "
        f"VALUES ('7b32fadd', '{group}', 'bob', 'mended', 3, 1, 10, 'done')"
    )
    page = admin_client.page(f"{LIST}{group}/change/")
    assert "7b32fadd" in page
    assert "0 of 3" in page
    assert Replay.objects.get().failure_group == FailureGroup.objects.get()


def test_without_use_tz_its_times_are_in_the_projects_zone(shop: Shop, admin_client: AdminClient):
    group = fail(shop, "a")
    shop.books.write(
        "INSERT INTO mirepoix_replay (id, failure_group, began_by, reason, tasks, canaries, rate_per_s) "
        f"VALUES ('7b32fadd', '{group}', 'bob', 'mended', 3, 1, 10)"
    )
    for use_tz in (True, False):
        with override_settings(USE_TZ=use_tz, TIME_ZONE="Asia/Kathmandu"):
            page = admin_client.page(f"{LIST}{group}/change/")
            in_kathmandu = datetime.now().astimezone(tz=__import__("zoneinfo").ZoneInfo("Asia/Kathmandu"))
            times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", page)
            assert len(times) == 4
            for time in times:
                shown = datetime.strptime(time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=in_kathmandu.tzinfo)
                assert abs((in_kathmandu - shown).total_seconds()) < 300
            assert re.search(r"field-last_seen[^>]*>\d+s ago ", admin_client.page(LIST))


def test_a_group_is_resolved_ignored_and_reopened_from_the_list(shop: Shop, admin_client: AdminClient):
    value, key = fail(shop, "a"), fail(shop, "b", "KeyError")
    assert "Resolved: 2 failure groups" in act(admin_client, "resolve", value, key)
    assert statuses(shop) == {value: "resolved", key: "resolved"}
    assert FailureGroup.objects.get(pk=value).decided_by == "ann"
    data = {"action": "reopen_groups", "_selected_action": [value], "index": 0}
    assert "Reopened: 1 failure group" in admin_client._text(
        admin_client.client.post(f"{LIST}?state=all", data, follow=True)
    )
    assert "Ignored: 1 failure group" in act(admin_client, "ignore", value)
    assert statuses(shop) == {value: "ignored", key: "resolved"}
    assert FailureGroup.objects.get(pk=value).ignored_until is not None


def test_on_its_page_a_decision_has_a_note_and_conditions(shop: Shop, admin_client: AdminClient):
    group = fail(shop, "a", release="1")
    page = decide(admin_client, "ignore", group, note="a\nsale", until="20h")
    assert "Ignored while at most 20 fail in an hour." in page
    assert "a sale" in page
    assert 'value="Reopen"' in page
    assert 'value="Ignore"' not in page
    assert "Fixed by release 2." in decide(admin_client, "resolve", group, in_release="2")
    fail(shop, "b", release="1")
    assert statuses(shop) == {group: "resolved"}
    fail(shop, "c", release="2")
    assert statuses(shop) == {group: "regressed"}
    assert "It failed again in release 2 after it was resolved." in admin_client.page(f"{LIST}{group}/change/")
    assert "Reopened" in decide(admin_client, "reopen", group)
    assert "Ignored for good." in decide(admin_client, "ignore", group, until="ever")


def test_a_group_that_is_not_there_is_not_found(admin_client: AdminClient):
    admin_client.page(f"{LIST}nothing/change/", 404)
    assert admin_client.client.post(f"{LIST}nothing/decide/drop/").status_code == 404


def test_a_decision_needs_its_own_permission(shop: Shop):
    group = fail(shop, "a")
    admin_client = AdminClient(shop, "view_failuregroup", "ignore_failuregroup")
    assert "Ignore selected failure groups" in admin_client.page(LIST)
    assert "Resolve selected failure groups" not in admin_client.page(LIST)
    decide(admin_client, "resolve", group, 403)
    assert statuses(shop) == {group: "open"}
    page = admin_client.page(f"{LIST}{group}/change/")
    assert 'value="Ignore"' in page
    assert 'value="Resolve"' not in page
    decide(admin_client, "ignore", group)
    assert statuses(shop) == {group: "ignored"}


def test_who_may_not_see_tasks_sees_no_traceback(shop: Shop):
    group = fail(shop, "a")
    admin_client = AdminClient(shop, "view_failuregroup")
    page = admin_client.page(f"{LIST}{group}/change/")
    assert "4242" not in page
    assert "/task/" not in page
    assert "/task/" not in admin_client.page(LIST)


def test_nobody_writes_a_row_and_without_permission_nothing_is_seen(shop: Shop):
    group = fail(shop, "a")
    admin_client = AdminClient(shop, "view_task")
    admin_client.page(LIST, 403)
    admin_client.page(f"{LIST}{group}/change/", 403)
    assert group in admin_client.page("/admin/mirepoix/task/a/change/")
    assert f"{LIST}{group}" not in admin_client.page("/admin/mirepoix/task/a/change/")
    decide(admin_client, "ignore", group, 403)
    admin_client.page(f"{LIST}add/", 403)
    admin_client.page(f"{LIST}{group}/delete/", 403)
    admin_client.page(f"{LIST}{group}/decide/resolve/", 404)
