"""Parse and check the channels that the setting ``alerts`` names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from mirepoix.errors import ConfigurationError

WORDS = ("logging", "mail_admins", "sentry")
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")
_MAIL = re.compile(r"[^\s/:?]+@[^\s/:?]+")
FORMS = (
    "Write 'logging', 'mail_admins' (with Django), 'sentry', 'https://host/path', "
    "'mailto:somebody@example.com?via=smtp://host:25', or the path of a function, 'shop.alerts:notify'."
)
ENCODE = " (in a password, / must be written %2F, @ %40, & %26, # %23, ? %3F and % %25)"


@dataclass(frozen=True, slots=True)
class Address:
    """A channel. ``label`` names it in the ledger and in logs, without the passwords, path and query of a URL."""

    kind: str
    target: str = field(repr=False)
    label: str
    via: str = field(default="", repr=False)
    sender: str = ""


def parse(text: object) -> Address:
    """Parse the channel that *text* names. Raises ConfigurationError with the known forms."""
    if not isinstance(text, str):
        raise ConfigurationError(f"mirepoix_alerts must name channels by strings, not {text!r}. {FORMS}")
    if text in WORDS:
        return Address(text, text, text)
    if text.startswith(("http://", "https://")):
        return _webhook(text)
    if text.startswith("mailto:"):
        return _mail(text)
    if _PATH.fullmatch(text):
        return Address("function", text, text)
    raise ConfigurationError(f"mirepoix_alerts names {_scheme(text)}, which is not a channel. {FORMS}")


def _scheme(text: str) -> str:
    # The text may contain a password, so the message quotes only what is safe.
    return repr(text if "@" not in text and "?" not in text else text.partition(":")[0] + ":...")


def _webhook(text: str) -> Address:
    host = _host(text)
    if host is None:
        raise ConfigurationError(f"mirepoix_alerts names a webhook without a host. {FORMS}")
    return Address("webhook", text, f"webhook {host} {hashlib.sha256(text.encode()).hexdigest()[:8]}")


def _mail(text: str) -> Address:
    to, _, query = text.removeprefix("mailto:").partition("?")
    given = parse_qs(query)
    unknown = sorted(set(given) - {"via", "from"})
    via = given.get("via", ["smtp://localhost:25"])[-1]
    if unknown or not _MAIL.fullmatch(to):
        raise ConfigurationError(
            f"mirepoix_alerts names {_flaw(to, unknown, query)}; it may have via and from. {FORMS}"
        )
    if not _is_mail_server(via):
        raise ConfigurationError(
            f"mirepoix_alerts names mailto:{to} with a via that is not smtp://[user:password@]host[:port] (or smtps://)"
            f"{ENCODE if '@' in via else ''}."
        )
    return Address("mail", unquote(to), f"mail {unquote(to)}", via, given.get("from", [""])[-1])


def _flaw(to: str, unknown: list[str], query: str) -> str:
    """Describe what is wrong with a mail address or its options, without quoting a password."""
    # A piece of an unescaped password can look like an unknown option.
    if not _MAIL.fullmatch(to):
        return "mailto: without a mail address" if "/" in to else f"{'mailto:' + to!r}, which is not a mail address"
    return f"an unknown option{ENCODE}" if "@" in unquote(query) else f"{', '.join(unknown)} in a mailto: channel"


def _is_mail_server(via: str) -> bool:
    try:
        parts = urlsplit(via)
    except ValueError:
        return False
    rest = parts.path.strip("/") or parts.query or parts.fragment
    return parts.scheme in ("smtp", "smtps") and _host(via) is not None and not rest


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return host and f"{host}{'' if port is None else f':{port}'}"
