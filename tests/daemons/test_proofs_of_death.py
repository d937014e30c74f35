"""What of the things that can be seen of another worker proves that it is dead. Time is the test's."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from dataclasses import replace

import pytest

from mirepoix.daemons import process
from mirepoix.daemons.deaths import CONFIRM_S, Deaths
from mirepoix.records import Neighbour

OTHER = Neighbour("w#1", "w@host", 7, "there 1 1", "12:00:00", 15.0)
ALWAYS = float("-inf")


def far_off(_: str | None) -> bool | None:
    """On another host."""
    return None


def test_a_free_lock_and_a_process_that_is_gone_prove_a_death_at_once():
    (death,) = Deaths(lambda _: True).of_free([OTHER], 100.0)
    assert (death.worker, death.reason) == (OTHER, "its process is gone")


def test_a_process_that_is_there_is_not_dead_however_long_its_lock_is_free():
    deaths = Deaths(lambda _: False)
    assert [deaths.of_free([OTHER], 100.0 + now) for now in range(1_000)] == [[]] * 1_000
    assert deaths.has_suspects


def test_on_another_host_a_lock_has_to_be_free_for_longer_than_a_session_takes_to_be_replaced():
    deaths = Deaths(far_off)
    assert deaths.of_free([OTHER], 100.0) == []
    assert deaths.of_free([OTHER], 100.0 + CONFIRM_S - 0.01) == []
    (death,) = deaths.of_free([OTHER], 100.0 + CONFIRM_S)
    assert death.reason == f"its liveness lock was free for {CONFIRM_S:.1f} s"


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda deaths: deaths.of_free([], 101.0),
        lambda deaths: deaths.of_free([replace(OTHER, heartbeat="12:00:01")], 101.0),
        lambda deaths: deaths.forget_locks(),
    ],
    ids=["it held the lock", "it sent a heartbeat", "the own session ended"],
)
def test_what_shows_that_it_lives_begins_the_time_anew(meanwhile):
    deaths = Deaths(far_off)
    deaths.of_free([OTHER], 100.0)
    meanwhile(deaths)
    assert deaths.of_free([replace(OTHER, heartbeat="12:00:02")], 101.9) == []
    assert deaths.of_free([replace(OTHER, heartbeat="12:00:02")], 101.9 + CONFIRM_S - 0.01) == []


def look(deaths: Deaths, until: float, workers: list[Neighbour], steady_since: float = ALWAYS) -> list[str]:
    """Look once a second up to *until*; the reasons of the deaths that the last look found."""
    now = getattr(look, "now", 0.0)
    dead: list[str] = []
    while now < until:
        now += 1.0
        dead = [death.reason for death in deaths.of_silent(workers, now, steady_since)]
    look.now = now  # type: ignore[attr-defined]
    return dead


@pytest.fixture(autouse=True)
def from_the_beginning() -> None:
    """Each test's time begins anew."""
    look.now = 0.0  # type: ignore[attr-defined]


def test_a_heartbeat_that_stays_out_as_long_as_it_is_good_for_proves_a_death():
    deaths = Deaths()
    assert look(deaths, 15.0, [OTHER]) == []
    assert look(deaths, 16.0, [OTHER]) == ["it sent no heartbeat for 15.0 s"]


@pytest.mark.parametrize("step_s", [60, -60, 3600])
def test_a_clock_that_is_set_proves_nothing(step_s: int):
    """A heartbeat bears whatever time it is, before the step and after it: it came, or it did not."""
    deaths = Deaths()
    for at in range(5, 40, 5):
        stamped = at if at < 20 else at + step_s
        assert look(deaths, at, [replace(OTHER, heartbeat=f"second {stamped}")]) == []
    assert look(deaths, 36.0 + 14.0, [replace(OTHER, heartbeat=f"second {35 + step_s}")]) != []


def test_who_has_not_looked_for_a_while_begins_to_count_anew():
    """A process that was stopped wakes up beside others that were stopped too."""
    deaths = Deaths()
    look(deaths, 5.0, [OTHER])
    look.now = 50.0  # type: ignore[attr-defined]
    assert look(deaths, 65.0, [OTHER]) == []
    assert look(deaths, 66.0, [OTHER]) != []


def test_silence_does_not_count_while_the_own_heartbeats_do_not_get_through():
    deaths = Deaths()
    assert look(deaths, 100.0, [OTHER], steady_since=float("inf")) == []
    assert look(deaths, 114.0, [OTHER], steady_since=100.0) == []
    assert look(deaths, 115.0, [OTHER], steady_since=100.0) != []


def test_a_process_is_told_from_others_by_its_name():
    name = process.own()
    assert process.is_gone(name) is False
    here, pid, began_at = name.rsplit(" ", 2)
    assert process.is_gone(f"{here} {pid} {int(began_at) - 1}") is True  # that had the number before
    assert process.is_gone(f"another-boot 4026531836 {pid} {began_at}") is None
    assert process.is_gone(None) is None


def test_a_process_that_has_ended_is_gone_also_if_its_parent_has_not_asked():
    told = "from mirepoix.daemons import process; print(process.own(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        name = child.stdout.readline().strip()
        assert process.is_gone(name) is False
        ending = os.pidfd_open(child.pid)
        child.kill()
        select.select([ending], [], [])
        assert process.is_gone(name) is True
        os.close(ending)
    assert process.is_gone(name) is True
