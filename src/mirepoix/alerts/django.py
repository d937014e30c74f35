"""Tell those whom Django's ADMINS names, by Django's mail, as its own errors are told."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import mail_admins

from mirepoix.alerts import words
from mirepoix.records import Alert


def tell(alert: Alert) -> None:
    """Mail it, with EMAIL_SUBJECT_PREFIX in front. Raises ValueError without ADMINS: nobody would hear it."""
    if not settings.ADMINS:
        raise ValueError("ADMINS is empty in Django's settings: nobody is mailed.")
    mail_admins(words.subject(alert), words.plain(alert), html_message=words.html(alert))
