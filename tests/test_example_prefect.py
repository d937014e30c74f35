"""The example of Prefect: five steps for each order, once, though flows and worker are killed in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from five_steps import ONE_ORDER, STEPS, ran
from pace import pace
from prefect_server import need_prefect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400 * pace())]


@pytest.mark.thorough
def test_every_order_comes_to_its_end_with_one_task_for_each_step(tmp_path: Path) -> None:
    need_prefect()
    found = ran("prefect", tmp_path, orders=1)
    assert found.finished == ["1"]
    assert found.tasks == ONE_ORDER
    assert found.states == {"succeeded"}


def test_so_do_orders_with_flows_and_a_worker_that_are_killed(tmp_path: Path) -> None:
    need_prefect()
    found = ran("prefect", tmp_path, "--kill")
    assert sorted(found.finished) == ["1", "2", "3"]
    assert found.tasks == STEPS
    assert found.states == {"succeeded"}
