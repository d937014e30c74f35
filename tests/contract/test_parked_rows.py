"""What is parked is told call by call and reason by reason, however much there is of it."""

from __future__ import annotations

import pytest

from driver import Ledger
from mirepoix.ledger import finish
from mirepoix.ledger.query.parked import Parked, parked
from mirepoix.records import AttemptFailure, IncompatibilityKind
from mirepoix.signatures.call_codec import Call, to_text
from mirepoix.signatures.shape import Shape

PAY = Call("shop.pay", 1, Shape(1, frozenset({"amount"})))


@pytest.fixture(autouse=True)
def _worker(ledger: Ledger) -> None:
    ledger.worker("w1")


def park(
    ledger: Ledger,
    *task_ids: str,
    reason: str = "no such task",
    lacking: IncompatibilityKind | None = IncompatibilityKind.TASK,
    **fields,
):
    """Send them, and park them by hand of a worker."""
    for task_id in task_ids:
        ledger.send(task_id, **{"priority": 9, **fields})
        (taken,) = ledger.take("w1", 1, [fields.get("queue", "celery")])
        assert taken.lease.task_id == task_id
        assert ledger.do(finish.park, taken.lease, AttemptFailure(reason), lacking)


def test_nothing_is_parked(ledger: Ledger):
    ledger.send("t")
    assert ledger.do(parked) == Parked(0, ())


def test_tasks_of_one_call_and_reason_are_told_together(ledger: Ledger):
    park(ledger, "old", shape=to_text(PAY))
    ledger.passes(3_600)
    park(ledger, "a", "b", shape=to_text(PAY), queue="mail")
    park(ledger, "other", shape=to_text(Call("shop.pay", 2, PAY.shape)), lacking=IncompatibilityKind.VERSION, version=2)
    found = ledger.do(parked)
    assert found.count == 4
    first, second = found.calls
    assert (first.call, first.lacking, first.reason, first.count) == (PAY, IncompatibilityKind.TASK, "no such task", 3)
    assert first.queues == ("celery", "mail")
    assert first.example_id == "a"
    assert 3_600 <= first.oldest_s < 3_700
    assert first.newest_s < 100
    assert (str(second.call), second.lacking, second.count) == (
        "shop.pay(·, amount=·) v2",
        IncompatibilityKind.VERSION,
        1,
    )


def test_what_a_payload_carries_for_later_does_not_divide_its_calls(ledger: Ledger):
    park(ledger, "a", shape=to_text(PAY))
    park(ledger, "b", shape=to_text(PAY, [Call("shop.mail")]))
    (only,) = ledger.do(parked).calls
    assert (only.call, only.count) == (PAY, 2)


def test_reasons_and_what_is_lacking_divide_them(ledger: Ledger):
    park(ledger, "a", "b", shape=to_text(PAY))
    park(ledger, "c", shape=to_text(PAY), reason="another")
    park(ledger, "d", shape=to_text(PAY), lacking=None)
    assert [(one.reason, one.lacking, one.count) for one in ledger.do(parked).calls] == [
        ("no such task", IncompatibilityKind.TASK, 2),
        ("another", IncompatibilityKind.TASK, 1),
        ("no such task", None, 1),
    ]


def test_long_reasons_are_told_by_their_beginning(ledger: Ledger):
    for task_id in ("a", "b"):
        park(ledger, task_id, shape=to_text(PAY), reason=f"{'ü' * 300} {task_id}")
    (only,) = ledger.do(parked).calls
    assert (only.reason, only.count) == ("ü" * 300, 2)


def test_a_call_whose_arguments_are_not_kept_is_told_by_its_name(ledger: Ledger):
    park(ledger, "a", lacking=None, name="shop.broken", version=3)
    (only,) = ledger.do(parked).calls
    assert only.call == Call("shop.broken", 3)


def test_what_was_parked_and_is_not_any_more_is_not_told(ledger: Ledger):
    park(ledger, "a", "b", shape=to_text(PAY))
    ledger.requeue("a")
    ledger.cancel("b")
    assert ledger.do(parked).count == 0
