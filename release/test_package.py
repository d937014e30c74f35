"""What is built: its version, its contents, and that two builds are the same to the byte."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from building import ROOT, Built, run

PACKAGE = "src/mirepoix/"
VENDOR = ROOT / PACKAGE / "dashboard/static/vendor"
NEVER = re.compile(r"(^|/)(tests?|conftest\.py|__pycache__|\.git.*|build|\.venv)(/|$)")


@pytest.fixture(scope="module")
def names(built: Built) -> set[str]:
    return set(zipfile.ZipFile(built.wheel).namelist())


@pytest.fixture(scope="module")
def metadata(built: Built, names: set[str]) -> Message:
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(zipfile.ZipFile(built.wheel).read(name).decode())


def test_two_builds_are_the_same_to_the_byte(builds: list[Built]):
    first, second = ({path.name: digest(path) for path in (one.wheel, one.archive)} for one in builds)
    assert first == second


def test_the_wheel_has_every_file_of_the_package_and_no_other(names: set[str]):
    tracked = run("git", "ls-files", PACKAGE).split()
    expected = {name.removeprefix("src/") for name in tracked}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert [name for name in names if NEVER.search(name)] == []
    assert "mirepoix/py.typed" in expected
    for kind in ("sql/migrations/postgresql/*.sql", "sql/common/*.sql", "dashboard/templates/*.html", "metrics/*.yml"):
        assert any(Path(name).match(f"mirepoix/{kind}") for name in names), kind


def test_the_wheel_has_the_licences_of_what_it_contains(names: set[str], metadata: Message):
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", *(str(path.relative_to(ROOT)) for path in VENDOR.glob("*.LICENSE"))}
    assert set(metadata.get_all("License-File", [])) == licences
    identifiers = {one["licenses"][0]["license"]["id"] for one in vendored()}
    assert set(metadata["License-Expression"].split(" AND ")) == identifiers | {"MIT"}


def test_the_wheel_lists_the_copies_of_other_libraries_with_their_hashes(names: set[str]):
    assert [name.partition("/sboms/")[2] for name in names if "/sboms/" in name] == ["vendored.cdx.json"]
    listed = {
        file["name"]: file["hashes"][0]["content"] for component in vendored() for file in component["components"]
    }
    assert listed == {path.name: digest(path) for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    versions = {f"`{one['name']}` | {one['version']}" for one in vendored()}
    assert [one for one in versions if one not in (VENDOR / "README.md").read_text()] == []


def test_the_source_archive_has_the_tests_and_nothing_that_is_not_committed(built: Built, clones: list[Path]):
    with tarfile.open(built.archive) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {"PKG-INFO"} <= set(run("git", "ls-files", cwd=clones[0]).split("\n"))
    assert {"tests/conftest.py", "docs/index.md", "LICENSE", "CHANGELOG.md", "SECURITY.md"} <= names


def test_a_package_index_accepts_it(builds: list[Built]):
    run(sys.executable, "-m", "twine", "check", "--strict", builds[0].wheel, builds[0].archive)


def test_the_readme_of_a_package_index_has_no_relative_link(metadata: Message):
    text = str(metadata.get_payload())
    assert "docs/index.md)" in text
    assert re.findall(r"\]\((?!https://|#)[^)]*\)", text) == []


def test_a_tagged_release_names_its_public_repository(metadata: Message):
    shown = [*metadata.get_all("Project-URL", []), str(metadata.get_payload())]
    placeholders = [text for text in shown if "example.com/mirepoix" in text]
    if os.environ.get("GITHUB_REF_TYPE") == "tag":
        assert placeholders == [], "set [project.urls] and the README's links in pyproject.toml"


def test_the_version_is_that_of_the_tag(clones: list[Path], tmp_path: Path):
    tagged = tmp_path / "tagged"
    run("git", "clone", "--quiet", clones[0], tagged)
    run("git", "-c", "user.name=x", "-c", "user.email=x", "tag", "-a", "-m", "x", "v7.8.9", cwd=tagged)
    assert version_in(tagged) == "7.8.9"


def test_a_clone_without_tags_is_a_development_version(clones: list[Path], tmp_path: Path):
    run("git", "clone", "--quiet", "--no-tags", clones[0], tmp_path / "clone")
    commits = run("git", "rev-list", "--count", "HEAD").strip()
    assert version_in(tmp_path / "clone") == f"0.1.0.dev{commits}"


def test_a_shallow_clone_has_a_version(clones: list[Path], tmp_path: Path):
    run("git", "clone", "--quiet", "--depth", "1", f"file://{clones[0]}", tmp_path / "shallow")
    assert version_in(tmp_path / "shallow") == "0.1.0.dev1"


def test_a_source_archive_without_history_has_a_version(clones: list[Path], tmp_path: Path):
    run("git", "archive", "--output", tmp_path / "source.tar", "HEAD", cwd=clones[0])
    with tarfile.open(tmp_path / "source.tar") as archive:
        archive.extractall(tmp_path / "source", filter="data")
    assert version_in(tmp_path / "source") == "0.1.0.dev0"


def version_in(folder: Path) -> str:
    return run(
        sys.executable, "-m", "hatchling", "version", cwd=folder, GIT_CEILING_DIRECTORIES=str(folder.parent)
    ).strip()


def vendored() -> list[dict]:
    return json.loads((VENDOR / "vendored.cdx.json").read_text())["components"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
