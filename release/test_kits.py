"""The deployment kits, checked by the tools of their formats. No Docker engine and no cluster has run them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compose_spec
import kubernetes_validate
import pytest
import yaml
from building import ROOT, run, tool
from helm_python import Chart
from helm_python.chart import lint
from helm_python.errors import HelmError
from render import CHART, HEAD, RENDERED, rendered

DOCKER = ROOT / "deploy/docker"
VERSIONS = ("1.30", "1.33", kubernetes_validate.latest_version())
"""The oldest Kubernetes that the chart allows, and newer ones."""
OF_KEDA = ("ScaledObject", "TriggerAuthentication")
WORKER = {"queues": ["celery"], "concurrency": 2, "replicas": 1, "longestTaskSeconds": 300}
SCALED = WORKER | {"queues": ["a", "b"], "scale": {"enabled": True, "min": 1, "max": 5, "target": 9}}
VALUES = {
    "default": None,
    "everything": {
        "env": {"REGION": "eu: 1"},
        "migrate": {"secret": "owner"},
        "workers": [WORKER | {"name": "one", "args": ["--pool", "mirepoix"]}, SCALED | {"name": "two"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
    },
    "least": {"migrate": {"enabled": False}, "metrics": {"enabled": False}, "workers": [WORKER | {"name": "one"}]},
}
WRONG = {
    "a number of workers that lets nobody notice due tasks": {
        "workers": [SCALED | {"name": "x", "scale": {"enabled": True, "min": 0}}]
    },
    "a worker without its longest task": {"workers": [{"name": "x", "queues": ["a"], "concurrency": 1, "replicas": 1}]},
    "a misspelt value": {"worker": []},
    "two queues in one name": {"workers": [WORKER | {"name": "x", "queues": ["a,b"]}]},
}


def documents(values: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(rendered(values))


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_lints_the_chart(values: dict[str, Any] | None) -> None:
    report = lint(str(CHART), values, strict=True)
    assert report["errors"] == []
    assert {one["error"] for one in report["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("values", WRONG.values(), ids=WRONG)
def test_the_chart_refuses_wrong_values(values: dict[str, Any]) -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmError):
        chart.validate_schema(values)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_accepts_what_the_chart_renders(values: dict[str, Any] | None, version: str) -> None:
    for document in documents(values):
        if document["kind"] not in OF_KEDA:
            kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_field_is_not_accepted() -> None:
    text = rendered().replace("terminationGracePeriodSeconds", "terminationGraceSeconds")
    wrong = [one for one in yaml.safe_load_all(text) if "terminationGraceSeconds" in str(one)]
    assert wrong
    for document in wrong:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_the_rendered_manifests_are_those_of_the_chart() -> None:
    assert RENDERED.read_text() == HEAD + rendered(), "run: build/release/venv/bin/python release/render.py"


def test_a_scaled_worker_follows_the_metrics_of_each_of_its_queues() -> None:
    found = {f"{one['kind']}/{one['metadata']['name']}": one for one in documents(VALUES["everything"])}
    scaled = found["ScaledObject/shop-worker-two"]["spec"]
    target = found[f"Deployment/{scaled['scaleTargetRef']['name']}"]["spec"]
    assert "replicas" not in target  # an upgrade would undo the scaling
    assert "replicas" in found["Deployment/shop-worker-one"]["spec"]
    assert [one["metadata"]["valueLocation"] for one in scaled["triggers"]] == [
        f'mirepoix_queue_tasks{{queue="{queue}",state="waiting"}}' for queue in ("a", "b")
    ]
    (port,) = found["Service/shop-metrics"]["spec"]["ports"]
    assert {one["metadata"]["url"] for one in scaled["triggers"]} == {
        f"http://shop-metrics.default.svc:{port['port']}/metrics"
    }
    assert {one["authenticationRef"]["name"] for one in scaled["triggers"]} == {"shop-metrics"}
    assert "TriggerAuthentication/shop-metrics" in found
    assert target["template"]["spec"]["terminationGracePeriodSeconds"] == 330
    assert found["Job/shop-migrate"]["spec"]["template"]["spec"]["containers"][0]["envFrom"][-1] == {
        "secretRef": {"name": "owner"}
    }


def test_the_doctor_finds_nothing_in_what_the_chart_renders(installed: Path, tmp_path: Path) -> None:
    for name, values in VALUES.items():
        (tmp_path / f"{name}.yaml").write_text(rendered(values))
    (tmp_path / "shop.py").write_text(
        "from celery import Celery\nimport mirepoix\n"
        "app = Celery('shop')\nmirepoix.install(app, 'sqlite:///shop.db')\n"
        "@app.task(time_limit=300)\ndef export(): ...\n"
    )
    run(tool("uv"), "pip", "install", "--quiet", "--target", tmp_path / "yaml", "pyyaml")
    doctor = (installed / "celery", "-A", "shop", "mirepoix", "doctor", "--offline", "--json", ".")
    answer = json.loads(run(*doctor, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{tmp_path / 'yaml'}"))
    assert [one for one in answer["findings"] if one["code"].startswith("MD4")] == []


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    run(tool("hadolint"), "--strict-labels", DOCKER / "Dockerfile")


def test_the_compose_file_is_valid_and_lets_tasks_end() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    compose_spec.PyCompose.from_json(json.dumps(yaml.safe_load(text))).validate()
    misspelt = yaml.safe_load(text.replace("stop_grace_period", "stop_grace"))
    with pytest.raises(Exception, match="stop_grace"):
        compose_spec.PyCompose.from_json(json.dumps(misspelt)).validate()
    services = yaml.safe_load(text)["services"]
    assert services["worker"]["stop_grace_period"] == "330s"
    ours = [one for one in services.values() if "build" in one]
    assert len(ours) == 3
    assert all((ROOT / "deploy/docker" / one["build"]["context"]).resolve() == ROOT for one in ours)
    assert all((ROOT / one["build"]["dockerfile"]).is_file() for one in ours)
