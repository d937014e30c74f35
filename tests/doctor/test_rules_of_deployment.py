"""The rules about how workers are started and stopped: each file as people have it, with one mistake."""

from __future__ import annotations

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
    (unit,) = units.found_in([written(tmp_path, {"Dockerfile": f"CMD {command}\n"})])
    assert not unit.is_in_shell


def test_what_cannot_be_read_is_left_out(tmp_path: Path):
    files = {
        "a.service": "[Service",
        "b.service": "[Unit]\n",
        "c.yaml": "kind: Deployment\nspec: 1\n",
        "Dockerfile": "CMD [\n",
    }
    assert units.found_in([written(tmp_path, files)]) == []


def test_a_duration_of_systemd_is_read(tmp_path: Path):
    for text, seconds in (("1h 30min", 5400.0), ("90", 90.0), ("500ms", 0.5), ("infinity", None)):
        text_of_unit = SYSTEMD.replace("5min", text)
        (unit,) = units.found_in([written(tmp_path, {"shop.service": text_of_unit})])
        assert unit == Unit(**{**{name: getattr(unit, name) for name in Unit.__dataclass_fields__}, "stop_s": seconds})


def test_every_rule_about_deployments_has_its_mistake_here():
    planted = {code for code, *_ in MISTAKES}
    assert planted == {code for code, rule in RULES.items() if rule.look.__module__.endswith("deployment")}
