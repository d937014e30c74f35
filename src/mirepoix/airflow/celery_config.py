"""The configuration by which Airflow's CeleryExecutor runs with Mirepoix installed on its Celery apps.

::

    AIRFLOW__CORE__EXECUTOR=CeleryExecutor
    AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS=mirepoix.airflow.celery_config.CELERY_CONFIG
    AIRFLOW__MIREPOIX__LEDGER_URL=postgresql://user:password@host/database

Airflow imports this module in the scheduler and in its Celery workers, before it makes an app. From then on Mirepoix is
installed on each app of the CeleryExecutor, and on no other app. No broker is needed: ``[celery] broker_url`` is not
used unless ``[celery] extra_celery_config`` has ``{"mirepoix_delivery": "broker"}``.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from airflow.sdk.configuration import conf

from mirepoix.celery.app import install
from mirepoix.celery.private import on_each_app

NO_BROKER = {"broker_url": "memory://"}
"""``airflow celery worker --celery-hostname`` asks this for other workers, by an app of its own that has no ledger."""

CELERY_CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    **(NO_BROKER if DEFAULT_CELERY_CONFIG.get("mirepoix_delivery", "ledger") == "ledger" else {}),
}
"""Airflow's own configuration of Celery. Results stay where ``[celery] result_backend`` says."""


def _install(app: Any) -> None:
    name = conf.get("celery", "celery_app_name")
    is_of_executor = app.main == name or str(app.main).startswith(f"{name}_")  # a team's app has the team's name added
    if is_of_executor and getattr(app, "mirepoix", None) is None:
        install(app, conf.get_mandatory_value("mirepoix", "ledger_url"))


on_each_app(_install)
