"""Probes of queues. Each queue has one at a time, however many processes send them."""

from __future__ import annotations

from driver import Ledger
from mirepoix.ledger import queue_probes


def ask(ledger: Ledger, queue: str, task_id: str, every_s: float = 60.0) -> bool:
    """Ask, and send what is to be sent."""
    asked = ledger.do(queue_probes.ask, queue, task_id, every_s)
    if asked:
        ledger.send(task_id, queue=queue)
    return asked


def test_the_first_probe_of_a_queue_is_sent_at_once_and_by_one_worker_only(ledger: Ledger):
    assert ask(ledger, "a", "p1")
    assert not ask(ledger, "a", "p2")
    assert ask(ledger, "b", "p3")


def test_the_next_probe_is_sent_after_the_interval_if_the_last_one_has_run(ledger: Ledger):
    assert ask(ledger, "a", "p1")
    ledger.passes(61)
    assert not ask(ledger, "a", "p2")  # p1 still waits
    ledger.do(queue_probes.end, "a", "p1")
    assert ask(ledger, "a", "p3")
    ledger.do(queue_probes.end, "a", "p3")
    assert not ask(ledger, "a", "p4")  # too soon


def test_a_probe_that_ended_without_running_makes_room_for_the_next(ledger: Ledger):
    assert ask(ledger, "a", "p1")
    ledger.passes(61)
    ledger.cancel("p1")
    assert ask(ledger, "a", "p2")


def test_how_long_a_probe_took_is_recorded_once(ledger: Ledger):
    assert ask(ledger, "a", "p1")
    ledger.passes(5)
    ledger.do(queue_probes.end, "a", "unknown")
    (probe,) = ledger.do(queue_probes.latest)
    assert (probe.queue, probe.is_pending, probe.took_s) == ("a", True, None)
    assert 5 <= probe.asked_ago_s < 60
    ledger.do(queue_probes.end, "a", "p1")
    ledger.passes(100)
    ledger.do(queue_probes.end, "a", "p1")  # it ran twice
    (probe,) = ledger.do(queue_probes.latest)
    assert not probe.is_pending
    assert 5 <= probe.took_s < 60
