"""The example of Airflow: five steps for each order, once, though scheduler, triggerer and worker are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_server import PYTHON, need_airflow
from five_steps import STEPS, ran


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_order_comes_to_its_end_with_one_task_for_each_step(tmp_path: Path) -> None:
    need_airflow()
    found = ran("airflow", tmp_path, "--kill", python=PYTHON)
    assert sorted(found.finished) == ["1", "2", "3"]
    assert found.tasks == STEPS
    assert found.states == {"succeeded"}
