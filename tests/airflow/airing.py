"""A shop. DAGs of Airflow run its tasks."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from workers import Shop

from airflow_server import AirflowServer, Run


class Airing(Shop):
    """A shop with a connection of Airflow to its ledger."""

    def __init__(self, folder: Path, url: str, airflow: AirflowServer, conn_id: str | None = None) -> None:
        super().__init__(folder, url)
        self.airflow = airflow
        self.conn_id = conn_id or f"ledger-{uuid.uuid4().hex[:8]}"
        if conn_id is None:
            airflow.connect(self.conn_id, url, admin_url="https://shop.example/admin/")

    @property
    def keys(self) -> dict[str, str]:
        """Tasks by their keys."""
        return dict(self.ledger.query("SELECT id, task_id FROM mirepoix_key"))

    @property
    def task_id(self) -> str:
        """The id of the only task that was submitted."""
        ((_, task_id),) = self.keys.items()
        return task_id

    def begin(self, dag_id: str, task: str, *args: Any, **conf: Any) -> Run:
        """Start a run of a DAG that runs a task of the shop."""
        run_id = f"run-{uuid.uuid4().hex[:8]}"
        given = {"conn_id": self.conn_id, "task": f"shop.{task}", "args": list(args), **conf}
        return self.airflow.begin(dag_id, run_id, **given)
