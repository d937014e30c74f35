"""The app of the transactional tasks: one task that does, line by line, what a test tells it.

A copy of this file is put beside `shop.py`. TRANSACTION_APP_HOW names what its tasks write with: a ``session``, a
``scoped`` session or an ``engine`` of SQLAlchemy, the driver's own connection (``plain``), or ``django``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from shop import FOLDER, run, taken, tell, wait_for

import mirepoix
from mirepoix.celery import context

HOW = os.environ["TRANSACTION_APP_HOW"]
LEDGER = os.environ["SHOP_LEDGER"]
ROWS = os.environ.get("TRANSACTION_APP_ROWS", LEDGER)
"""Where the session's rows are: in the ledger's own database, unless a test wants it wrong."""
DRIVER = os.environ.get("TRANSACTION_APP_DRIVER", "pymysql" if ROWS.startswith("mysql") else "psycopg")
ISOLATION = os.environ.get("TRANSACTION_APP_ISOLATION", "")
ERRORS: tuple[type[Exception], ...]

app = Celery("bank", broker=os.environ["SHOP_BROKER"])
app.conf.update(json.loads(os.environ.get("SHOP_CONF", "{}")))
if "TRANSACTION_APP_RESULTS" in os.environ:
    app.conf.result_backend = os.environ["TRANSACTION_APP_RESULTS"]
SETTINGS = json.loads(os.environ.get("SHOP_SETTINGS", "{}"))


def alchemy() -> Any:
    """An engine, set up as SQLAlchemy's pages say; on SQLite so that savepoints work and foreign keys are looked at."""
    import sqlalchemy as sa

    if not ROWS.startswith("sqlite"):
        more = {"isolation_level": ISOLATION} if ISOLATION else {}
        return sa.create_engine(ROWS.replace("://", f"+{DRIVER}://", 1), **more)
    engine = sa.create_engine(ROWS, connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = on")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


if HOW == "django":
    import django
    from django.db import DatabaseError, connection, models, transaction

    django.setup()
    app.config_from_object("django.conf:settings", namespace="CELERY")
    mirepoix.install(app, **SETTINGS)
    ERRORS = (DatabaseError,)

    class Deed(models.Model):
        """A row of what tasks did."""

        task = models.TextField()
        word = models.TextField(primary_key=True)

        class Meta:
            app_label = "bank"
            db_table = "deed"
            managed = False

        def __str__(self) -> str:
            return self.word

elif HOW == "plain":
    import sqlite3

    import psycopg
    import pymysql

    mirepoix.install(app, LEDGER, **SETTINGS)
    ERRORS = (sqlite3.Error, psycopg.Error, pymysql.Error)
else:
    import sqlalchemy as sa
    from sqlalchemy import orm

    engine = alchemy()
    Session = orm.scoped_session(orm.sessionmaker(engine)) if HOW == "scoped" else orm.sessionmaker(engine)
    mirepoix.install(app, LEDGER, session_factory=engine if HOW == "engine" else Session, **SETTINGS)
    ERRORS = (sa.exc.DBAPIError,)

    class Base(orm.DeclarativeBase):
        """Of the rows."""

    class Deed(Base):  # type: ignore[no-redef]
        """A row of what tasks did."""

        __tablename__ = "deed"
        task: orm.Mapped[str]
        word: orm.Mapped[str] = orm.mapped_column(primary_key=True)


def held() -> Any:
    """What tasks write with."""
    return mirepoix.transaction()


def execute(sql: str) -> Any:
    """Run SQL in the task's transaction; return its first value, if it has rows."""
    if HOW == "django":
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
    if HOW == "plain":
        cursor = held().cursor()
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None
    result = held().execute(sa.text(sql))
    return result.scalar() if result.returns_rows else None


def insert(task: Any, word: str) -> None:
    """One row, unique by its word."""
    execute(f"INSERT INTO deed (task, word) VALUES ('{task.request.id}', '{word}')")


def insert_nested(task: Any, word: str, *, is_broken: bool) -> None:
    """A row within a savepoint, which is rolled back if *is_broken*."""
    with suppress(KeyError):
        if HOW == "plain" and not LEDGER.startswith("postgresql"):
            execute("SAVEPOINT inner_one")
            insert(task, word)
            execute("ROLLBACK TO SAVEPOINT inner_one" if is_broken else "RELEASE SAVEPOINT inner_one")
            return
        nested = {"django": transaction.atomic if HOW == "django" else None, "plain": lambda: held().transaction()}.get(
            HOW, lambda: held().begin_nested()
        )
        with nested():
            insert(task, word)
            if is_broken:
                raise KeyError(word)


def with_orm(task: Any, word: str) -> None:
    """A row by the framework's own means; a Session writes it when the task has returned."""
    if HOW == "django":
        Deed.objects.create(task=task.request.id, word=word)
    elif HOW in ("session", "scoped"):
        (Session() if HOW == "scoped" else held()).add(Deed(task=task.request.id, word=word))
    else:
        insert(task, word)


def swallow(task: Any, word: str) -> None:
    """Write what is there already, and go on as if nothing had happened."""
    with suppress(*ERRORS):
        with_orm(task, word)
        if HOW in ("session", "scoped"):
            held().flush()


def on_commit(act: Callable[[], object]) -> None:
    """Let *act* be called after the COMMIT."""
    if HOW == "django":
        transaction.on_commit(act)
    else:
        sa.event.listen(held(), "after_commit", lambda *_: act(), once=True)


def raise_(error: BaseException) -> None:
    raise error


def retry(task: Any, times: str) -> None:
    if task.request.retries < int(times):
        raise task.retry(countdown=0, exc=KeyError("not yet"))


def mark(task: Any, what: str) -> None:
    tell(task, what, said=str(execute(f"SELECT count(*) FROM deed WHERE task = '{task.request.id}'")))


def end_connection(task: Any, token: str) -> None:
    """Let another session end this one's connection, if the test's token is there."""
    if token and not taken(token):
        return
    if LEDGER.startswith("mysql"):
        session = execute("SELECT CONNECTION_ID()")
        with app.mirepoix.source.independent_transaction() as tx:
            tx.script(f"KILL CONNECTION {session}")
        return
    import psycopg

    pid = execute("SELECT pg_backend_pid()")
    with psycopg.connect(LEDGER, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def call_function(task: Any, word: str) -> None:
    """Call a transactional task as a function: it is part of this one."""
    work_too(task.request.id, word)


def durable(task: Any, _: str) -> None:
    with transaction.atomic(durable=True):
        pass


def isolation(task: Any, _: str) -> None:
    asked = "SELECT @@tx_isolation" if LEDGER.startswith("mysql") else "SHOW transaction_isolation"
    tell(task, "isolation", level=execute(asked).lower().replace("-", " "))


def do_step(task: Any, word: str) -> None:
    mirepoix.step(word, lambda: tell(task, "step"))


def add_up(task: Any, word: str) -> None:
    """Write how many such rows there are: two that do so side by side, a and b, cannot both be right (write skew)."""
    count = execute("SELECT count(*) FROM deed WHERE word LIKE 'sum-%'")
    meet(f"read-{word}")
    insert(task, f"sum-{word}-{count}")
    meet(f"written-{word}")


def meet(name: str) -> None:
    """Wait until the other one is here too."""
    (FOLDER / name).touch()
    wait_for(name[:-1] + ("b" if name[-1] == "a" else "a"))


VERBS: dict[str, Callable[[Any, str], Any]] = {
    "write": insert,
    "write-fence": lambda task, word: insert(task, f"{word}-{context.current().lease.fence}"),
    "orm": with_orm,
    "nested": lambda task, word: insert_nested(task, word, is_broken=False),
    "broken-nested": lambda task, word: insert_nested(task, word, is_broken=True),
    "swallow": swallow,
    "sql": lambda task, sql: execute(sql),
    "promise": lambda task, word: execute(f"INSERT INTO promise VALUES ('{word}')"),
    "send": lambda task, word: listed.apply_async((word,), task_id=word),
    "fail": lambda task, words: raise_(ValueError(words)),
    "key-error": lambda task, words: raise_(KeyError(words)),
    "retry": retry,
    "ignore": lambda task, _: raise_(Ignore()),
    "replace": lambda task, word: task.replace(listed.s(word)),
    "on-commit": lambda task, what: on_commit(lambda: tell(task, what)),
    "send-on-commit": lambda task, word: on_commit(lambda: listed.apply_async((word,), task_id=word)),
    "fail-on-commit": lambda task, words: on_commit(lambda: raise_(ValueError(words))),
    "mark": mark,
    "commit": lambda task, _: (connection if HOW == "django" else held()).commit(),
    "rollback": lambda task, _: (connection if HOW == "django" else held()).rollback(),
    "close": lambda task, _: (connection if HOW == "django" else held()).close(),
    "durable": durable,
    "state": lambda task, word: task.update_state(state="PROGRESS", meta=word),
    "step": do_step,
    "wait": lambda task, name: wait_for(name),
    "sleep": lambda task, seconds: time.sleep(float(seconds)),
    "function": call_function,
    "end-connection": end_connection,
    "isolation": isolation,
    "add-up": add_up,
    "out-of-memory": lambda task, _: raise_(MemoryError("of everything")),
    "die": lambda task, token: os.kill(os.getpid(), signal.SIGKILL) if taken(token) else None,
}


def do(task: Any, lines: tuple[str, ...]) -> None:
    for line in lines:
        verb, _, word = line.partition(" ")
        VERBS[verb](task, word)


@app.task(bind=True, name="bank.work", transactional=True, max_retries=2)
def work(self: Any, *lines: str) -> str:
    """Do what the lines say, in one transaction."""
    with run(self):
        try:
            do(self, lines)
        except SoftTimeLimitExceeded:
            tell(self, "soft limit")
            raise
    return "done"


@app.task(bind=True, name="bank.add", transactional=True)
def add(self: Any, x: int, y: int) -> int:
    """Write a row and return a sum."""
    with run(self):
        insert(self, f"sum-{x}-{y}")
    return x + y


@app.task(bind=True, name="bank.work_again", transactional=True, autoretry_for=(KeyError,), default_retry_delay=0,
          max_retries=2)  # fmt: skip
def work_again(self: Any, *lines: str) -> None:
    """The same, retried by itself."""
    with run(self):
        insert(self, f"try-{self.request.retries}")
        if self.request.retries < 2:
            do(self, lines)


@app.task(name="bank.work_too", transactional=True)
def work_too(of: str, word: str) -> None:
    """Called as a function."""
    execute(f"INSERT INTO deed (task, word) VALUES ('{of}', '{word}')")


@app.task(bind=True, name="bank.call")
def call(self: Any, *lines: str) -> None:
    """No transactional task, but it calls one: that is a transaction of its own each time."""
    with run(self):
        for line in lines:
            try:
                work_of(self.request.id, line)
            except ValueError:
                tell(self, "inner failure")
        tell(self, "outside", attempt=context.current() is not None)


@app.task(bind=True, name="bank.work_of", transactional=True)
def work_of(self: Any, of: str, line: str) -> None:
    """Write, in the name of another task, and fail if it is told to."""
    verb, _, word = line.partition(" ")
    execute(f"INSERT INTO deed (task, word) VALUES ('{of}', '{word}')")
    if verb == "fail":
        raise ValueError(word)


@app.task(bind=True, name="bank.listed")
def listed(self: Any, *words: Any) -> list[Any]:
    """Tell that it ran, and with what."""
    with run(self, words=[str(word) for word in words]):
        return list(words)


@app.task(bind=True, name="bank.hold")
def hold(self: Any, name: str) -> None:
    """Run, outside of any transaction, until the test makes a file of that name."""
    with run(self):
        wait_for(name)


@app.task(bind=True, name="bank.errback")
def errback(self: Any, failed_id: str) -> None:
    """Take the id of what failed."""
    with run(self, failed=failed_id):
        pass


@app.task(name="bank.errback_in_place")
def errback_in_place(request: Any, exc: BaseException, traceback: Any) -> None:
    """Called in place, with what failed."""
    tell(errback_in_place, "errback", failed=request.id, error=type(exc).__name__)
