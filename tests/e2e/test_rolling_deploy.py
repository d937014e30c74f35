"""Workers are replaced one by one while old and new code sends: a shorter run of `benchmarks.deploys`."""

from __future__ import annotations

import pytest
from benchmarks.releases import KINDS, NEW, OLD
from benchmarks.rolling import Audit, roll
from benchmarks.servers import Server

pytestmark = pytest.mark.slow


def check(found: Audit) -> None:
    """Nothing lost, nothing failed, nothing run twice or wrongly, and old and new code really met."""
    assert (found.lost, found.twice, found.wrong) == ([], [], [])
    assert found.states == {"succeeded": found.tasks}
    assert min(found.sent[OLD], found.sent[NEW]) > len(KINDS)
    assert found.ran[NEW, OLD] == 0
    assert found.ran[OLD, OLD] > 0 < found.ran[OLD, NEW]
    assert found.parked > 0


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_rolling_deploy_of_incompatible_changes_harms_no_task(database: str, request: pytest.FixtureRequest):
    url = request.getfixturevalue(f"{database}_url")
    check(roll(Server(database, url), seconds=5.0, rate=25.0, workers=2))
