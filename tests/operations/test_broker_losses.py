"""The judge of a broker's losses: what counts as lost, and when."""

from __future__ import annotations

from mirepoix.config import Settings
from mirepoix.ledger.sending import Listener, QueueInBroker, QueueSeen
from mirepoix.operations.broker_losses import (
    EMPTY_S,
    LONGEST_WITHOUT_SIGN_S,
    WAITS,
    LossJudge,
    balance,
    stalled_listeners,
    unaccounted,
)

SETTINGS = Settings()


def queue(sent: int = 10, settled: int = 10) -> QueueInBroker:
    return QueueInBroker("mail", sent=sent, settled=settled, oldest_sent_s=0.0, unsent=2, ready=sent + 2)


def listener(concurrency: int = 1, silent_s: float = 0.0) -> Listener:
    return Listener("w1", "celery@w1", ("mail",), concurrency=concurrency, silent_s=silent_s, up_s=100.0)


def test_what_workers_may_have_in_hand_is_not_lost():
    judge = LossJudge(SETTINGS, prefetch=4)
    assert judge.after_outage(queue(), 6, [listener()], was_away=True) is None
    loss = judge.after_outage(queue(), 5, [listener()], was_away=True)
    assert loss is not None
    assert loss.why == "of 10 messages the broker has 5"
    assert judge.after_outage(queue(), 5, [listener(5)], was_away=False) is None


def test_a_queue_that_is_gone_is_lost_at_once_and_an_empty_queue_after_a_while():
    judge = LossJudge(SETTINGS, prefetch=4)
    assert judge.at_look("mail", None, 0.0) is not None
    assert judge.at_look("mail", 0, 1.0) is None
    loss = judge.at_look("mail", 0, 1.0 + EMPTY_S)
    assert loss is not None
    assert loss.older_than_s == EMPTY_S
    assert judge.at_look("mail", 0, 2.0 + EMPTY_S) is None


def test_a_queue_that_was_seen_with_messages_is_empty_anew():
    judge = LossJudge(SETTINGS, prefetch=4)
    judge.at_look("mail", 0, 0.0)
    judge.at_look("mail", 1, 1.0)
    assert judge.at_look("mail", 0, EMPTY_S) is None


def test_the_deadline_follows_the_longest_wait_and_what_the_broker_has():
    judge = LossJudge(SETTINGS, prefetch=4)
    assert judge.deadline_s(queue(), 9) == SETTINGS.resend_after_s
    assert judge.deadline_s(queue(), 10) == judge.deadline_s(queue(), None) == LONGEST_WITHOUT_SIGN_S
    judge.note_waits({"mail": 1000.0})
    assert judge.deadline_s(queue(), 9) == WAITS * 1000.0
    judge.note_waits({})
    assert SETTINGS.resend_after_s < judge.deadline_s(queue(), 9) < WAITS * 1000.0


def test_what_was_sent_just_now_is_not_missing():
    assert balance(queue(settled=3), 0, [], SETTINGS).missing == 3
    assert balance(queue(), None, [], SETTINGS).missing == 0
    found = [balance(queue(), 4, [], SETTINGS)]
    assert unaccounted(found, 1, is_relayed=True) == 7
    assert unaccounted(found, 1, is_relayed=False) == 9


def test_a_worker_is_stalled_if_probes_went_by_it_and_probes_are_sent():
    seen = [QueueSeen("mail", broker_messages=0, looked_s=1.0, probed_s=5.0)]
    silent = listener(silent_s=60.0)
    assert stalled_listeners([silent, listener()], seen, 10.0) == [silent]
    assert stalled_listeners([silent], seen, 0.0) == []
