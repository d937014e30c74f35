"""Send alerts to Sentry: one issue for each alert, by Mirepoix's fingerprint. The app calls ``sentry_sdk.init``."""

from __future__ import annotations

import sys
from traceback import format_exception
from typing import Any

import sentry_sdk

from mirepoix.fingerprint import fingerprint
from mirepoix.records import Alert

FLUSH_S = 10.0


def tell(alert: Alert) -> None:
    """Send one event. Raises RuntimeError if Sentry is not initialised in this process and would drop the event."""
    client = sentry_sdk.get_client()
    if not client.is_active():
        raise RuntimeError("sentry_sdk.init() was not called in this process.")
    tags = {"mirepoix.kind": alert.kind, "task": alert.name, "queue": alert.queue, "task_id": alert.task_id}
    event = {
        "message": f"{'over: ' if alert.closed_at else ''}{alert.kind}: {alert.title}",
        "level": "info" if alert.closed_at else "error",
        "logger": "mirepoix.alerts",
        "fingerprint": ["mirepoix", alert.subject or alert.kind],
        "tags": {name: value for name, value in tags.items() if value},
        "extra": {
            "is_over": alert.closed_at is not None,
            "lines": list(alert.lines),
            "occasion": alert.occasion,
            "url": alert.url,
            "where": alert.traceback,
        },
        **({"release": alert.release} if alert.release else {}),
    }
    sentry_sdk.capture_event(event)  # type: ignore[arg-type]  # their TypedDict, spelled as a dict
    client.flush(timeout=FLUSH_S)


def grouped(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """Put the exceptions of tasks into the issue of their failure group: ``sentry_sdk.init(before_send=grouped)``.

    Sentry's Celery integration reports each failure. This gives it the fingerprint of the failure group, as the alert
    has, and removes the task's arguments. Every other event is left as it is.
    """
    job = event.get("extra", {}).get("celery-job")
    if job is None or "exc_info" not in hint:
        return event
    event["extra"]["celery-job"] = {"task_name": job.get("task_name")}
    kind, error, traceback = hint["exc_info"]
    cause = fingerprint.of(
        task=str(job.get("task_name")),
        reason=f"{kind.__name__}: {error}",
        error_type=f"{kind.__module__}.{kind.__qualname__}",
        traceback="".join(format_exception(kind, error, traceback)),
        roots=sys.path,
    )
    if cause is not None:
        event["fingerprint"] = ["mirepoix", cause.id]
    return event
