"""The ledger in the admin: what is shown, what can be decided, and who may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from admin_client import LIST, AdminClient
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from shop import Shop

from mirepoix.django import changelist
from mirepoix.django.models import Task
from mirepoix.ledger import finish, holds, steps
from mirepoix.records import Completion


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    shop = Shop(request.getfixturevalue(f"{request.param}_site_url"))
    yield shop
    shop.close()


@pytest.fixture
def admin_client(shop: Shop) -> AdminClient:
    return AdminClient(shop, is_master=True)


def succeed(shop: Shop, task_id: str, **fields: Any) -> None:
    shop.books.do(finish.succeed, "w1", [Completion(shop.lease(task_id, **fields), 0.5)])


def test_the_list_shows_what_a_person_wants_to_know(shop: Shop, admin_client: AdminClient):
    shop.fail("failed1", name="shop.pay", queue="money")
    shop.books.send("waiting", name="shop.mail")
    page = admin_client.page()
    for word in ("failed1", "shop.pay", "money", "ValueError: card ending 4242", "mirepoix-failed", "shop.mail"):
        assert word in page
    assert admin_client.ids() == ["waiting", "failed1"]


def test_filters_narrow_it_down(shop: Shop, admin_client: AdminClient):
    shop.fail("f", name="shop.pay", queue="money")
    succeed(shop, "s", name="shop.mail")
    shop.books.send("p", name="shop.pay")
    assert set(admin_client.ids()) == {"f", "s", "p"}
    assert admin_client.ids(state="failed") == ["f"]
    assert admin_client.ids(state="attention") == ["f"]
    assert admin_client.ids(queue="money") == ["f"]
    assert set(admin_client.ids(name="shop.pay")) == {"f", "p"}
    assert admin_client.ids(name="shop.pay", state="pending") == ["p"]
    shop.books.passes(7200)
    shop.books.send("new")
    assert admin_client.ids(since="1h") == ["new"]
    assert set(admin_client.ids(since="24h")) == {"f", "s", "p", "new"}


def test_a_search_finds_the_beginning_of_an_id_or_a_part_of_a_name(shop: Shop, admin_client: AdminClient):
    shop.books.send("0a7bc", name="shop.pay")
    shop.books.send("0a9", name="shop.mail")
    assert admin_client.ids(q="0a7") == ["0a7bc"]
    assert admin_client.ids(q="0a9 ") == ["0a9"]
    assert admin_client.ids(q="mail") == ["0a9"]
    assert admin_client.ids(q="pay", name="shop.pay") == ["0a7bc"]
    assert admin_client.ids(q="nothing of it") == []
    assert "No task matches." in admin_client.page(q="nothing of it")


def test_odd_filters_do_no_harm(shop: Shop, admin_client: AdminClient):
    shop.books.send("a")
    assert admin_client.ids(state="nonsense") == ["a"]
    assert admin_client.client.get(LIST, {"worker__pid": "1"}).status_code == 400
    assert admin_client.client.get(LIST, {"p": "99"}).status_code == 302


def test_nothing_is_counted_and_the_newest_are_shown(
    shop: Shop, admin_client: AdminClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changelist, "MOST", 60)
    shop.books.send(*(f"t{number:03}" for number in range(70)))
    with CaptureQueriesContext(connections["default"]) as queries:
        page = admin_client.page()
    of_ledger = [query["sql"] for query in queries if "mirepoix_" in query["sql"]]
    assert of_ledger
    assert not any(re.search(r"count\s*\(", sql, re.IGNORECASE) for sql in of_ledger)
    assert "Only the newest 60 are listed" in page
    assert "Select all 60 tasks" not in page
    assert "Select the newest 60 of the tasks that match" in page
    assert len(admin_client.ids()) == 50
    assert admin_client.ids(p=2) == [f"t{number:03}" for number in range(19, 9, -1)]


def test_a_tasks_page_tells_its_whole_story(shop: Shop, admin_client: AdminClient):
    shop.books.send("root")
    shop.fail("a", parent_id="root", root_id="root", body='[["<b>🧅</b>"], {"amount": 4242}, {}]')
    shop.books.send("child", parent_id="a", root_id="root", name="shop.mail")
    page = admin_client.page(f"{LIST}a/change/")
    for word in (
        *('"<b>🧅</b>"', "amount =", "4242", "Traceback (most recent call last)", "ValueError: card ending 4242"),
        *("sent by", "/task/root/change/", "it sent", "/task/child/change/", "w1@host", "process 7", "ran 0.25s"),
    ):
        assert word in page
    assert "builtins.ValueError" not in page
    assert ">Retry<" not in page
    assert 'value="Retry"' in page
    assert 'value="Discard"' in page
    assert 'value="Cancel"' not in page


def test_a_waiting_tasks_page_says_what_it_waits_for(shop: Shop, admin_client: AdminClient):
    shop.books.send("waits", name="shop.mail")
    shop.books.do(holds.pause, holds.Kind.TASK, "shop.mail", "ann", "the provider is down")
    page = admin_client.page(f"{LIST}waits/change/")
    assert "is paused by ann since" in page
    assert "mirepoix resume task shop.mail" in page


def test_it_tells_of_steps_edits_and_results(shop: Shop, admin_client: AdminClient):
    lease = shop.lease("a")
    shop.books.do(steps.store, lease, "charge", '{"secret": 7}', 0.5)
    shop.books.write(
        "INSERT INTO mirepoix_edit (task_id, edited_by, reason, before_edit, after_edit) VALUES ('a', 'bob', 'a typo', "
        '\'{"name": "shop.pay", "version": 1, "args": [1], "kwargs": {}}\', '
        '\'{"name": "shop.pay", "version": 1, "args": [2], "kwargs": {}}\')'
    )
    shop.books.write("INSERT INTO mirepoix_result (task_id, status, result) VALUES ('a', 'STARTED', '\"halfway\"')")
    page = admin_client.page(f"{LIST}a/change/")
    assert "charge" in page
    assert "secret" not in page
    assert "by bob: a typo" in page
    assert "halfway" in page


def test_without_use_tz_its_times_are_in_the_projects_zone(shop: Shop, admin_client: AdminClient):
    shop.fail("a")
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Kathmandu"):
        task = Task.objects.get()
        page = admin_client.page(f"{LIST}a/change/")
        assert f"{task.finished_at:%Y-%m-%d %H:%M:%S}" in page
        assert f"{task.attempts.get().leased_at:%Y-%m-%d %H:%M:%S} <span" in page
        assert re.search(r"field-age[^>]*>\d+s<", admin_client.page())


def test_arguments_that_are_no_json_are_said_to_be(shop: Shop, admin_client: AdminClient):
    shop.books.send("a", content_type="application/x-python-serialize", body="gASV", body_encoding="base64")
    assert "The arguments are application/x-python-serialize and not JSON" in admin_client.page(f"{LIST}a/change/")


def test_a_task_that_is_not_there_is_not_found(admin_client: AdminClient):
    admin_client.page(f"{LIST}nothing/change/", 404)


def test_an_id_with_odd_letters_has_a_page(shop: Shop, admin_client: AdminClient):
    shop.fail("a/b_c?")
    assert "a/b_c?" in admin_client.page(f"{LIST}a_2Fb_5Fc_3F/change/")
    assert "Requeued: 1 task" in admin_client.decide("retry", "a/b_c?", back="task")


def test_one_task_is_decided_about_at_once(shop: Shop, admin_client: AdminClient):
    shop.fail("a")
    page = admin_client.act("retry", "a")
    assert "Requeued: 1 task" in page
    row = shop.books.row("a")
    assert (row["state"], row["reason"]) == ("pending", "retried in the admin (by ann)")


def test_several_are_confirmed_first_and_told_apart(shop: Shop, admin_client: AdminClient):
    shop.fail("a")
    shop.fail("b")
    succeed(shop, "s")
    page = admin_client.act("retry", "a", "b", "s")
    assert shop.books.states() == {"a": "failed", "b": "failed", "s": "succeeded"}
    assert "will be retried" in page
    assert "Retry 3 tasks?" in page
    assert "will not be retried: it succeeded" in page
    done = admin_client.confirm(page)
    assert "Requeued: 2 tasks" in done
    assert "Not retried: 1 task: it succeeded: there is nothing to retry (s)" in done
    assert shop.books.states() == {"a": "pending", "b": "pending", "s": "succeeded"}
    assert shop.books.row("a")["reason"] == "a fixed card reader (by ann)"


def test_the_confirmation_says_what_will_become_of_each_state(shop: Shop, admin_client: AdminClient):
    shop.books.send("now")
    shop.books.send("later", eta="2090-01-01T00:00:00+00:00")
    page = admin_client.act("retry", "now", "later")
    assert "will run now instead of later" in page
    assert "will not be retried: it is waiting for a worker already" in page
    assert "Due now: 1 task" in admin_client.confirm(page)


def test_all_that_are_listed_can_be_chosen_over_pages(shop: Shop, admin_client: AdminClient):
    for number in range(55):
        shop.fail(f"f{number}", queue="money")
    shop.books.send("other")
    page = admin_client.act("discard", "f1", select_across="1")
    assert "Discard 56 tasks?" in page
    done = admin_client.confirm(page)
    assert "Discarded: 55 tasks" in done
    assert "Not discarded: 1 task: it is waiting: use cancel (other)" in done


def test_each_decision_goes_through_the_ledger(shop: Shop, admin_client: AdminClient):
    shop.books.send("c")
    assert "Cancelled: 1 task" in admin_client.act("cancel", "c")
    assert "Requeued: 1 task" in admin_client.act("requeue", "c")
    shop.fail("d", queue="money")
    assert "Discarded: 1 task" in admin_client.act("discard", "d")
    shop.books.send("later", eta="2090-01-01T00:00:00+00:00")
    assert "Due now: 1 task" in admin_client.act("retry", "later")
    assert shop.books.states() == {"c": "pending", "d": "cancelled", "later": "pending"}


def test_what_a_worker_has_is_left_to_it(shop: Shop, admin_client: AdminClient):
    shop.lease("a")
    page = admin_client.act("cancel", "a")
    assert "Not cancelled: 1 task: it is handed to a worker: revoke it with manage.py mirepoix cancel (a)" in page
    assert shop.books.states() == {"a": "leased"}


def test_a_task_that_was_pruned_meanwhile_is_told_of(admin_client: AdminClient):
    assert "Not retried: 1 task: the ledger has no such task (gone)" in admin_client.decide("retry", "gone")


def test_without_the_projects_app_nothing_is_decided(shop: Shop, admin_client: AdminClient):
    import django_site

    shop.fail("a")
    django_site.celery_app = Celery_of_none()
    assert "Nothing was changed" in admin_client.act("retry", "a")
    assert shop.books.states() == {"a": "failed"}


def Celery_of_none() -> Any:  # noqa: N802
    from celery import Celery

    return Celery("bare", set_as_current=False)


def test_a_decision_needs_its_own_permission(shop: Shop):
    shop.fail("a")
    admin_client = AdminClient(shop, "view_task", "discard_task")
    page = admin_client.page()
    assert "Discard selected tasks" in page
    assert "Retry selected tasks" not in page
    assert "No action selected." in admin_client.act("retry", "a") or shop.books.states() == {"a": "failed"}
    admin_client.decide("retry", "a", 403)
    assert shop.books.states() == {"a": "failed"}
    story = admin_client.page(f"{LIST}a/change/")
    assert 'value="Discard"' in story
    assert 'value="Retry"' not in story
    admin_client.decide("discard", "a")
    assert shop.books.states() == {"a": "cancelled"}


def test_who_may_only_look_can_only_look(shop: Shop):
    shop.fail("a")
    admin_client = AdminClient(shop, "view_task")
    assert 'name="action"' not in admin_client.page()
    for verb in ("retry", "requeue", "cancel", "discard"):
        admin_client.decide(verb, "a", 403)
    admin_client.page(f"{LIST}add/", 403)
    admin_client.page(f"{LIST}a/delete/", 403)


def test_without_permission_nothing_is_seen(shop: Shop):
    shop.fail("a")
    admin_client = AdminClient(shop, "discard_task")
    admin_client.page(LIST, 403)
    admin_client.page(f"{LIST}a/change/", 403)
    admin_client.decide("discard", "a", 403)


def test_nobody_writes_a_row_and_a_decision_is_no_link(shop: Shop, admin_client: AdminClient):
    shop.fail("a")
    admin_client.page(f"{LIST}add/", 403)
    admin_client.page(f"{LIST}a/delete/", 403)
    admin_client.page(f"{LIST}decide/retry/", 404, ids="a")
    admin_client.decide("drop", "a", 404)
    assert shop.books.states() == {"a": "failed"}


def test_workers_are_listed(shop: Shop, admin_client: AdminClient):
    shop.books.worker("w1")
    page = admin_client.page("/admin/mirepoix/worker/")
    assert "w1@host" in page
    assert "mirepoix-alive" in page
    assert "w1@host" in admin_client.page("/admin/mirepoix/worker/w1/change/")


def test_a_page_is_never_left_for_another_site(shop: Shop, admin_client: AdminClient):
    shop.fail("a")
    response = admin_client.client.post(f"{LIST}decide/retry/", {"ids": "a", "back": "https://evil.example/?x"})
    assert response["Location"] == LIST
