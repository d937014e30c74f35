"""Ask the app's broker what the rules judge. Only reading commands are sent, with a time limit."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mirepoix.doctor.facts import Broker, kind_of

BOUND_S = 3.0
_CONFIG = ("save", "timeout", "appendfsync")


def examined(app: Any) -> Broker:
    """Return what is known of the broker in ``broker_url``."""
    url = app.conf.broker_url
    kind = kind_of(url)
    options = {**(app.conf.broker_transport_options or {})}
    if kind == "redis":
        options |= {"socket_timeout": BOUND_S, "socket_connect_timeout": BOUND_S}
    else:
        options |= {"read_timeout": BOUND_S}
    connection = app.connection_for_read(url, connect_timeout=BOUND_S, transport_options=options)
    label = connection.as_uri()
    try:
        with connection:
            connection.connect()
            redis = _redis(connection.default_channel.client) if kind == "redis" else {}
    except Exception as error:  # noqa: BLE001 (each transport raises its own)
        return Broker(kind, label, error=" ".join(str(error).split()) or type(error).__name__)
    return Broker(kind, label, redis=redis)


def _redis(client: Any) -> dict[str, Any]:
    found = dict(client.info())
    for name in _CONFIG:
        with suppress(Exception):  # hosted services forbid CONFIG; then its rules find nothing
            text = str(client.config_get(name).get(name, ""))
            found[name] = int(text) if text.isdigit() else text
    return found
