"""Send tasks with limits, and see from what they told how many ran at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from workers import Shop

from mirepoix import Limit

EXPORT = Limit(running=2, key="customer")
CHARGE = Limit(rate="3/s")
SYNC = Limit(running=1, key="customer", at_limit="drop")
RENDER = Limit(running=1, key="customer", at_limit="cancel")


def task_of(shop: Shop, name: str, limit: Limit | None = None, **options: Any) -> Any:
    """The task of that name in `limited_tasks`, as a program that sends declares it."""
    full = f"limited_tasks.{name}"
    if full not in shop.app.tasks:

        def export(customer: str, name: str = "") -> None: ...

        def charge() -> None: ...

        def again(who: str) -> None: ...

        def sync(customer: str, name: str = "") -> None: ...

        def render(customer: str, name: str = "") -> None: ...

        body = {one.__name__: one for one in (export, charge, again, sync, render)}[name]
        shop.app.task(name=full, shared=False, limit=limit, **options)(body)
        shop.app.finalize()
    return shop.app.tasks[full]


def most_at_once(shop: Shop) -> int:
    """The largest number of runs at once of one customer. A run whose process died ended when its task ran again."""
    running: dict[str, set[str]] = {}
    customers: dict[str, str] = {}
    most = 0
    for told in shop.effects():
        if told.name != "limited_tasks.export":
            continue
        if told.what == "begin":
            customers[told.id] = told.more["customer"]
            running.setdefault(customers[told.id], set()).add(told.id)
            most = max(most, len(running[customers[told.id]]))
        elif told.what in ("end", "raise"):
            running[customers[told.id]].discard(told.id)
    return most


def keys(shop: Shop) -> Counter[str | None]:
    """How many tasks have each key."""
    return Counter(key for (key,) in shop.ledger.query("SELECT limit_key FROM mirepoix_task"))
