"""The ledger knows who wrote each message, on every database."""

from __future__ import annotations

from celery import Celery

import mirepoix
from driver import Ledger, envelope
from mirepoix.ledger import enqueue, take
from mirepoix.protocol.canonical import WRITER


def test_whoever_writes_a_message_signs_it(ledger: Ledger):
    ledger.worker("w1")
    ledger.send("t", written_by="celery 5.5.3 kombu 5.5.4")
    (first,) = ledger.take("w1")
    assert first.written_by == ledger.row("t")["written_by"] == "celery 5.5.3 kombu 5.5.4"
    ledger.start(first.lease)
    assert ledger.retry(first.lease, written_by="celery 5.6.3 kombu 5.6.2")
    (second,) = ledger.do(take.take_by_id, "w1", ["t"])
    assert second.written_by == ledger.row("t")["written_by"] == "celery 5.6.3 kombu 5.6.2"
    ledger.start(second.lease)
    assert ledger.succeed(second.lease)
    ledger.do(enqueue.add, [envelope("t", written_by="celery 5.7.0 kombu 5.7.0")])
    assert ledger.row("t")["written_by"] == "celery 5.7.0 kombu 5.7.0"


def test_nobody_signs_for_another_program(ledger: Ledger):
    ledger.send("t")
    ledger.worker("w1")
    assert [taken.written_by for taken in ledger.take("w1")] == [None]


def test_celery_signs_what_it_sends(ledger_url: str):
    app = Celery("signing", set_as_current=False, broker="memory://")
    installation = mirepoix.install(app, ledger_url)

    @app.task(name="shop.pay")
    def pay(amount: int) -> None:
        """Do nothing."""

    pay.apply_async((1,), task_id="one")
    (other,) = mirepoix.bulk(pay, [(2,)])
    with Ledger(installation.source) as ledger:
        assert [ledger.row(id)["written_by"] for id in ("one", other)] == [WRITER, WRITER]
    installation.source.close()
    app.close()
