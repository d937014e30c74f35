"""The rules about how workers are started and stopped: each file as people have it, with one mistake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from mirepoix.doctor import examine, units
from mirepoix.doctor.facts import Unit
from mirepoix.doctor.rules import RULES

SYSTEMD = """[Unit]
Description=Workers
[Service]
Type=exec
EnvironmentFile=/etc/shop.env
ExecStart=/srv/shop/.venv/bin/celery -A shop worker \\
    --concurrency 4
KillMode=mixed
TimeoutStopSec=5min
Restart=always
[Install]
WantedBy=multi-user.target
"""
SUPERVISOR = """[program:worker]
command=/srv/shop/.venv/bin/celery -A shop worker
stopwaitsecs=300
killasgroup=true
autorestart=true

[program:beat]
command=/srv/shop/.venv/bin/celery -A shop beat
"""
KUBERNETES = """apiVersion: apps/v1
kind: Deployment
metadata: {name: workers}
spec:
  replicas: 4
  template:
    spec:
      terminationGracePeriodSeconds: 300
      containers:
        - name: worker
          image: shop
          command: [celery, -A, shop, worker]
          livenessProbe: {exec: {command: [mirepoix, health, --worker, celery@x]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: beat}
spec:
  replicas: 1
  template:
    spec:
      containers: [{name: beat, image: shop, command: [celery, -A, shop, beat]}]
"""
DOCKERFILE = 'FROM python:3.12\nCMD ["celery", "-A", "shop", "worker"]\n'
PROCFILE = "web: gunicorn shop.wsgi\nworker: celery -A shop worker\nbeat: celery -A shop beat\n"
GOOD = {
    "shop.service": SYSTEMD,
    "supervisord.conf": SUPERVISOR,
    "k8s/workers.yaml": KUBERNETES,
    "Dockerfile": DOCKERFILE,
    "k8s/chart.yaml": "kind: Deployment\nname: {{ .Values.name }}\n",
    "other.conf": "[server]\nport = 1\n",
}


@pytest.fixture
def app() -> Any:
    app = Celery("shop", set_as_current=False, broker="redis://127.0.0.1:1/0")

    @app.task(name="shop.export", time_limit=120, shared=False)
    def export() -> None: ...

    return app


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def found(app: Any, folder: Path) -> dict[str, str]:
    facts = examine.facts_of(app, [folder], asks_servers=False)
    return {finding.code: finding.evidence for finding in examine.findings(facts) if finding.code.startswith("MD4")}


MISTAKES = [
    ("MD401", "shop.service", "TimeoutStopSec=5min", "TimeoutStopSec=90"),
    ("MD401", "shop.service", "TimeoutStopSec=5min\n", ""),
    ("MD401", "supervisord.conf", "stopwaitsecs=300\n", ""),
    ("MD401", "k8s/workers.yaml", "terminationGracePeriodSeconds: 300", "terminationGracePeriodSeconds: 30"),
    ("MD402", "shop.service", "KillMode=mixed\n", ""),
    ("MD402", "supervisord.conf", "stopwaitsecs=300", "stopwaitsecs=300\nstopasgroup=true"),
    ("MD403", "shop.service", "Restart=always\n", ""),
    ("MD403", "supervisord.conf", "autorestart=true", "autorestart=false"),
    ("MD404", "Dockerfile", '["celery", "-A", "shop", "worker"]', "celery -A shop worker"),
    ("MD404", "k8s/workers.yaml", "[celery, -A, shop, worker]", '[sh, -c, "migrate && celery -A shop worker"]'),
    ("MD405", "k8s/workers.yaml", "replicas: 1", "replicas: 2"),
    ("MD405", "k8s/workers.yaml", "[celery, -A, shop, worker]", "[celery, -A, shop, worker, -B]"),
    ("MD406", "supervisord.conf", "killasgroup=true\n", ""),
    ("MD407", "k8s/workers.yaml", "livenessProbe", "readinessProbe"),
    ("MD408", "shop.service", "--concurrency 4", "--max-memory-per-child=200"),
    ("MD409", "k8s/workers.yaml", "replicas: 4", "replicas: 40"),
    ("MD410", "k8s/workers.yaml", "replicas: 4", "replicas: .inf"),
]


@pytest.mark.parametrize(
    ("code", "file", "good", "bad"), MISTAKES, ids=lambda text: text[:5] if text[:2] == "MD" else ""
)
def test_a_mistake_in_a_good_deployment_is_all_that_is_found(
    app: Any, tmp_path: Path, code: str, file: str, good: str, bad: str
):
    assert good in GOOD[file]
    result = found(app, written(tmp_path, GOOD | {file: GOOD[file].replace(good, bad)}))
    assert set(result) == {code}
    assert file in result[code]


def test_nothing_is_found_in_a_good_deployment(app: Any, tmp_path: Path):
    assert found(app, written(tmp_path, GOOD)) == {}


def test_a_dyno_of_heroku_ends_after_half_a_minute(app: Any, tmp_path: Path):
    assert "30 s" in found(app, written(tmp_path, {"Procfile": PROCFILE}))["MD401"]


def test_a_shell_that_is_replaced_passes_signals_on(tmp_path: Path):
    command = '["sh", "-c", "migrate && exec celery -A shop worker"]'
    (unit,) = units.found_in([written(tmp_path, {"Dockerfile": f"CMD {command}\n"})]).units
    assert not unit.is_in_shell


def test_what_cannot_be_read_is_named(tmp_path: Path):
    files = {
        "a.service": "[Service",
        "b.service": "[Unit]\n",
        "c.yaml": "kind: Deployment\nspec: 1\n",
        "d.yaml": "kind: Deployment\nspec: [\n",
        "Dockerfile": "CMD [\n",
        "Dockerfile.deep": f"CMD {'[' * 100_000}\n",
        "large.yaml": f"kind: Deployment\n#{'x' * units.MOST_BYTES}\n",
    }
    reading = units.found_in([written(tmp_path, files)])
    assert reading.units == []
    assert len(reading.unread) == len(files)
    assert all(any(f"/{name}" in text for text in reading.unread) for name in files)


def test_only_files_with_a_fitting_name_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(units, "MOST_FILES", 2)
    written(tmp_path, {f"{number}.py": "" for number in range(9)} | {"a/Procfile": PROCFILE, "Dockerfile": DOCKERFILE})
    reading = units.found_in([tmp_path])
    assert {unit.kind for unit in reading.units} == {"procfile", "dockerfile"}
    assert reading.unread == []
    written(tmp_path, {"b/Procfile": PROCFILE})
    assert "the limit is 2 files" in units.found_in([tmp_path]).unread[0]
    monkeypatch.setattr(units, "MOST_ENTRIES", 5)
    assert "the limit is 5 names" in units.found_in([tmp_path]).unread[0]
    assert "knows no file" in units.found_in([tmp_path / "1.py"]).unread[0]


def test_a_folder_that_may_not_be_read_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path, {"closed/Procfile": PROCFILE, "open/Dockerfile": DOCKERFILE})
    scandir = os.scandir

    def refusing(path: Path) -> Any:  # root may read every folder
        if path.name == "closed":
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(units.os, "scandir", refusing)
    reading = units.found_in([tmp_path])
    assert [unit.kind for unit in reading.units] == ["dockerfile"]
    assert reading.unread == [f"{tmp_path / 'closed'} cannot be read: PermissionError"]


def test_a_broken_document_does_not_hide_the_others(app: Any, tmp_path: Path):
    text = f"kind: Deployment\nspec: [\n---\nkind: Deployment\nspec: 1\n---\n{KUBERNETES}"
    reading = units.found_in([written(tmp_path, {"all.yaml": text})])
    assert [unit.name for unit in reading.units] == ["workers/worker", "beat/beat"]
    assert [text.partition(", ")[2][:10] for text in reading.unread] == ["document 1", "document 2"]


def test_a_list_of_kubernetes_is_read(tmp_path: Path):
    items = "".join("- " + part.strip().replace("\n", "\n  ") + "\n" for part in KUBERNETES.split("---\n"))
    reading = units.found_in([written(tmp_path, {"all.yml": f"kind: List\nitems:\n{items}"})])
    assert [unit.name for unit in reading.units] == ["workers/worker", "beat/beat"]
    assert reading.unread == []


def test_aliases_do_not_multiply(tmp_path: Path):
    """Each line doubles the one before it."""
    laughs = "".join(f"  - &a{number} [*a{number - 1}, *a{number - 1}]\n" for number in range(1, 60))
    text = f"x:\n  - &a0 [x, x]\n{laughs}" + KUBERNETES.replace("[celery, -A, shop, worker]", "[celery, worker, *a59]")
    nested = "".join(f"- &l{n} {{kind: List, items: [*l{n - 1}, *l{n - 1}]}}\n" for n in range(1, 60))
    lists = f"kind: List\nitems:\n- &l0 {{kind: List, items: []}}\n{nested}"
    reading = units.found_in([written(tmp_path, {"a.yaml": text, "b.yaml": lists})])
    assert [unit.command for unit in reading.units] == ["celery worker", "celery -A shop beat"]


def test_a_number_of_processes_from_the_environment_is_at_least_one(tmp_path: Path):
    text = SUPERVISOR.replace("stopwaitsecs=300", "numprocs=%(ENV_N)s\nstopwaitsecs=300")
    worker, _ = units.found_in([written(tmp_path, {"supervisord.conf": text})]).units
    assert (worker.name, worker.replicas) == ("worker", 1)


def test_a_duration_of_systemd_is_read(tmp_path: Path):
    for text, seconds in (("1h 30min", 5400.0), ("90", 90.0), ("500ms", 0.5), ("infinity", None)):
        text_of_unit = SYSTEMD.replace("5min", text)
        (unit,) = units.found_in([written(tmp_path, {"shop.service": text_of_unit})]).units
        assert unit == Unit(**{**{name: getattr(unit, name) for name in Unit.__dataclass_fields__}, "stop_s": seconds})


def test_every_rule_about_deployments_has_its_mistake_here():
    planted = {code for code, *_ in MISTAKES}
    assert planted == {code for code, rule in RULES.items() if rule.look.__module__.endswith("deployment")}
