"""The page that a pool's processes share with their parent, and the frames between them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirepoix.celery.pool.frames import Reader, Writer, packed
from mirepoix.celery.pool.page import Page
from mirepoix.celery.pool.soft_limit import SOFT_LIMIT

ROUNDS = 3_000


@pytest.fixture
def page() -> Iterator[Page]:
    with closing(Page(2)) as page:
        yield page


def forked(act: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return pid


def test_a_job_is_either_begun_or_recalled_never_both(page: Page) -> None:
    """A process begins jobs while its parent recalls them: together they account for each job once."""
    ran_r, ran_w = os.pipe()

    def begin_all() -> None:
        for number in range(1, ROUNDS + 1):
            if page.begin(1, number):
                os.write(ran_w, number.to_bytes(4, "little"))

    pid = forked(begin_all)
    os.close(ran_w)
    recalled: set[int] = set()
    sent, last = 1, -1
    while last < ROUNDS:
        found = page.recall(1, min(sent, ROUNDS))
        if found is not None:
            recalled |= set(range(found + 1, min(sent, ROUNDS) + 1))
            last = max(found, min(sent, ROUNDS))
            sent = last + 7
    os.waitpid(pid, 0)
    with os.fdopen(ran_r, "rb") as pipe:
        data = pipe.read()
    ran = {int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)}
    assert not ran & recalled
    assert ran | recalled == set(range(1, ROUNDS + 1))


def test_a_process_that_dies_while_it_begins_a_job_blocks_nobody(page: Page) -> None:

    def die_inside() -> None:
        import fcntl

        fcntl.lockf(page._fd, fcntl.LOCK_EX, 1, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(forked(die_inside), 0)
    assert page.recall(0, 5) == 0


def test_the_soft_limit_reaches_the_job_that_it_was_sent_for_and_no_other(page: Page) -> None:
    number = signal.SIGUSR1
    assert page.begin(0, 1)
    had = signal.signal(number, lambda *_: None)
    try:
        assert page.signal(0, 1, os.getpid(), number, interruption=SOFT_LIMIT)
        assert page.interruption(0, 1) == SOFT_LIMIT
        page.end(0, 1)
        assert not page.signal(0, 1, os.getpid(), number, interruption=SOFT_LIMIT)
        assert page.begin(0, 2)
        assert not page.signal(0, 1, os.getpid(), number, interruption=SOFT_LIMIT)
        assert not page.interruption(0, 2)
    finally:
        signal.signal(number, had)


def test_a_slot_is_empty_for_its_next_process(page: Page) -> None:
    assert page.begin(1, 9)
    at = page.begun_at(1, 9)
    assert page.last_begun(1) == 9
    assert at is not None
    assert at <= time.monotonic()
    page.clear(1)
    assert page.last_begun(1) == 0
    assert page.begun_at(1, 9) is None
    assert page.begin(1, 1)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(plain, min_size=1, max_size=6), st.integers(1, 50))
def test_values_arrive_whole_and_in_order_however_they_are_cut(values: list[object], size: int) -> None:
    data = b"".join(packed(value) for value in values)
    reader = Reader()
    arrived = [value for at in range(0, len(data), size) for value in reader.feed(data[at : at + size])]
    assert arrived == values


class Unmarshallable(str):
    __slots__ = ()


def test_what_marshal_refuses_is_pickled() -> None:
    (value,) = Reader().feed(packed(Unmarshallable("x")))
    assert type(value) is Unmarshallable


def test_a_writer_never_waits_and_loses_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        writer = Writer(ours)
        large = "x" * 3_000_000
        writer.send(packed(large))
        writer.send(packed("y"))
        assert writer.is_behind
        theirs.settimeout(10)
        reader, arrived = Reader(), []
        while len(arrived) < 2:
            arrived += reader.feed(theirs.recv(1 << 16))
            writer.flush()
        assert arrived == [large, "y"]
        assert not writer.is_behind
        theirs.close()
        with pytest.raises(OSError, match="Broken pipe"):
            writer.send(packed("z"))
