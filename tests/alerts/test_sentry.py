"""Sentry's own integration with Celery, over the ledger: the trace of the sender goes on in the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from receivers import Hook, events_of
from workers import Shop, until

INIT = """
import sys, sentry_sdk
from mirepoix.alerts.sentry import grouped
from sentry_sdk.integrations.celery import CeleryIntegration
sentry_sdk.init(
    "{dsn}",
    traces_sample_rate=1.0,
    default_integrations=False,
    integrations=[CeleryIntegration()],
    before_send=grouped,
)
"""
SEND = """
import shop
with sentry_sdk.start_transaction(name="checkout") as transaction:
    shop.app.tasks["shop.fail"].apply_async(task_id="t1")
    print("TRACE", transaction.trace_id)
"""
WORK = """
from celery.__main__ import main
sys.argv = ["celery", "-A", "shop", "worker", "-P", "solo", "--without-mingle", "--without-gossip"]
main()
"""


def test_the_trace_goes_on_over_the_ledger_and_a_failure_joins_its_group(sqlite_url: str, tmp_path: Path, hook: Hook):
    init = INIT.format(dsn=hook.url.replace("http://", "http://key@").replace("/hook", "/1"))
    with Shop(tmp_path / "shop", sqlite_url, has_client=False) as shop:
        sent = shop.start("send", "-c", init + SEND, is_forked=False).ends().said
        trace_id = sent.partition("TRACE ")[2].strip()
        assert trace_id in str(shop.row("t1")["headers"]), sent
        worker = shop.start("work", "-c", init + WORK, is_forked=False)
        (event,) = until(lambda: errors(hook), "the failure is reported")
        worker.stop()
        shop.ledger.count_failures()
        ((group,),) = shop.ledger.query("SELECT id FROM mirepoix_failure_group")
    assert event["contexts"]["trace"]["trace_id"] == trace_id
    assert event["exception"]["values"][0]["mechanism"]["type"] == "celery"
    assert event["fingerprint"] == ["mirepoix", group]
    assert list(event["extra"]["celery-job"]) == ["task_name"]


def errors(hook: Hook) -> list[dict[str, Any]]:
    """The events of exceptions."""
    events = [event for _, headers, body in hook.requests for event in events_of(headers, body)]
    return [event for event in events if "exception" in event]
