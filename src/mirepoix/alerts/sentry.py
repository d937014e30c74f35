"""Tell Sentry: one issue for each alert, by our own fingerprint. The app has called ``sentry_sdk.init``."""

from __future__ import annotations

import sentry_sdk

from mirepoix.records import Alert

FLUSH_S = 10.0


def tell(alert: Alert) -> None:
    """Send one event. Raises RuntimeError where Sentry was not initialised in this process: it would be dropped."""
    client = sentry_sdk.get_client()
    if not client.is_active():
        raise RuntimeError("sentry_sdk.init() was not called in this process.")
    tags = {"mirepoix.kind": alert.kind, "task": alert.name, "queue": alert.queue, "task_id": alert.task_id}
    event = {
        "message": f"{alert.kind}: {alert.title}",
        "level": "error",
        "logger": "mirepoix.alerts",
        "fingerprint": ["mirepoix", alert.subject or alert.kind],
        "tags": {name: value for name, value in tags.items() if value},
        "extra": {"occasion": alert.occasion, "url": alert.url, "where": alert.traceback},
        **({"release": alert.release} if alert.release else {}),
    }
    sentry_sdk.capture_event(event)  # type: ignore[arg-type]  # their TypedDict, spelled as a dict
    client.flush(timeout=FLUSH_S)
