"""The link from a task instance to the page of its Celery task in the admin."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink


class MirepoixTaskLink(BaseOperatorLink):  # type: ignore[misc]
    """The button "Celery task". It has no target if the connection names no admin."""

    @property
    def name(self) -> str:
        return "Celery task"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL that the operator has made when it submitted the task."""
        return str(getattr(operator, "link", ""))
