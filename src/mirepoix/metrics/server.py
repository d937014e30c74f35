"""Serve ``/metrics`` from a process of its own, with Python's HTTP server.

It listens on loopback unless it has a token. It answers several connections at once, and each must send its request
within `REQUEST_S`. It has no TLS: put a proxy in front of it, or scrape through a private network.
"""

from __future__ import annotations

import ipaddress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6, getaddrinfo
from typing import ClassVar

from mirepoix.errors import ConfigurationError
from mirepoix.metrics.exporter import Exporter

REQUEST_S = 10.0
PATH = "/metrics"


def serve(exporter: Exporter, host: str, port: int, *, has_token: bool) -> ThreadingHTTPServer:
    """Return a server that listens. Call its ``serve_forever``. Raises ConfigurationError and OSError."""
    if not has_token and not _is_loopback(host):
        raise ConfigurationError(
            f"The metrics would be open to everybody who reaches {host}. Listen on 127.0.0.1, or give a token: "
            "MIREPOIX_METRICS_TOKEN=… or --token-file PATH."
        )
    handler = type("Handler", (_Handler,), {"exporter": exporter})
    return (_ServerOfIpv6 if ":" in host else ThreadingHTTPServer)((host, port), handler)


def _is_loopback(host: str) -> bool:
    found = {str(address[4][0]) for address in getaddrinfo(host, None)}
    return bool(found) and all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


class _ServerOfIpv6(ThreadingHTTPServer):
    address_family = AF_INET6


class _Handler(BaseHTTPRequestHandler):
    exporter: ClassVar[Exporter]
    timeout = REQUEST_S
    server_version = "mirepoix"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Log no request: Prometheus sends one every few seconds."""

    def _answer(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, "Not Found", f"The metrics are at {PATH}.")
            return
        status, headers, body = self.exporter.answer(self.command, self.headers.get("Authorization"))
        self.send_response(int(status[:3]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
