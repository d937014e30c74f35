"""Place orders: each is a business row and a chain of tasks, in one transaction that commits or rolls back."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, nullcontext
from typing import Any

from celery import chain

from mirepoix.connect.ambient import using
from mirepoix.demo.folder import Folder, append
from mirepoix.demo.plan import Plan

SCHEMA = "CREATE TABLE IF NOT EXISTS orders (number text PRIMARY KEY, amount integer NOT NULL)"


class CardDeclinedError(Exception):
    """The card is declined after the order's tasks were sent, so that the transaction rolls back."""


def place_all(app: Any, folder: Folder, plan: Plan, stopped: threading.Event) -> None:
    """Place every order of *plan* at its pace, and the odd tasks among them."""
    with closing(sqlite3.connect(folder.database, timeout=30.0)) as shop:
        shop.execute("PRAGMA journal_mode = wal")
        shop.execute(SCHEMA)
        began_at = time.monotonic()
        for number in range(1, plan.orders + 1):
            if stopped.wait(max(0.0, began_at + number / plan.orders_per_s - time.monotonic())):
                return
            place(app, folder, shop, number, is_declined=number % plan.declined_every == 0)
            for nth, step in enumerate(plan.odd_tasks_after(number)):
                send_odd(app, folder, step, f"{number}{'abcde'[nth]}", plan.reminder_after_s)


def place(app: Any, folder: Folder, shop: sqlite3.Connection, number: int, *, is_declined: bool) -> None:
    """Place one order. Plain Celery cannot join the transaction, and sends the tasks at once."""
    order = str(number)
    is_committed = False
    try:
        with shop:
            shop.execute("INSERT INTO orders (number, amount) VALUES (?, ?)", (order, 100 + number))
            with nullcontext() if folder.is_stock else using(shop):
                chain(app.tasks["shop.charge"].s(order), app.tasks["shop.receipt"].s()).apply_async()
            if is_declined:
                raise CardDeclinedError
        is_committed = True
    except CardDeclinedError:
        pass
    append(folder.sent, {"step": "order", "order": order, "is_committed": is_committed})


def send_odd(app: Any, folder: Folder, step: str, order: str, reminder_after_s: float) -> None:
    """Send a task that goes wrong on purpose, or a task that is due later."""
    fact = {"step": step, "order": order, "is_committed": True}
    if step == "reminder":
        fact["due_at"] = time.monotonic() + reminder_after_s
        app.tasks["shop.reminder"].apply_async((order,), countdown=reminder_after_s)
    else:
        app.tasks[f"shop.{step}"].delay(order)
    append(folder.sent, fact)
