"""A bit of everything that the shop does, under ids that `invariants.py` knows. A copy is put beside `shop.py`."""

from __future__ import annotations

from typing import Any

from celery import Celery, chain, group
from celery.canvas import Signature


def produce(app: Celery) -> None:
    """Send all of it: again and again, it makes no difference."""

    def task(name: str, *args: Any, id: str, **options: Any) -> Signature:
        return app.signature(f"shop.{name}", args=args, **options).set(task_id=id)

    group([task("note", id=f"group-{i}", immutable=True) for i in range(4)], app=app).delay()
    chain(task("add", 1, 2, id="chain-1"), task("add", 3, id="chain-2"), task("add", 4, id="chain-3"), app=app).delay()
    chain(task("fail", id="broken-1", immutable=True), task("note", id="broken-2", immutable=True), app=app).delay()
    task("add", 1, 2, id="link-1").apply_async(link=task("add", 5, id="link-2"))
    task("fail", id="failed-1").apply_async(link_error=task("old_errback", id="failed-2"))
    task("again", 2, id="retried-1").apply_async(link=task("note", id="retried-2"))
    task("parent", "child", id="parent").apply_async()
    task("die_once", "die", id="dies").apply_async(link=task("note", id="dies-2"))
    task("spin", 0.2, id="spin").apply_async()
    task("pay", id="pay").apply_async()
    task("note", id="later").apply_async(countdown=0.5)
    for i in range(4):
        task("note", id=f"note-{i}").apply_async()
