"""Who tells the broker of a task: the process that committed it, at once; where that cannot be known, the relay."""

# ruff: noqa: PT012 (what happens inside of a transaction until it is left is the subject)

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from typing import Any

import callers
import psycopg
import pytest
import sqlalchemy as sa
from celery import Celery, group
from django.db import transaction
from kombu import Connection
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_asyncio
from workers import Shop, until

import django_site
import mirepoix
from brokers import BrokerServer
from mirepoix.broker.outbox import Outbox
from mirepoix.broker.publisher import Publisher
from mirepoix.records import PROMISED, SENT_HEADER, UNSENT


class Boom(Exception):
    """What a caller raises."""


class Inbox:
    """What waits in the broker."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.messages: list[Any] = []
        """What was taken off the queue, in order."""

    def take(self) -> list[str]:
        """Take all that is there off the queue; the ids of all that ever were."""
        with Connection(self._url) as connection:
            channel = connection.default_channel
            try:
                while (message := channel.basic_get("celery", no_ack=True)) is not None:
                    decoded = getattr(channel, "message_to_python", None)
                    self.messages.append(message if decoded is None else decoded(message))
            except connection.channel_errors:
                pass  # nobody has declared the queue yet
        return [message.headers["id"] for message in self.messages]

    def until(self, *ids: str) -> list[str]:
        """Wait until the last of *ids* has come; all that ever came."""
        return until(lambda: (found := self.take()) and ids[-1] in found and found, f"{ids[-1]} is in the broker")


@pytest.fixture
def inbox(broker: BrokerServer) -> Inbox:
    inbox = Inbox(broker.url)
    inbox.take()
    inbox.messages.clear()
    return inbox


def relay(app: Celery) -> int:
    """Do one round of a relay: publish what nobody has told the broker of."""
    connection = app.mirepoix.source.open()
    publisher = Publisher(app)
    try:
        return Outbox(publisher, app.mirepoix.settings).publish(connection)
    finally:
        publisher.close()
        connection.close()


def send(app: Celery, id: str, **options: Any) -> None:
    app.send_task("shop.note", task_id=id, **options)


# ---- a transaction of its own


def test_what_is_committed_is_published_at_once_by_the_process_that_sent_it(shop: Shop, inbox: Inbox):
    ids = [shop.send("note") for _ in range(20)]
    assert inbox.until(*ids) == ids
    until(lambda: all(shop.row(id)["sendings"] == 1 for id in ids), "it is noted")


def test_a_group_is_published_when_all_of_it_is_committed(shop: Shop, inbox: Inbox):
    result = group(shop.task("note") for _ in range(5)).apply_async()
    ids = [one.id for one in result]
    assert sorted(inbox.until(*ids)) == sorted(ids)


def test_what_is_due_later_is_promised_by_nobody(shop: Shop, inbox: Inbox):
    later = shop.send("note", countdown=60)
    now = shop.send("note")
    assert inbox.until(now) == [now]
    assert (shop.row(later)["sent_fence"], shop.row(later)["sendings"]) == (UNSENT, 0)


# ---- SQLAlchemy


@pytest.fixture
def engine(shop: Shop) -> Iterator[sa.Engine]:
    with callers._engine(_url(shop, "psycopg", "pymysql")) as engine:
        yield engine


def _url(shop: Shop, on_postgresql: str, on_mysql: str) -> str:
    return shop.url.replace("postgresql:", f"postgresql+{on_postgresql}:").replace("mysql:", f"mysql+{on_mysql}:")


def test_a_session_is_published_after_its_commit_and_not_if_it_is_rolled_back(
    shop: Shop, inbox: Inbox, engine: sa.Engine
):
    with orm.Session(engine) as session:
        with pytest.raises(Boom), session.begin(), mirepoix.using(session):
            send(shop.app, "rolled back")
            raise Boom
        with session.begin(), mirepoix.using(session):
            send(shop.app, "closed")
            session.close()
        with session.begin(), mirepoix.using(session):
            send(shop.app, "first")
            send(shop.app, "second")
            shop.send("note", task_id="another")
        assert inbox.until("another") == ["first", "second", "another"]


def test_what_a_session_has_not_committed_is_not_published(shop: Shop, inbox: Inbox, engine: sa.Engine):
    with orm.Session(engine) as session, session.begin():
        with mirepoix.using(session):
            send(shop.app, "open")
        shop.send("note", task_id="other")  # in a transaction of its own
        assert inbox.until("other") == ["other"]
    assert inbox.until("open") == ["other", "open"]


def test_what_a_rolled_back_savepoint_sent_is_not_published(shop: Shop, inbox: Inbox, engine: sa.Engine):
    with orm.Session(engine) as session:
        with session.begin(), mirepoix.using(session):
            send(shop.app, "before")
            with pytest.raises(Boom), session.begin_nested():
                send(shop.app, "lost")
                with session.begin_nested():
                    send(shop.app, "lost with the outer one")
                raise Boom
            with session.begin_nested():
                with pytest.raises(Boom), session.begin_nested():
                    send(shop.app, "inner")
                    raise Boom
                send(shop.app, "kept")
            send(shop.app, "after")
        assert inbox.until("after") == ["before", "kept", "after"]
        with session.begin(), mirepoix.using(session):
            send(shop.app, "next")
        assert inbox.until("next")[3:] == ["next"]


def test_an_async_session_is_published_after_its_commit(shop: Shop, inbox: Inbox):
    async def main() -> None:
        engine = sa_asyncio.create_async_engine(_url(shop, "asyncpg", "aiomysql"))
        async with sa_asyncio.AsyncSession(engine) as session:
            with pytest.raises(Boom):
                async with session.begin(), mirepoix.using(session):
                    send(shop.app, "rolled back")
                    raise Boom
            async with session.begin(), mirepoix.using(session):
                send(shop.app, "first")
                with pytest.raises(Boom):
                    async with session.begin_nested():
                        send(shop.app, "lost")
                        raise Boom
                async with session.begin_nested():
                    send(shop.app, "kept")
        await engine.dispose()

    asyncio.run(main())
    assert inbox.until("kept") == ["first", "kept"]


# ---- Django


@pytest.fixture
def django_app(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An app whose ledger is in Django's database."""
    django_site.use(default=django_site.database(shop.url))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "django_site")
    app = Celery("site", set_as_current=False, broker=shop.broker.url)
    mirepoix.install(app, None, delivery="broker")
    yield app
    django_site.use()
    app.mirepoix.source.close()
    app.close()


