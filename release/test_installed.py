"""The wheel in an environment of its own: the demo runs, and the SBOM lists what is there."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from building import DIST, ROOT, Built, run, tool
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

VENDORED = "mirepoix/dashboard/static/vendor/vendored.cdx.json"
LISTING = """
import json
from importlib.metadata import distributions
print(json.dumps({d.name.lower().replace("_", "-"): d.version for d in distributions()}))
"""


@pytest.fixture(scope="module")
def versions(installed: Path) -> dict[str, str]:
    """The version of each distribution in the environment."""
    return json.loads(run(installed / "python", "-I", "-c", LISTING))


@pytest.fixture(scope="module")
def sbom(installed: Path, built: Built, epoch: str, versions: dict[str, str]) -> dict[str, Any]:
    """The SBOM of the wheel, which is also written beside it: what it requires, and its copies of other libraries."""
    command = [tool("cyclonedx-py"), "environment", "--output-reproducible", "--mc-type", "library"]
    made = run(*command, "--pyproject", ROOT / "pyproject.toml", installed / "python", SOURCE_DATE_EPOCH=epoch)
    sbom = json.loads(made)
    vendored = json.loads((ROOT / "src" / VENDORED).read_text())
    root, root_ref = sbom["metadata"]["component"], sbom["metadata"]["component"]["bom-ref"]
    root["version"] = versions["mirepoix"]  # pyproject.toml does not say it
    root["purl"] = f"pkg:pypi/mirepoix@{root['version']}"
    root["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(built.wheel.read_bytes()).hexdigest()}]
    sbom["components"] += vendored["components"]
    for node in sbom["dependencies"]:
        if node["ref"] == root_ref:
            node["dependsOn"] += vendored["dependencies"][0]["dependsOn"]
    sbom["dependencies"] += vendored["dependencies"][1:]
    (DIST / f"{built.wheel.stem}.cdx.json").write_text(json.dumps(sbom, indent=2))
    return sbom


def test_the_demo_runs_without_anything_else(installed: Path, tmp_path: Path):
    small = ("--orders", "40", "--kills", "2", "--worker-kills", "1")
    said = run(installed / "mirepoix", "demo", *small, cwd=tmp_path, PYTHONPATH="", VIRTUAL_ENV="")
    assert "checks hold" in said


def test_the_installed_package_is_the_wheel(installed: Path, built: Built, versions: dict[str, str]):
    assert versions["mirepoix"] == built.wheel.name.split("-")[1]
    where = run(installed / "python", "-I", "-c", "import mirepoix; print(mirepoix.__file__)", cwd=built.wheel.parent)
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert run(sys.executable, "-m", "pip", "--python", installed / "python", "check").startswith("No broken")


def test_the_sbom_is_valid(sbom: dict[str, Any]):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom)) is None


def test_the_sbom_lists_what_is_installed_and_what_is_copied(sbom: dict[str, Any], versions: dict[str, str]):
    of_python = {
        one["name"].lower().replace("_", "-"): one["version"]
        for one in sbom["components"]
        if one["purl"].startswith("pkg:pypi/")
    }
    root = sbom["metadata"]["component"]
    assert of_python | {root["name"]: root["version"]} == versions
    copied = {one["purl"] for one in sbom["components"] if one["purl"].startswith("pkg:npm/")}
    assert copied == {"pkg:npm/htmx.org@2.0.11", "pkg:npm/uplot@1.6.32"}
    (depends,) = (node["dependsOn"] for node in sbom["dependencies"] if node["ref"] == root["bom-ref"])
    assert {one.partition("==")[0] for one in depends if "==" in one} == {"celery", "rich"}
    assert copied <= set(depends)
