"""A user's module: what type checkers must accept. `test_types.py` checks it, and then with a mistake in each line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import celery
from celery import Celery, chain
from celery.canvas import Signature
from celery.result import AsyncResult

import mirepoix

app = mirepoix.typed(Celery("shop"))
shared_task = mirepoix.typed(celery.shared_task)
installation = mirepoix.install(app, "sqlite:///shop.db", lease_ttl_s=30)


@app.task
def ship(order: int, express: bool = False) -> str:
    return f"{order} {express}"


@app.task(version=2, acks_late=True, time_limit=30)
def charge(order: int, *, cents: int) -> dict[str, int]:
    return {"order": order, "cents": cents}


@charge.upcast(from_version=1)
def charge_in_euros(order: int, euros: int) -> dict[str, Any]:
    return {"order": order, "cents": euros * 100}


@app.task(bind=True, max_retries=3)
def fetch(self: mirepoix.Task[[str], int], url: str) -> int:
    if not url:
        raise self.retry(countdown=10)
    return len(url)


@app.task
async def fetch_later(url: str) -> bytes:
    return url.encode()


@shared_task(version=3)
def remind(order: int) -> None:
    print(order)


@remind.upcast(from_version=2)
def remind_of_customer(order: int, customer: int) -> tuple[list[int], dict[str, int]]:
    return [order], {}


def send() -> None:
    sent = charge.delay(1, cents=500)
    assert_type(sent, AsyncResult[dict[str, int]])
    assert_type(sent.get(timeout=5), dict[str, int])
    assert_type(ship.delay(1).get(), str)
    assert_type(ship(1, express=True), str)
    assert_type(fetch.delay("https://example.org").get(), int)
    assert_type(fetch_later.delay("https://example.org").get(), bytes)
    assert_type(ship.apply_async((1,), {"express": True}, countdown=5, queue="slow"), AsyncResult[str])
    ship.apply_async((1,), eta=datetime.now(UTC) + timedelta(hours=1), priority=3)
    assert_type(ship.s(1), Signature[str])
    assert_type(ship.si(1), Signature[str])
    chain(ship.s(1), fetch.s()).delay()
    remind.delay(1)
    assert_type(mirepoix.step("charge", len, "abc"), int)
    ids = mirepoix.bulk(ship, [(1,), (2,)])
    assert_type(ids, list[str])
    handle = mirepoix.submit_once(ship, "order-1", [1])
    assert_type(handle, mirepoix.Handle)
    assert_type(handle.is_new, bool)
    assert_type(mirepoix.idempotency_key("charge"), str)
