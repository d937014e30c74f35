"""A web server on loopback that answers whatever it is asked, and remembers it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from listening import listening


class Web:
    """*says* is asked for each body, by method, path and headers."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str]] = []
        self.status = 200
        self.content_type = "application/json"

    def says(self, method: str, path: str, headers: Any, body: bytes) -> bytes:
        return b"{}"


@contextmanager
def serving(web: Web) -> Iterator[Web]:
    """*web* on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # says "100 Continue"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            web.requests.append((self.command, self.path))
            said = web.says(self.command, self.path, self.headers, body)
            self.send_response(web.status)
            self.send_header("Content-Type", web.content_type)
            self.send_header("Content-Length", str(len(said)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 (the library's names)

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as web.url:
        yield web
