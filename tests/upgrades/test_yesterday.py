"""The release before this one works on today's schema, beside today's code; today's code refuses yesterday's schema."""

from __future__ import annotations

import compileall
from pathlib import Path

import pytest
from older import YESTERDAY, source_of
from upgrade_harness import ENDS, TODAY, Software, UpgradeHarness, differences

from driver import Ledger, migrate_ledger
from mirepoix.connect.url import source_for

KNOWN = ("sqlite", "postgresql")
"""The databases that it knew."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Software:
    """Its code."""
    source = source_of(YESTERDAY, tmp_path_factory.mktemp("yesterday")) / "src"
    compileall.compile_dir(source, quiet=1)
    return Software(source=source)


@pytest.fixture(params=KNOWN)
def url(request: pytest.FixtureRequest) -> str:
    """A ledger with today's schema."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def yesterdays_url(yesterday: Software, empty_url: str, tmp_path: Path) -> str:
    """A ledger with yesterday's schema."""
    with UpgradeHarness(tmp_path / "migrating", empty_url) as harness:
        migrated = harness.run(yesterday, "-m", "mirepoix.cli", "--ledger", empty_url, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    return empty_url


def test_yesterdays_processes_go_on_while_the_schema_is_todays(
    yesterday: Software, url: str, typed: str, tmp_path: Path
):
    with UpgradeHarness(tmp_path / "harness", url) as harness:
        harness.worker(yesterday)
        harness.send_all(yesterday)
        with Ledger(source_for(url)) as ledger:
            assert ledger.row("plain")["written_by"] is None  # it is yesterday's code
        harness.wait(ENDS)
        assert differences(harness.notes(), typed) == []


def test_yesterdays_and_todays_processes_work_off_each_others_tasks(
    yesterday: Software, url: str, typed: str, tmp_path: Path
):
    with UpgradeHarness(tmp_path / "harness", url) as harness:
        for software, name in ((yesterday, "yesterday"), (TODAY, "today")):
            harness.worker(software, name=name)
        harness.send_all(yesterday)
        harness.wait(ENDS)
        harness.send_all(TODAY)  # the same ids, again
        harness.have_run(2)
        harness.wait(ENDS)
        assert differences(harness.notes(), typed, sendings=2) == []


@pytest.mark.parametrize("empty_url", KNOWN, indirect=True)
def test_what_yesterday_left_is_run_after_the_migration(
    yesterday: Software, yesterdays_url: str, typed: str, tmp_path: Path
):
    with UpgradeHarness(tmp_path / "harness", yesterdays_url) as harness:
        harness.send_all(yesterday)
        migrate_ledger(yesterdays_url)
        harness.worker(TODAY)
        harness.wait(ENDS)
        assert differences(harness.notes(), typed) == []


@pytest.mark.parametrize("empty_url", KNOWN, indirect=True)
def test_todays_code_refuses_yesterdays_schema_and_names_the_remedy(yesterdays_url: str, typed: str, tmp_path: Path):
    with UpgradeHarness(tmp_path / "harness", yesterdays_url) as harness:
        if yesterdays_url.startswith("sqlite"):  # which it migrates by itself
            harness.send_all(TODAY)
            return
        worker = harness.worker(TODAY, is_awaited=False).ends()
        assert worker.exit_code != 0
        assert "lacks the migrations 0004_sending, " in worker.said
        assert "Run: mirepoix --app YOUR_APP migrate" in worker.said
        sent = harness.run(TODAY, "upgrade_app.py")
        assert sent.returncode != 0
        assert "run: mirepoix --app YOUR_APP migrate" in sent.stderr.splitlines()[-1]
        with Ledger(source_for(yesterdays_url)) as ledger:
            assert ledger.states() == {}
        migrate_ledger(yesterdays_url)
        harness.send_all(TODAY)
        harness.worker(TODAY, name="again")
        harness.wait(ENDS)
        assert differences(harness.notes(), typed) == []
