"""The deployment kits as files: the doctor and systemd find nothing in them, and each planted fault."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kits
import pytest
from celery import Celery

from mirepoix.doctor import examine, units
from missing import missing

DEPLOY = kits.KITS
LONGEST_S = 300
DYNO_S = 25

FAULTS = [
    ("MD401", "systemd/shop-worker@.service", "TimeoutStopSec=330\n", ""),
    ("MD402", "systemd/shop-worker@.service", "KillMode=mixed\n", ""),
    ("MD403", "systemd/shop-worker@.service", "Restart=always\n", ""),
    ("MD401", "kubernetes/shop.yaml", "terminationGracePeriodSeconds: 330", "terminationGracePeriodSeconds: 30"),
    (
        "MD407",
        "kubernetes/shop.yaml",
        "livenessProbe:\n            # It asks",
        "x-livenessProbe:\n            # It asks",
    ),
    (
        "MD404",
        "docker/Dockerfile",
        'CMD ["celery", "-A", "shop", "worker", "--loglevel", "INFO"]',
        "CMD celery -A shop worker",
    ),
]


def found(folder: Path, limit_s: int) -> list[str]:
    """What the doctor finds in the files of *folder* for an app with a task of that limit."""
    app = Celery("shop", set_as_current=False, broker="redis://127.0.0.1:1/0")

    @app.task(name="shop.export", time_limit=limit_s, shared=False)
    def export() -> None: ...

    facts = examine.facts_of(app, [folder], asks_servers=False)
    return [f"{one.code} {one.evidence}" for one in examine.findings(facts) if one.code.startswith("MD4")]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The kits without Heroku's, where no task may take longer than a dyno has to end."""
    return Path(shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("heroku")))


def test_the_doctor_finds_nothing_in_the_kits(copied: Path):
    assert found(copied, LONGEST_S) == []
    assert found(DEPLOY, DYNO_S) == []


def test_the_doctor_reads_the_kits():
    read = units.found_in([DEPLOY])
    workers = {unit.kind: unit.stop_s for unit in read.units if unit.is_worker}
    assert workers == {"systemd": 330, "kubernetes": 330, "dockerfile": None, "procfile": 30}
    assert read.unread == []


@pytest.mark.parametrize(("code", "file", "right", "wrong"), FAULTS)
def test_the_doctor_finds_a_planted_fault_and_nothing_else(copied: Path, code: str, file: str, right: str, wrong: str):
    text = (copied / file).read_text()
    assert right in text
    (copied / file).write_text(text.replace(right, wrong))
    (finding,) = found(copied, LONGEST_S)
    assert finding.startswith(f"{code} ")
    assert file in finding


def test_a_dyno_is_too_short_for_a_longer_task():
    (finding,) = found(DEPLOY / "heroku", LONGEST_S)
    assert finding.startswith("MD401 ")


@pytest.fixture
def verify(tmp_path: Path) -> Any:
    """What ``systemd-analyze verify`` says of the units, after a change of their text."""
    program = shutil.which("systemd-analyze") or missing("systemd-analyze is not installed: apt-get install systemd")

    def verify(right: str = "", wrong: str = "") -> str:
        for path in (kits.WORKER, kits.METRICS):
            # It looks whether the programs exist.
            text = path.read_text().replace("/srv/shop/.venv", sys.prefix).replace("/srv/shop", str(tmp_path))
            (tmp_path / path.name).write_text(text.replace(right, wrong) if right else text)
        command = [program, "verify", "--man=no", tmp_path / kits.WORKER.name, tmp_path / kits.METRICS.name]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        return ended.stdout + ended.stderr

    return verify


def test_systemd_accepts_the_units(verify: Any):
    assert verify() == ""


@pytest.mark.parametrize(
    ("right", "wrong"), [("KillMode=mixed", "KillMode=mild"), ("=330", "=long"), ("OOMPolicy=", "OomPolicy=")]
)
def test_systemd_finds_a_planted_fault(verify: Any, right: str, wrong: str):
    assert wrong.strip("=").rpartition("=")[2] in verify(right, wrong)


def test_the_kits_name_the_variable_of_the_probes_folder_and_a_metric_that_exist():
    from mirepoix.daemons import probe
    from mirepoix.metrics import families

    assert f"Environment={probe.FOLDER}=/run/shop/%i" in kits.WORKER.read_text()
    assert f"{probe.FOLDER}=/tmp/mirepoix" in (kits.DOCKER / "Dockerfile").read_text()
    chart = (DEPLOY / "helm/mirepoix/templates/workers.yaml").read_text()
    assert "valueLocation: mirepoix_queue_tasks{queue=" in chart
    assert 'state="waiting"' in chart
    assert '"mirepoix_queue_tasks"' in Path(families.__file__).read_text()
