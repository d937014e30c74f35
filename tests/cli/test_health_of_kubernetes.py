"""``mirepoix health --live`` and ``--ready``: what Kubernetes asks, and with which exit codes it is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.conftest import Cli
from mirepoix.cli.main import mirepoix
from mirepoix.daemons import probe

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the workers' files."""
    monkeypatch.setenv(probe.FOLDER, str(tmp_path))
    return tmp_path


def live(code: int, url: str = NOWHERE) -> str:
    """The answer to ``--live``; a ledger that is away changes nothing."""
    ran = CliRunner().invoke(mirepoix, ["--ledger", url, "health", "--live"])
    assert ran.exit_code == code, ran.output
    return ran.output


def test_a_host_without_a_worker_is_unknown(folder: Path):
    assert "no worker runs here" in live(3)


def test_every_worker_of_the_host_has_to_live(folder: Path):
    first, second = probe.Probe("celery@pod-1", 1.0), probe.Probe("other/ä@pod-1", 1.0)
    first.beat(0.0, None)
    assert "celery@pod-1" in live(0)
    second.beat(0.0, 12.0)
    assert "other/ä@pod-1" in live(0)
    path = probe.path_of("celery@pod-1")
    path.write_text(path.read_text().replace('"at": ', '"at": -9'))
    assert "FAIL worker" in live(1)
    path.unlink()
    live(0)
    second.remove()
    live(3)


def test_ready_means_that_the_ledger_answers_and_its_tables_are_current(cli: Cli):
    assert [check["name"] for check in cli.json("health", "--ready")["checks"]] == ["ledger", "schema"]


def test_no_worker_is_needed_to_be_ready(cli: Cli):
    cli("health", code=1)
    cli("health", "--ready", code=0)


@pytest.mark.parametrize("url", [NOWHERE, "sqlite:///missing.db"])
def test_a_ledger_that_is_away_or_missing_is_not_ready(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(mirepoix, ["--ledger", url, "health", "--ready"])
    assert ran.exit_code == 3, ran.output


def test_old_tables_are_not_ready(empty_url: str):
    ran = CliRunner().invoke(mirepoix, ["--ledger", empty_url, "health", "--ready"])
    assert ran.exit_code == 3, ran.output


@pytest.mark.parametrize("other", [["--live"], ["--worker", "celery@x"]])
def test_the_two_questions_are_not_mixed(other: list[str]):
    ran = CliRunner().invoke(mirepoix, ["--ledger", NOWHERE, "health", "--ready", *other])
    assert ran.exit_code == 2
    assert "Use one of them" in ran.output
