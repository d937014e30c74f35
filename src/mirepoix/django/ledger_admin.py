"""The base of the ledger's admin pages: nobody writes through them, and they format states and times in one way."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.utils import timezone
from django.utils.dateformat import format as date_format
from django.utils.html import format_html

from mirepoix.operations.format import duration, one_line, state_word

SECONDS = "Y-m-d H:i:s"
"""The format of times: to the second, in the zone of the site."""


class LedgerAdmin(admin.ModelAdmin):  # type: ignore[misc]  # Django brings no types
    """The admin of rows that only Mirepoix writes."""

    actions_selection_counter = True
    show_full_result_count = False
    show_facets = getattr(admin, "ShowFacets", None) and admin.ShowFacets.NEVER
    """Facets exist from Django 5.0 on. They would count rows."""

    class Media:
        """The style sheet for states."""

        css: dict[str, tuple[str, ...]] = {"all": ("mirepoix/admin.css",)}  # noqa: RUF012 (Django's way)

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any) -> bool:
        return False


def badge(state: str, *, has_due: bool = False) -> str:
    """Return a state or an attempt's outcome in words, in its colour."""
    words = state_word(state, has_due=has_due)
    return format_html('<span class="mirepoix-state mirepoix-{}">{}</span>', state.replace(" ", "-"), words)  # type: ignore[no-any-return]


def written(value: Any) -> str:
    """Return a time in the zone of the site, or the text of any other value."""
    return date_format(timezone.template_localtime(value), SECONDS) if isinstance(value, datetime) else str(value)


def ago(moment: Any) -> str:
    """Return how long ago that was, or nothing for None."""
    if moment is None:
        return ""
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return duration((datetime.now(UTC) - aware).total_seconds())


def cut(text: str | None) -> str:
    """Return the beginning of *text* in one line."""
    words = one_line(text)
    return words if len(words) <= 120 else f"{words[:119]}…"  # noqa: PLR2004 (what fits into a line or two)


def error_words(error_type: str | None, error: str | None) -> str:
    """Return an attempt's error with the class of its exception, unless the message begins with that already."""
    if not error or not error_type:
        return error or ""
    name = error_type.rpartition(".")[2]
    return error if re.match(rf"{re.escape(name)}\b", error) or error_type in error else f"{error_type}: {error}"
