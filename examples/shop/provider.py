"""A payment provider to try the shop with: ``python provider.py [PORT]``.

It makes one payment for each Idempotency-Key and answers a repeated one with the first. ``POST /away`` with the number
of seconds in its body makes it answer 503 for so long, and ``GET /charges`` tells all it made.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Provider(ThreadingHTTPServer):
    """What it remembers, until it ends."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.charges: dict[str, dict[str, Any]] = {}
        self.asked = 0
        self.away_until = 0.0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Provider
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """All payments."""
        with self.server.lock:
            self._answer(200, {"asked": self.server.asked, "charges": list(self.server.charges.values())})

    def do_POST(self) -> None:
        """Make a payment, or go away."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            if self.path == "/away":
                self.server.away_until = time.monotonic() + float(body)
                self._answer(200, {})
                return
            self.server.asked += 1
            if time.monotonic() < self.server.away_until:
                self._answer(503, {"error": "away"}, {"Retry-After": "1"})
                return
            key = self.headers.get("Idempotency-Key") or uuid.uuid4().hex
            made = self.server.charges.setdefault(key, json.loads(body) | {"reference": f"ch_{uuid.uuid4().hex[:12]}"})
            self._answer(200, made)

    def _answer(self, status: int, what: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        for name, value in {
            **(headers or {}),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Provider(int(sys.argv[1]) if len(sys.argv) > 1 else 8001).serve_forever()