def test_an_atomic_block_is_published_by_on_commit_and_not_if_it_is_rolled_back(django_app: Celery, inbox: Inbox):
    with pytest.raises(Boom), transaction.atomic():
        send(django_app, "rolled back")
        raise Boom
    with transaction.atomic():
        send(django_app, "first")
        with pytest.raises(Boom), transaction.atomic():
            send(django_app, "lost")
            raise Boom
        with transaction.atomic():
            send(django_app, "kept")
        assert inbox.take() == []
    send(django_app, "outside")
    assert inbox.until("outside") == ["first", "kept", "outside"]


def test_where_autocommit_is_off_nobody_tells_django_of_the_commit_and_the_relay_publishes(
    django_app: Celery, inbox: Inbox, shop: Shop
):
    transaction.set_autocommit(False)
    send(django_app, "by the relay")
    transaction.commit()
    transaction.set_autocommit(True)
    assert shop.row("by the relay")["sent_fence"] == UNSENT
    assert relay(django_app) == 1
    assert inbox.take() == ["by the relay"]


# ---- callers that tell of no commit


def by_driver(shop: Shop) -> Any:
    return psycopg.connect(shop.url) if shop.url.startswith("postgresql") else callers._pymysql(shop.url)


def test_what_a_driver_s_connection_commits_is_published_by_the_relay(shop: Shop, inbox: Inbox):
    connection = by_driver(shop)
    with mirepoix.using(connection):
        send(shop.app, "rolled back")
    connection.rollback()
    with mirepoix.using(connection):
        send(shop.app, "by the relay")
    assert relay(shop.app) == 0  # it is not committed
    connection.commit()
    connection.close()
    assert shop.row("by the relay")["sent_fence"] == UNSENT
    assert relay(shop.app) == 1
    assert inbox.take() == ["by the relay"]


def test_what_an_sqlalchemy_connection_commits_is_published_by_the_relay(shop: Shop, inbox: Inbox, engine: sa.Engine):
    with engine.begin() as connection, mirepoix.using(connection):
        send(shop.app, "by the relay")
    assert relay(shop.app) == 1
    assert inbox.take() == ["by the relay"]


def test_on_sqlite_too_the_sender_publishes_its_own_and_the_relay_the_rest(
    sqlite_url: str, broker: BrokerServer, inbox: Inbox, tmp_path: Any
):
    with Shop(tmp_path / "shop", sqlite_url, broker=broker, delivery="broker") as shop:
        own = shop.send("note")
        assert inbox.until(own) == [own]
        connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
        with connection, mirepoix.using(connection):
            send(shop.app, "by the relay")
        connection.close()
        assert relay(shop.app) == 1
        assert inbox.take()[1:] == ["by the relay"]


# ---- processes that end, or fork


SENDS = """
import shop
for n in range({count}):
    shop.note.apply_async(task_id=f"t{{n}}")
"""


def left_to_the_relay(shop: Shop) -> int:
    """Publish what nobody has, after the time that its sender had for it."""
    shop.ledger.passes(60)
    return relay(shop.app)


