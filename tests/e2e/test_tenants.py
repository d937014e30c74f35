"""What follows from a chord's member is sent with the tenant that was in force while the member ran."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from celery import chord
from celery.canvas import Signature
from workers import DEADLINE_S, Process, Shop, until

pytestmark = pytest.mark.slow

BLUE = {"tenant": "blue"}


def open_tenants(shop: Shop, pool: str = "prefork", **conf: Any) -> Process:
    """A worker that knows the tenants."""
    shutil.copyfile(Path(__file__).with_name("tenants.py"), shop.folder / "tenants.py")
    return shop.worker("w1", "--include", "tenants", pool=pool, conf=conf)


def of_blue(shop: Shop, name: str, *args: Any, **options: Any) -> Signature:
    """A task that the tenant blue sends."""
    return shop.task(name, *args).set(headers=BLUE, **options)


def told_tenant(shop: Shop, task_id: str) -> str | None:
    """The tenant in the task's message."""
    headers = shop.row(task_id)["headers"]
    return (headers if isinstance(headers, dict) else json.loads(headers)).get("tenant")


def told_of_failure(shop: Shop, member: Signature, errback: str) -> None:
    """A chord with that member fails, and its error callback is the tenant's."""
    header = [of_blue(shop, "whose"), member]
    body = shop.task("collect").on_error(shop.task("old_errback").set(task_id=errback))
    chord(header, body, app=shop.app).delay()


def test_a_chord_goes_on_for_the_tenant_of_its_members(shop: Shop) -> None:
    goes_on_for_the_tenant(shop, "prefork")


def test_so_it_does_in_threads(sqlite_url: str, tmp_path: Path) -> None:
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        goes_on_for_the_tenant(shop, "threads")


def goes_on_for_the_tenant(shop: Shop, pool: str) -> None:
    open_tenants(shop, pool)
    header = [of_blue(shop, "whose").set(task_id=f"member-{n}") for n in range(3)]
    link = shop.task("whose").set(task_id="link")
    body = chord(header, shop.task("whose").set(task_id="body", link=link), app=shop.app)
    told_of_failure(shop, of_blue(shop, "broken"), "errback-of-failed")
    told_of_failure(shop, of_blue(shop, "whose", task_id="cancelled", queue="nobody"), "errback-of-cancelled")
    if pool == "prefork":
        told_of_failure(shop, of_blue(shop, "slow", time_limit=0.5), "errback-of-killed")
    assert body.delay().get(timeout=DEADLINE_S) == "blue"
    shop.app.control.revoke("cancelled")
    told = ["link", "errback-of-failed", "errback-of-cancelled", *(["errback-of-killed"] if pool == "prefork" else [])]
    until(lambda: set(told) <= set(shop.ledger.states()), "all is sent")
    assert {id: told_tenant(shop, id) for id in ["body", *told]} == dict.fromkeys(["body", *told], "blue")
    # What is sent once is published once, and by the member's process while its task runs.
    published = [(e.more["to"], e.more["tenant"]) for e in shop.effects(what="published")]
    assert published.count(("body", "blue")) == 1
    assert [to for to, _ in published].count("body") == 1
