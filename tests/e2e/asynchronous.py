"""Tasks of the shop that are coroutines. A copy of this file is put beside `shop.py`, which imports it."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import time
from typing import Any

from celery import current_task
from celery.exceptions import SoftTimeLimitExceeded
from shop import FOLDER, app, note, run, tell
from shop import wait_for as blocking_call

import mirepoix


async def wait_for(name: str) -> None:
    """Wait until the test makes a file of that name."""
    while not (FOLDER / name).exists():  # noqa: ASYNC110, another process makes the file
        await asyncio.sleep(0.01)


@app.task(bind=True, name="async.note")
async def async_note(self: Any, *_: Any) -> None:
    """Tell that it ran, in which loop and as whom."""
    with run(self, loop=id(asyncio.get_running_loop())):
        await asyncio.sleep(0)
        tell(current_task, "current")


@app.task(bind=True, name="async.gate")
async def async_gate(self: Any, name: str) -> str:
    """Run until the test makes a file of that name; tell if it is cancelled, and clean up."""
    with run(self):
        try:
            await wait_for(name)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            tell(self, "cleaned up")
            raise
    return name


@app.task(bind=True, name="async.add")
async def async_add(self: Any, x: float, y: float) -> float:
    """Return a sum."""
    with run(self, x=x, y=y):
        await asyncio.sleep(0.01)
        return x + y


@app.task(bind=True, name="async.fail")
async def async_fail(self: Any, words: str) -> None:
    """Raise."""
    with run(self):
        await asyncio.sleep(0)
        raise ValueError(words)


@app.task(bind=True, name="async.again", max_retries=5)
async def async_again(self: Any, times: int) -> None:
    """Ask for so many retries, then succeed."""
    with run(self):
        await asyncio.sleep(0)
        if self.request.retries < times:
            raise self.retry(countdown=0, exc=KeyError("not yet"))


@app.task(bind=True, name="async.pay", max_retries=5)
async def async_pay(self: Any, times: int) -> None:
    """Charge three times at once, each in a step, then ask for so many retries."""

    async def charge(card: str) -> str:
        tell(self, "charge", key=mirepoix.idempotency_key(f"charge-{card}"))
        await asyncio.sleep(0.01)
        return card

    with run(self):
        paid = await asyncio.gather(*(mirepoix.step(f"charge-{card}", charge, card) for card in "abc"))
        tell(self, "paid", paid=paid)
        if self.request.retries < times:
            raise self.retry(countdown=0)


@app.task(bind=True, name="async.again_by_itself", autoretry_for=(KeyError,), default_retry_delay=0, max_retries=2)
async def async_again_by_itself(self: Any) -> None:
    """Raise what is retried automatically, for ever."""
    with run(self):
        await asyncio.sleep(0)
        raise KeyError("not yet")


@app.task(bind=True, name="async.replaced")
async def async_replaced(self: Any) -> None:
    """Give way to another task."""
    with run(self):
        await asyncio.sleep(0)
        raise self.replace(async_add.s(20, 22))


@app.task(bind=True, name="async.parent")
async def async_parent(self: Any, *children: str) -> None:
    """Send a task for each id, from asyncio tasks of its own."""

    async def send(child: str) -> None:
        await asyncio.sleep(0)
        note.apply_async(task_id=child)

    with run(self):
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(send(child))


@app.task(bind=True, name="async.cancelled")
async def async_cancelled(self: Any) -> None:
    """Await what is cancelled."""
    with run(self):
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future


@app.task(bind=True, name="async.leave")
async def async_leave(self: Any) -> None:
    """Call sys.exit."""
    with run(self):
        await asyncio.sleep(0)
        sys.exit(3)


@app.task(bind=True, name="async.start")
async def async_start(self: Any, file: str, child: str) -> None:
    """Start what sends *child* when the test has made a file, and do not await it."""

    async def later() -> None:
        await wait_for(file)
        note.apply_async(task_id=child)

    with run(self, loop=id(asyncio.get_running_loop())):
        self.app.started = asyncio.create_task(later())


@app.task(bind=True, name="async.hog")
async def async_hog(self: Any) -> None:
    """Never wait: run into the soft time limit in code of its own."""
    with run(self):
        try:
            while True:
                time.sleep(0.01)  # noqa: ASYNC251
        except SoftTimeLimitExceeded:
            tell(self, "soft limit")
            raise


@app.task(bind=True, name="async.die")
async def async_die(self: Any, where: str = "here", after: str = "") -> None:
    """Kill the process, when the test has made a file *after*: here, or in an asyncio task."""

    async def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        await wait_for("never")

    with run(self):
        if after:
            await wait_for(after)
        if where == "in a task":
            await asyncio.create_task(die())
        await die()


@app.task(bind=True, name="async.wait")
async def async_wait(self: Any, seconds: float) -> None:
    """Wait so long, then check that Celery's context is still its own, in an asyncio task too."""

    async def look() -> str:
        await asyncio.sleep(0)
        return str(current_task.request.id)

    with run(self):
        await asyncio.sleep(seconds)
        async with asyncio.TaskGroup() as group:
            seen = group.create_task(look())
        tell(self, "seen", ids=[seen.result(), current_task.request.id])


@app.task(bind=True, name="async.idle")
async def async_idle(self: Any, name: str) -> None:
    """Let a thread wait for a file of that name: the loop executes nothing."""
    with run(self):
        await asyncio.to_thread(blocking_call, name)


@app.task(bind=True, name="async.block")
async def async_block(self: Any, name: str) -> None:
    """Block the loop until the test makes a file of that name."""
    with run(self):
        blocking_call(name)


@app.task(bind=True, name="async.gathered")
async def async_gathered(self: Any, name: str) -> None:
    """Wait twice at once until the test makes a file of that name."""
    with run(self):
        await asyncio.gather(wait_for(name), wait_for(name))


@functools.cache
def engine_of(loop: asyncio.AbstractEventLoop) -> Any:
    """An engine for each loop: a pool of threads has several."""
    from sqlalchemy.ext.asyncio import create_async_engine

    url = os.environ["SHOP_LEDGER"]
    return create_async_engine(
        url.replace("sqlite:", "sqlite+aiosqlite:", 1)
        .replace("postgresql:", "postgresql+asyncpg:", 1)
        .replace("mysql:", "mysql+aiomysql:", 1)
    )


@app.task(bind=True, name="async.order")
async def async_order(self: Any, child: str, *, is_wanted: bool) -> None:
    """Send a task in a session's transaction, and commit or roll back."""
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession

    with run(self):
        async with AsyncSession(engine_of(asyncio.get_running_loop())) as session:
            async with mirepoix.using(session):
                await session.execute(text("SELECT 1"))
                note.apply_async(task_id=child)
            tell(self, "sent")
            await (session.commit() if is_wanted else session.rollback())


class Once:
    """One engine for the whole process, as applications have it at the top of a module."""

    @functools.cached_property
    def engine(self) -> Any:
        """Made when it is first used, in the process that uses it."""
        return engine_of(asyncio.get_running_loop())


once = Once()


@app.task(bind=True, name="async.query")
async def async_query(self: Any) -> None:
    """Use the process' engine, and tell which connection it lent."""
    from sqlalchemy import text

    with run(self):
        async with once.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            raw = await connection.get_raw_connection()
            tell(self, "connected", connection=id(raw.driver_connection))
