"""Servers on loopback that hear alerts: mail by SMTP, and hooks by HTTP."""

from __future__ import annotations

import email
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from typing import Any

from aiosmtpd.controller import Controller

from listening import listening


class Postbox:
    """What an SMTP server was given."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        return "250 taken"


class _Port0(Controller):
    """Tells the port that the system gave it before it connects to itself."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def smtp() -> Iterator[tuple[Postbox, int]]:
    """A real SMTP server on a port of its own."""
    postbox = Postbox()
    controller = _Port0(postbox, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield postbox, controller.port
    finally:
        controller.stop()


class Hook:
    """What an HTTP server was given; it answers with ``status``."""

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.was_told = threading.Event()
        self.url = ""

    @property
    def told(self) -> list[dict[str, Any]]:
        """The JSON of each."""
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def titles(self) -> list[str]:
        """What people read."""
        return [one["title"] for one in self.told]


@contextmanager
def http() -> Iterator[Hook]:
    """A real HTTP server on a port of its own."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.requests.append((self.path, dict(self.headers), body))
            self.send_response(hook.status)
            if hook.status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            hook.was_told.set()

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as address:
        hook.url = f"{address}/hook"
        yield hook


def events_of(headers: dict[str, str], body: bytes) -> list[dict[str, Any]]:
    """The events of one of Sentry's envelopes: a line of headers before each."""
    text = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
    lines = [json.loads(line) for line in text.splitlines() if line]
    return [event for header, event in pairwise(lines[1:]) if header.get("type") == "event"]
