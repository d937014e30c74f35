"""Mail alerts to Django's ADMINS by Django's mail, as Django does with its own errors."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import mail_admins

from mirepoix.alerts import words
from mirepoix.records import Alert


def tell(alert: Alert) -> None:
    """Mail the alert, with EMAIL_SUBJECT_PREFIX. Raises ValueError without ADMINS, because nobody would get it."""
    if not settings.ADMINS:
        raise ValueError("ADMINS is empty in Django's settings, so nobody gets the mail.")
    mail_admins(words.subject(alert), words.plain(alert), html_message=words.html(alert))
