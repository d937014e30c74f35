"""A ledger that one version of Celery writes is worked off by another, and the other way round. Needs PyPI."""

from __future__ import annotations

from pathlib import Path

import pytest
from environments import with_celery
from upgrade_harness import ENDS, TODAY, Software, UpgradeHarness, differences
from workers import until

from driver import Ledger
from mirepoix.connect.url import source_for
from mirepoix.protocol.canonical import WRITER
from releases import CELERY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OTHERS = [series for series in ("5.5", "5.6", "5.7") if series != ".".join(map(str, CELERY))]


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Software:
    """Another version of Celery."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("environments") if cache is not None else tmp_path_factory.mktemp("environments")
    return with_celery(request.param, folder)


def written_by(url: str) -> set[str]:
    """Who wrote the rows."""
    with Ledger(source_for(url)) as ledger:
        return {row["written_by"] for row in ledger.rows("SELECT * FROM mirepoix_task")}


def statuses(ledger: Ledger) -> dict[str, str]:
    """What those are told who wait for a result."""
    return {row["task_id"]: row["status"] for row in ledger.rows("SELECT * FROM mirepoix_result")}


def test_what_the_other_one_wrote_is_run_here(other: Software, sqlite_url: str, typed: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", sqlite_url) as harness:
        harness.send_all(other)
        assert WRITER not in written_by(sqlite_url)
        harness.worker(TODAY)
        harness.wait(ENDS)
        assert differences(harness.notes(), typed) == []


def test_what_is_written_here_is_run_by_the_other_one(other: Software, sqlite_url: str, typed: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", sqlite_url) as harness:
        harness.send_all(TODAY)
        assert written_by(sqlite_url) == {WRITER}
        harness.worker(other)
        harness.wait(ENDS)
        assert differences(harness.notes(), typed) == []


def test_what_follows_a_failed_chord_fails_on_every_version(other: Software, sqlite_url: str, tmp_path: Path):
    """Before 5.7 Celery by itself leaves those who wait for it waiting."""
    unsent = {"unsent-body", "unsent-end", "unsent-0", "unsent-1"}
    with UpgradeHarness(tmp_path / "harness", sqlite_url) as harness, Ledger(source_for(sqlite_url)) as ledger:
        harness.worker(other)
        sent = harness.run(other, "-c", "import upgrade_app; upgrade_app.send_failing()")
        assert sent.returncode == 0, sent.stderr
        until(lambda: unsent <= set(statuses(ledger)), "all of them have failed")
        assert {status for id, status in statuses(ledger).items() if id in unsent} == {"FAILURE"}


def test_both_work_off_what_both_write_side_by_side(other: Software, sqlite_url: str, typed: str, tmp_path: Path):
    """A rolling upgrade: whoever of the two takes the next step of a chain, or the last part of a chord."""
    with UpgradeHarness(tmp_path / "harness", sqlite_url) as harness:
        for software, name in ((TODAY, "here"), (other, "there")):
            harness.worker(software, name=name)
        harness.send_all(other)
        harness.wait(ENDS)
        harness.send_all(TODAY)  # the same ids, again
        harness.have_run(2)
        harness.wait(ENDS)
        assert differences(harness.notes(), typed, sendings=2) == []
