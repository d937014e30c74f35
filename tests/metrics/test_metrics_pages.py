"""The pages about metrics: their code runs, and the reference names exactly what is exported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import mirepoix.metrics
from mirepoix.cli.main import mirepoix as cli

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "how-to" / "metrics.md").read_text("utf-8")
REFERENCE = (DOCS / "reference" / "metrics.md").read_text("utf-8")
SOURCES = Path(mirepoix.metrics.__file__).parent


def test_the_reference_names_exactly_what_is_exported():
    text = "".join((SOURCES / name).read_text("utf-8") for name in ("families.py", "celery_exporter.py"))
    exported = set(re.findall(r'"(mirepoix_\w+|celery_(?!task_)\w+)"', text))
    tables = "\n".join(line for line in REFERENCE.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`(mirepoix_\w+|celery_(?!task_)\w+)`", tables))
    assert named == exported


def test_the_code_of_the_guide_runs(sqlite_url: str):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert "sqlite:////tmp/shop.db" in code
    run = subprocess.run(
        [sys.executable, "-c", code.replace("sqlite:////tmp/shop.db", sqlite_url)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mirepoix_workers" in run.stdout


@pytest.mark.parametrize("words", re.findall(r"^mirepoix (metrics --print \w+)", GUIDE, re.MULTILINE))
def test_the_guide_prints_what_is_shipped(words: str):
    ran = CliRunner().invoke(cli, words.split())
    assert ran.exit_code == 0
    assert ran.output


def test_the_guide_is_short():
    assert len(GUIDE.split()) < 1_200
