"""The example of Prefect: five steps for each order, once, though flows and worker are killed in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from five_steps import STEPS, ran
from prefect_server import need_prefect


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("options", [(), ("--kill",)], ids=["plain", "killed"])
def test_every_order_comes_to_its_end_with_one_task_for_each_step(tmp_path: Path, options: tuple[str, ...]) -> None:
    need_prefect()
    found = ran("prefect", tmp_path, *options)
    assert sorted(found.finished) == ["1", "2", "3"]
    assert found.tasks == STEPS
    assert found.states == {"succeeded"}
