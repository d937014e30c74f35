"""A worker closes the pooled connections that it no longer needs."""

from __future__ import annotations

from contextlib import ExitStack

from mirepoix.connect.source import Source


def borrow(source: Source, count: int) -> None:
    with ExitStack() as stack:
        for _ in range(count):
            assert stack.enter_context(source.reading()).query("SELECT 1") == [(1,)]


def idle(source: Source) -> int:
    return len(source._pool._idle)


def test_connections_that_nobody_borrowed_since_the_last_call_are_closed(source: Source):
    borrow(source, 3)
    source.close_unused()
    assert idle(source) == 3, "each was borrowed since the source was made"
    borrow(source, 1)
    source.close_unused()
    assert idle(source) == 1
    borrow(source, 1)
    source.close_unused()
    assert idle(source) == 1, "it was borrowed again"
    source.close_unused()
    assert idle(source) == 0
    borrow(source, 2)
    assert idle(source) == 2


def test_a_borrowed_connection_is_not_closed(source: Source):
    borrow(source, 2)
    source.close_unused()
    with source.reading() as tx:
        source.close_unused()
        source.close_unused()
        assert idle(source) == 0
        assert tx.query("SELECT 1") == [(1,)]
    assert idle(source) == 1
