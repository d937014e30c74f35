"""Ask the app's broker what the rules judge. Only reading commands are sent, with a time limit.

Every error becomes a text without a password. An error of the connection is quoted. Any other is named by its
type only, because its text can quote the URL.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from mirepoix.doctor.facts import Broker, kind_of

BOUND_S = 3.0
_CONFIG = ("save", "timeout", "appendfsync")
_UNREADABLE = "the URL cannot be read: encode # / ? @ in its password, and check its transport and options"


def examined(app: Any) -> Broker:
    """Return what is known of the broker in ``broker_url``."""
    url = app.conf.broker_url
    kind, is_doubtful = kind_of(url), _hides_an_at(url)
    label = "broker_url"
    quoted: tuple[type[Exception], ...] = () if is_doubtful else (OSError, ImportError)
    try:
        connection = app.connection_for_read(url, connect_timeout=BOUND_S, transport_options=_options(app, kind))
        uri = connection.as_uri()
        if not is_doubtful:
            label = uri.partition("?")[0]
            quoted += (*connection.connection_errors, *connection.channel_errors)
        with connection:
            connection.connect()
            redis = _redis(connection.default_channel.client) if kind == "redis" else {}
    except Exception as error:  # noqa: BLE001 (each transport raises its own)
        return Broker(kind, label, error=_text(error, quoted, is_parsed=label != "broker_url"))
    return Broker(kind, label, redis=redis)


def _options(app: Any, kind: str) -> dict[str, Any]:
    if kind == "redis":
        bounds = {"socket_timeout": BOUND_S, "socket_connect_timeout": BOUND_S}
    else:
        bounds = {"read_timeout": BOUND_S}
    return {**(app.conf.broker_transport_options or {}), **bounds}


def _hides_an_at(url: Any) -> bool:
    """Return whether an ``@`` comes after the host's end. Then the host or the path may be a part of the password."""
    urls = url if isinstance(url, list | tuple) else str(url or "").split(";")
    return any(re.search(r"://[^/?#]*[/?#].*@", str(each)) for each in urls)


def _text(error: Exception, quoted: tuple[type[Exception], ...], *, is_parsed: bool) -> str:
    name = type(error).__name__
    if isinstance(error, quoted):
        return " ".join(str(error).split()) or name
    return f"{name}: {'a broker_* setting or a part of the URL is wrong' if is_parsed else _UNREADABLE}"


def _redis(client: Any) -> dict[str, Any]:
    found = dict(client.info())
    for name in _CONFIG:
        with suppress(Exception):  # hosted services forbid CONFIG; then its rules find nothing
            text = str(client.config_get(name).get(name, ""))
            found[name] = int(text) if text.isdigit() else text
    return found
