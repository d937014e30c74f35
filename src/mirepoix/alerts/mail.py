"""Mail alerts without Django, as plain text and HTML, by SMTP (with STARTTLS if the server has it) or SMTPS."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from mirepoix.addresses import Address
from mirepoix.alerts import words
from mirepoix.records import Alert

TIMEOUT_S = 10.0


def send(address: Address, alert: Alert) -> None:
    """Mail the alert. Raises smtplib's exceptions."""
    message = EmailMessage()
    message["Subject"] = f"[mirepoix] {words.subject(alert)}"
    message["From"] = address.sender or f"mirepoix@{socket.gethostname()}"
    message["To"] = address.target
    message.set_content(words.plain(alert))
    message.add_alternative(words.html(alert), subtype="html")
    via = urlsplit(address.via)
    is_tls = via.scheme == "smtps"
    context = ssl.create_default_context()
    host, port = via.hostname or "localhost", via.port or (465 if is_tls else 25)
    server = (
        smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
        if is_tls
        else smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    )
    with server:
        server.ehlo()
        if not is_tls and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
        if via.username:
            server.login(unquote(via.username), unquote(via.password or ""))
        server.send_message(message)
