"""The shop's Celery tasks: the five steps of an order. They know nothing of Airflow."""

import os
import time
from pathlib import Path

from celery import Celery

import mirepoix

DATA = Path(os.environ.get("SHOP_DATA", Path(__file__).parent / "data"))

app = Celery("shop")
mirepoix.install(app, f"sqlite:///{DATA / 'shop.db'}")


@app.task(name="shop.reserve")
def reserve(order_id: int) -> str:
    return done(order_id, "reserved")


@app.task(name="shop.charge")
def charge(order_id: int, cents: int) -> str:
    # The payment provider knows a repetition by this key: another attempt of this task has the same.
    return done(order_id, f"charged {cents} by {mirepoix.idempotency_key('charge')[:8]}")


@app.task(name="shop.pack")
def pack(order_id: int) -> str:
    return done(order_id, "packed")


@app.task(name="shop.ship")
def ship(order_id: int) -> str:
    return done(order_id, "shipped")


@app.task(name="shop.confirm")
def confirm(order_id: int, steps: list[str]) -> str:
    return done(order_id, f"confirmed after {len(steps)} steps")


def done(order_id: int, what: str) -> str:
    """Take a moment, and tell what was done."""
    time.sleep(0.5)
    print(f"order {order_id}: {what}", flush=True)
    return what
