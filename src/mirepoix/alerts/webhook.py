"""Post alerts to a webhook as JSON, signed if there is a secret. Every answer but 2xx is a failure."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mirepoix.records import Alert

TIMEOUT_S = 10.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treat a redirect as a failure, because it would turn the POST into a GET without the alert."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, secret: str | None, alert: Alert) -> None:
    """Post the alert.

    ``text`` is one line for chat services. A repetition has the same id and occasion. ``state`` says whether the alert
    is over.
    """
    fields = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(alert).items()}
    is_over = alert.closed_at is not None
    text = f"{'over: ' if is_over else ''}{alert.kind}: {alert.title}"
    body = json.dumps({"text": text, "state": "closed" if is_over else "open", **fields}).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "mirepoix"}
    if secret is not None:
        headers["Mirepoix-Signature"] = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 (https or http: see addresses)
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise
