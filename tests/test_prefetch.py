"""How many tasks a worker leases ahead."""

from __future__ import annotations

import pytest

from mirepoix.delivery import prefetch
from mirepoix.delivery.prefetch import Batch


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(prefetch, "time", clock)
    return clock


def lookaheads(clock: Clock, ends: list[float], looks_s: float = 0.02) -> list[int]:
    """What it would lease ahead at each look, while tasks end at these moments."""
    batch, start, found = Batch(1_000), clock.now, []
    while clock.now - start < max(ends) + 0.5:
        clock.now += looks_s
        batch.wanted(1, 0, sum(start + end <= clock.now for end in ends))
        found.append(batch.lookahead)
    return found


def test_nothing_is_leased_ahead_of_slow_tasks_however_their_ends_fall(clock: Clock) -> None:
    alone = [1.0 * n for n in range(1, 10)]
    in_pairs = [end + after for end in alone for after in (0.0, 0.06)]
    assert max(lookaheads(clock, alone)) == 0
    assert max(lookaheads(clock, in_pairs)) == 0


def test_quick_tasks_are_leased_for_a_tenth_of_a_second(clock: Clock) -> None:
    found = lookaheads(clock, [n / 1_000 for n in range(1, 1_001)])
    assert max(found) == pytest.approx(100, rel=0.1)
    assert found[12] > 50  # a quarter of a second after they began
    assert found[-1] == 0


@pytest.mark.parametrize("looks_s", [0.5, 1.0, 7.0])
def test_a_long_idle_time_does_not_count_as_the_time_of_the_tasks_after_it(clock: Clock, looks_s: float) -> None:
    """Each look of an idle worker finds nothing. Then a thousand tasks a second end, and it looks every 5 ms."""
    batch = Batch(1_000)
    for _ in range(3):
        clock.now += looks_s
        batch.wanted(4, 0, 10, is_idle=True)
    begun, ahead_after_s = clock.now, None
    while ahead_after_s is None:
        clock.now += 0.005
        passed = clock.now - begun
        batch.wanted(4, 0, 10 + int(passed * 1_000))
        if batch.lookahead >= 50:
            ahead_after_s = passed
    assert ahead_after_s == pytest.approx(Batch.WINDOW_S, abs=0.006)


def test_a_busy_worker_without_an_end_counts_the_whole_window(clock: Clock) -> None:
    """Eight tasks of a second that end together are slow, however often the worker looked before."""
    batch = Batch(1_000)
    for _ in range(20):
        clock.now += 0.05
        batch.wanted(0, 0, 0)
    clock.now += 0.05
    batch.wanted(8, 0, 8)
    assert batch.lookahead == 0
