"""A late answer of one process is never shown as the stack of another."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from mirepoix.celery import stacks
from mirepoix.celery.stacks import Stacks
from pace import until


@pytest.fixture
def asked() -> Iterator[Stacks]:
    """What a worker's parent has."""
    found = Stacks(is_forking=True)
    yield found
    found.close()


@pytest.fixture
def fork() -> Iterator[Callable[[bool], tuple[int, int]]]:
    """Forks a process that waits, with the signal blocked or not. A byte on the second value unblocks it."""
    made: list[tuple[int, int]] = []

    def forked(is_blocked: bool) -> tuple[int, int]:
        reading, writing = os.pipe()
        if is_blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, {stacks._SIGNAL})
        pid = os.fork()
        if pid == 0:
            os.read(reading, 1)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {stacks._SIGNAL})
            signal.pause()
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {stacks._SIGNAL})
        os.close(reading)
        made.append((pid, writing))
        return pid, writing

    yield forked
    for pid, writing in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(writing)


def test_who_has_not_answered_yet_keeps_the_next_request_waiting(asked, fork, monkeypatch):
    monkeypatch.setattr(stacks, "DUMP_S", 0.1)
    slow, wake = fork(True)
    quick, _ = fork(False)
    assert asked.of_process(slow).trouble == f"process {slow} gave no answer in 0.1 s: it waits in the kernel"
    assert asked.of_process(quick).trouble == f"an earlier request to process {slow} is not answered yet"
    os.write(wake, b"x")
    monkeypatch.undo()
    until(lambda: not asked.of_process(quick).trouble, "the earlier request is answered")
    assert "in forked" in asked.of_process(quick).text


def test_a_process_that_does_not_catch_the_signal_is_never_sent_it(fork):
    pid, _ = fork(False)
    found = Stacks(is_forking=False)
    assert "does not catch the signal" in found.of_process(pid).trouble
    found.close()
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
