"""Celery drops apps and connections without closing them: their sessions end all the same."""

from __future__ import annotations

import gc
import os

import psycopg
from celery import Celery
from celery.backends.rpc import RPCBackend
from kombu import pools

import mirepoix
from mirepoix.connect.url import source_for
from pace import until


def sessions(url: str) -> int:
    """How many are connected to the database, beside who asks."""
    with psycopg.connect(url) as connection:
        counted = connection.execute("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()")
        return counted.fetchone()[0]


def no_session(url: str) -> None:
    gc.collect()
    until(lambda: sessions(url) == 0, "no session is left")


def test_the_pooled_connections_of_a_dropped_source_are_closed(postgresql_url: str) -> None:
    source = source_for(postgresql_url)
    with source.transaction():
        assert sessions(postgresql_url) == 1
    del source
    no_session(postgresql_url)


def test_an_app_that_sent_and_waited_over_rpc_leaves_no_session(postgresql_url: str) -> None:
    app = Celery("dropped", set_as_current=False)
    app.conf.update(result_backend="rpc://")
    mirepoix.install(app, postgresql_url)
    result = app.send_task("shop.add")
    assert isinstance(app.backend, RPCBackend)
    assert result.ready() is False
    assert sessions(postgresql_url) > 0
    pools.reset()  # kombu keeps connections for whoever asks next
    app.close()
    del app, result
    no_session(postgresql_url)


def test_a_forked_child_that_drops_a_source_leaves_its_parents_sessions(postgresql_url: str) -> None:
    source = source_for(postgresql_url)
    with source.transaction():
        pass
    child = os.fork()
    if not child:
        del source
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert sessions(postgresql_url) == 1
    with source.transaction() as tx:
        assert tx.query("SELECT 1") is not None
    source.close()