def test_what_is_queued_when_its_process_ends_is_in_the_broker_or_left_to_the_relay(shop: Shop, inbox: Inbox):
    process = shop.start("sends", "-c", SENDS.format(count=300)).ends()
    assert process.exit_code == 0, process.said
    assert len(shop.ledger.states()) == 300
    left_to_the_relay(shop)
    assert set(inbox.take()) == {f"t{n}" for n in range(300)}


@pytest.mark.slow
def test_a_process_that_ends_while_the_broker_is_away_does_not_wait_for_it_and_loses_nothing(
    shop: Shop, broker: BrokerServer, inbox: Inbox
):
    broker.kill()
    process = shop.start("sends", "-c", SENDS.format(count=30)).ends()  # not only when the broker is back
    broker.start()
    assert process.exit_code == 0, process.said
    assert left_to_the_relay(shop) == 30
    assert sorted(inbox.take()) == sorted(shop.ledger.states())


FORKS = """
import os, sys
import shop
shop.note.apply_async(task_id="before")
child = os.fork()
if child:
    shop.note.apply_async(task_id="parent")
    _, status = os.waitpid(child, 0)
    shop.note.apply_async(task_id="after")
    sys.exit(os.waitstatus_to_exitcode(status))
shop.note.apply_async(task_id="child")
"""


def test_a_forked_child_publishes_on_a_connection_of_its_own(shop: Shop, inbox: Inbox):
    process = shop.start("forks", "-c", FORKS).ends()
    assert process.exit_code == 0, process.said
    assert "Traceback" not in process.said
    left_to_the_relay(shop)
    assert set(inbox.take()) == {"before", "parent", "child", "after"}


# ---- a broker that is away


@pytest.mark.slow
def test_with_the_broker_away_sending_succeeds_and_its_tasks_are_left_to_the_relay(
    shop: Shop, broker: BrokerServer, inbox: Inbox
):
    broker.kill()
    ids = [shop.send("note") for _ in range(10)]
    assert {shop.row(id)["state"] for id in ids} == {"pending"}
    assert {shop.row(id)["sent_fence"] for id in ids} == {PROMISED}
    broker.start()
    left_to_the_relay(shop)
    # The sender may have been trying just then: what goes out twice is taken once.
    assert set(inbox.take()) == set(ids)


# ---- what is in the message


OPTIONS: list[dict[str, Any]] = [
    {},
    {"args": (1, "ü"), "kwargs": {"a": {"b": None}}},
    {"priority": 7, "headers": {"mine": "yes"}, "shadow": "another.name"},
    {"expires": 3600, "time_limit": 30, "soft_time_limit": 20, "retries": 2},
    {"compression": "zlib", "args": ("x" * 1000,)},
    {"reply_to": "me", "delivery_mode": 1, "group_id": "g", "root_id": "r", "parent_id": "p"},
]

OURS = frozenset({SENT_HEADER})
IDS_AND_MOMENTS = frozenset({"reply_to", "timestamp", "delivery_tag", "expires", "message_count"})
IN_THE_LEDGER = frozenset({"expiration"})


def told(message: Any) -> tuple[Any, ...]:
    """All that a message says, apart from ids and moments."""

    def common(facts: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in facts.items() if key not in OURS | IDS_AND_MOMENTS | IN_THE_LEDGER}

    # Celery's send_task says 0 and its delay() nothing, which is the same to a broker.
    properties = {**message.properties, "priority": message.properties.get("priority") or 0}
    headers = properties.pop("application_headers", None) or message.headers
    info = properties.pop("delivery_info", None) or message.delivery_info
    body = message.body if isinstance(message.body, bytes) else message.body.encode()
    return common(headers), common(properties), common(info), message.content_type, message.content_encoding, body


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_the_message_is_what_celery_would_have_published(shop: Shop, inbox: Inbox, options: dict[str, Any]):
    stock = Celery("client", set_as_current=False, broker=shop.broker.url)
    stock.send_task("shop.note", task_id="same", **options)
    stock.close()
    (theirs,) = inbox.take() and inbox.messages
    send(shop.app, "same", **options)
    until(lambda: len(inbox.take()) == 2, "ours is in the broker")
    assert told(inbox.messages[1]) == told(theirs)
    assert inbox.messages[1].headers.keys() - theirs.headers.keys() == OURS


def test_what_celery_lets_the_broker_drop_expires_in_the_ledger_and_not_in_the_broker(shop: Shop, inbox: Inbox):
    send(shop.app, "dropped", expiration=3600)
    inbox.until("dropped")
    (message,) = inbox.messages
    assert "expiration" not in message.properties
    assert shop.row("dropped")["expires_at"] is not None
