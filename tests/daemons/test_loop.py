"""The loop of a daemon: it goes on after every failure, reports an absent ledger once, and ends when it is told to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from mirepoix.connect.source import Source
from mirepoix.daemons.loop import Loop
from pace import until

logger = logging.getLogger("mirepoix.test")


def running(source: Source, work: Callable[[], float], **options: object) -> Loop:
    """A loop whose thread has been started."""
    loop = Loop(source, "test", work, logger, away_s=0.001, **options)
    loop.start()
    return loop


def test_a_round_that_fails_is_followed_by_another(source: Source, caplog: pytest.LogCaptureFixture):
    rounds: list[object] = []

    def work() -> float:
        rounds.append(loop_of[0].connection())
        if len(rounds) == 1:
            raise KeyError("what it met")
        return 0.001

    loop_of: list[Loop] = []
    loop_of.append(Loop(source, "test", work, logger, away_s=0.001))
    loop_of[0].start()
    until(lambda: len(rounds) >= 3, "the next rounds came")
    loop_of[0].stop()
    assert "test failed and goes on" in caplog.text
    assert rounds[0] is not rounds[1], "what failed may have left its connection in any state"
    assert rounds[1] is rounds[2]


def test_an_absent_ledger_is_reported_once_and_tried_until_it_is_back(source: Source, caplog: pytest.LogCaptureFixture):
    tries = threading.Semaphore(0)
    is_back = threading.Event()

    def work() -> float:
        tries.release()
        if not is_back.is_set():
            raise source.disconnects[0]("the server is gone")
        return 0.001

    loop = running(source, work)
    for _ in range(3):
        assert tries.acquire(timeout=60)
    is_back.set()
    for _ in range(3):
        assert tries.acquire(timeout=60)
    loop.stop()
    assert caplog.text.count("the ledger cannot be reached, trying again until it can: the server is gone") == 1


def test_a_loop_that_waits_long_ends_at_once(source: Source):
    ended = threading.Event()
    has_run = threading.Event()

    def work() -> float:
        has_run.set()
        return 3600.0

    loop = running(source, work, on_end=ended.set)
    assert has_run.wait(60)
    loop.stop()
    assert ended.is_set()
