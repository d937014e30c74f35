"""Write an alert as a mail: its subject, plain text and HTML."""

from __future__ import annotations

import sys
from html import escape

from mirepoix.records import Alert

SUBJECT_LETTERS = 160

_COMMANDS = {
    "new_failure": "failures show {subject}",
    "regression": "failures show {subject}",
    "quarantine": "tasks --state quarantined",
    "parked": "parked",
    "late_queue": "status",
    "no_workers": "health",
}


def subject(alert: Alert) -> str:
    """Return the subject in one line."""
    return f"{alert.kind.replace('_', ' ')}: {' '.join(alert.title.split())}"[:SUBJECT_LETTERS]


def facts(alert: Alert) -> list[tuple[str, str]]:
    """Return the facts of the alert by their names."""
    since = None if alert.opened_at is None else alert.opened_at.strftime("%Y-%m-%d %H:%M:%SZ")
    is_django = "mirepoix.django.apps" in sys.modules  # INSTALLED_APPS names it
    command = f"{'manage.py ' if is_django else ''}mirepoix {_COMMANDS.get(alert.kind, 'alerts')}"
    found = [
        ("since", since),
        ("task", alert.name),
        ("example", alert.task_id),
        ("queue", alert.queue),
        ("release", alert.release),
        ("see", command.format(subject=alert.subject)),
        ("admin", alert.url),
    ]
    return [(name, value) for name, value in found if value]


def plain(alert: Alert) -> str:
    """Return the alert as plain text."""
    listed = [*alert.lines, ""] if alert.lines else []
    lines = [alert.title, "", *listed, *(f"{name}: {value}" for name, value in facts(alert))]
    return "\n".join([*lines, *(["", alert.traceback] if alert.traceback else []), ""])


def html(alert: Alert) -> str:
    """Return the alert as HTML. Every value is foreign text and is escaped."""
    rows = "".join(f"<tr><th align=left>{name}</th><td>{_linked(value)}</td></tr>" for name, value in facts(alert))
    where = f"<pre>{escape(alert.traceback)}</pre>" if alert.traceback else ""
    listed = "".join(f"<li>{escape(line)}</li>" for line in alert.lines)
    listed = f"<ul>{listed}</ul>" if listed else ""
    return f"<h2>{escape(alert.title)}</h2>{listed}<table>{rows}</table>{where}"


def _linked(value: str) -> str:
    text = escape(value)
    return f'<a href="{text}">{text}</a>' if value.startswith(("http://", "https://")) else text
