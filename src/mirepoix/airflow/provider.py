"""Tell Airflow what this package provides. It is the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any

INTEGRATION = "Mirepoix"


def get_provider_info() -> dict[str, Any]:
    """Return the description that Airflow reads when it starts. It imports nothing of Airflow."""

    def modules(*names: str) -> list[dict[str, Any]]:
        python_modules = [f"mirepoix.airflow.{name}" for name in names]
        return [{"integration-name": INTEGRATION, "python-modules": python_modules}]

    return {
        "package-name": "mirepoix",
        "name": INTEGRATION,
        "description": "Celery tasks as Airflow tasks: one task in the ledger for each task instance.",
        "integrations": [{"integration-name": INTEGRATION, "tags": ["software"]}],
        "operators": modules("operator"),
        "sensors": modules("sensor"),
        "hooks": modules("hook"),
        "triggers": modules("trigger"),
        "config": {
            "mirepoix": {
                "description": "The ledger of Airflow's CeleryExecutor (mirepoix.airflow.celery_config).",
                "options": {
                    "ledger_url": {
                        "description": "Where the ledger is.",
                        "version_added": None,
                        "type": "string",
                        "sensitive": True,
                        "example": "postgresql://user:password@host/database",
                        "default": None,
                    }
                },
            }
        },
        "extra-links": ["mirepoix.airflow.links.MirepoixTaskLink"],
        "connection-types": [
            {
                "connection-type": "mirepoix",
                "hook-class-name": "mirepoix.airflow.hook.MirepoixHook",
                "hook-name": INTEGRATION,
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "port", "login", "schema", "extra"],
                    "relabeling": {"password": "Ledger URL"},
                    "placeholders": {"password": "postgresql://user:password@host/database"},
                },
                "conn-fields": {
                    "app": {
                        "label": "Celery app",
                        "description": "The import path of the Celery app. Give it or the ledger's URL, not both.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "admin_url": {
                        "label": "URL of Django's admin",
                        "description": "Where the tasks' pages are, such as https://shop.example/admin.",
                        "schema": {"type": ["string", "null"], "format": "url"},
                    },
                },
            }
        ],
    }
