"""The channels that the setting ``alerts`` names. Nothing connects to them here."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mirepoix.addresses import FORMS, Address, parse
from mirepoix.config import Settings
from mirepoix.errors import ConfigurationError
from mirepoix.records import Alert

alerts_logger = logging.getLogger("mirepoix.alerts")


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to notify people. ``tell`` raises if it failed, and is then tried again."""

    label: str
    tell: Callable[[Alert], object]
    tells_ends: bool = False
    """Whether the channel is also notified when an alert is over: that alert has ``closed_at``."""


def channels(settings: Settings) -> tuple[Channel, ...]:
    """Return all channels. Raises ConfigurationError if a channel's module or library is missing."""
    return tuple(
        Channel(address.label, _teller(address, settings), tells_ends=address.kind in ("webhook", "sentry"))
        for address in map(parse, settings.alerts)
    )


def _teller(address: Address, settings: Settings) -> Callable[[Alert], object]:
    match address.kind:
        case "logging":
            return log
        case "webhook":
            from mirepoix.alerts.webhook import post

            return partial(post, address.target, settings.alerts_secret)
        case "mail":
            from mirepoix.alerts.mail import send

            return partial(send, address)
        case "function":
            return _function(address.target)
    try:
        module = importlib.import_module(f"mirepoix.alerts.{'django' if address.kind == 'mail_admins' else 'sentry'}")
    except ImportError as error:
        extra = "django" if address.kind == "mail_admins" else "sentry"
        raise ConfigurationError(
            f"mirepoix_alerts names {address.kind!r}, but {error.name} is not installed: "
            f"pip install 'mirepoix[{extra}]'."
        ) from error
    tell: Callable[[Alert], object] = module.tell
    return tell


def _function(path: str) -> Callable[[Alert], object]:
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"mirepoix_alerts names {path!r}, which cannot be imported: {error}. {FORMS}"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"mirepoix_alerts names {path!r}, which is not a function. {FORMS}")
    tell: Callable[[Alert], object] = found
    return tell


def log(alert: Alert) -> None:
    """Log an error by ``mirepoix.alerts``, with ``alert`` and its fields (``alert_kind``, ...) as extra."""
    extra = {
        "alert": alert,
        "alert_kind": alert.kind,
        "alert_subject": alert.subject,
        "task_name": alert.name,
        "task_id": alert.task_id,
        "queue": alert.queue,
        "release": alert.release,
    }
    alerts_logger.error("%s: %s", alert.kind, alert.title, extra=extra)
