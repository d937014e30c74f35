"""A worker's pool is forked again and again, while its other threads write into the ledger's file."""

from __future__ import annotations

import io
import logging
import os
import threading
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from mirepoix.connect import forkgate, sqlite3
from mirepoix.connect.forkgate import ForkGate, LogGate
from pace import DEADLINE_S


def test_a_child_forked_while_another_thread_writes_can_write_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # SQLite keeps the locks of a process in its memory: a child that inherited a lock as taken would wait for ever.
    monkeypatch.setattr(sqlite3, "BUSY_TIMEOUT_S", 2.0)
    source = sqlite3.SqliteSource(str(tmp_path / "tasks.db"))
    is_writing, may_end = threading.Event(), threading.Event()

    def write() -> None:
        connection = source.open()
        with connection.transaction() as tx:
            tx.script("CREATE TABLE parent (a)")
            is_writing.set()
            may_end.wait(0.5)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    is_writing.wait()
    child = get_context("fork").Process(target=_write_in_the_child, args=(source,))
    child.start()
    may_end.set()
    writer.join()
    child.join()
    assert child.exitcode == 0


def test_a_child_forked_while_another_thread_logs_can_log_too():
    """A buffered file has a lock, which a child would inherit as taken."""
    is_writing, may_end = threading.Event(), threading.Event()

    class Slow(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, written: Any) -> int:
            if threading.current_thread() is writer:
                is_writing.set()
                may_end.wait(0.5)
            return len(written)

    logger = logging.getLogger("tests.fork")
    handler = logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(Slow()), line_buffering=True))
    logger.addHandler(handler)
    try:
        writer = threading.Thread(target=logger.warning, args=("of the parent",))
        writer.start()
        is_writing.wait()
        child = get_context("fork").Process(target=logger.warning, args=("of the child",))
        child.start()
        may_end.set()
        writer.join()
        child.join(DEADLINE_S)
        child.kill()
        child.join()
        assert child.exitcode == 0
    finally:
        logger.removeHandler(handler)


def test_a_fork_waits_only_so_long_for_a_log(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forkgate, "LONGEST_LINE_S", 0.05)
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger("tests.fork").addHandler(handler)
    is_held, may_release = threading.Event(), threading.Event()

    def hold() -> None:
        with handler.lock:
            is_held.set()
            may_release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    try:
        gate = LogGate()
        gate.close()
        gate.open()
    finally:
        may_release.set()
        holder.join()
        logging.getLogger("tests.fork").removeHandler(handler)


def test_a_thread_that_forks_inside_its_own_transaction_is_not_stopped():
    gate = ForkGate()
    with gate.no_fork():
        gate.close()
        gate.open()


def test_a_fork_waits_until_the_others_are_done():
    gate = ForkGate()
    order: list[str] = []
    is_in, may_leave = threading.Event(), threading.Event()

    def hold() -> None:
        with gate.no_fork():
            is_in.set()
            may_leave.wait()
            order.append("done")

    thread = threading.Thread(target=hold)
    thread.start()
    is_in.wait()
    threading.Timer(0.1, may_leave.set).start()
    gate.close()
    order.append("forked")
    gate.open()
    thread.join()
    assert order == ["done", "forked"]


def _write_in_the_child(source: sqlite3.SqliteSource) -> None:
    try:
        with source.open().transaction() as tx:
            tx.script("CREATE TABLE child (a)")
    except sqlite3.SqliteSource.disconnects:
        os._exit(1)
