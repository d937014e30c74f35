"""The example of Temporal: five steps for each order, once, though both workers are killed in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from five_steps import STEPS, ran
from temporal_server import temporal_cli


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options", [pytest.param((), id="plain", marks=pytest.mark.thorough), pytest.param(("--kill",), id="killed")]
)
def test_every_order_comes_to_its_end_with_one_task_for_each_step(tmp_path: Path, options: tuple[str, ...]) -> None:
    temporal_cli()
    found = ran("temporal", tmp_path, *options)
    assert found.finished == ["1", "2", "3"]
    assert found.tasks == {"mirepoix.start_workflow": 3, **STEPS}
    assert found.states == {"succeeded"}
