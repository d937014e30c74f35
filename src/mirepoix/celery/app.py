"""Install Mirepoix on a Celery app: one call, before or after its tasks are defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mirepoix.config import Settings
from mirepoix.connect.source import Source


@dataclass(slots=True)
class Installation:
    """What one app's installation consists of; found again by `installation_of`."""

    app: Any
    source: Source
    settings: Settings


def installation_of(app: Any) -> Installation:
    """The installation of *app*; ConfigurationError if there is none."""
    raise NotImplementedError
