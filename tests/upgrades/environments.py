"""Virtual environments with other versions of Celery, kept in pytest's cache."""

from __future__ import annotations

from pathlib import Path

from upgrade_harness import Software

from virtual_environments import ROOT, python_with


def with_celery(series: str, cache: Path) -> Software:
    """This Mirepoix on the latest Celery of that *series*, and the kombu of its time."""
    celery = ("--editable", str(ROOT), f"celery=={series}.*", f"kombu=={series}.*")
    return Software(python=python_with(f"celery-{series}", cache, *celery))
