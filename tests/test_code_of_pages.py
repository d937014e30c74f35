"""The Python on the pages parses, and the names of ours that it uses exist: modules, functions, settings."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import mirepoix
from mirepoix.config import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SETTINGS = {field.name for field in fields(Settings)}
INSTALL = SETTINGS | set(inspect.signature(mirepoix.install).parameters)


def blocks(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    return [
        textwrap.dedent(found) for found in re.findall(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    ]


WITH_CODE = [str(page.relative_to(ROOT)) for page in PAGES if blocks(page)]


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_names_in_the_code_of_a_page_exist(page: str):
    assert [wrong for code in blocks(ROOT / page) for wrong in wrong_names(code)] == []


def wrong_names(code: str) -> Iterator[str]:
    """What the code names that is not there."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=imported):
                yield from (wrong for name in imported if is_ours(name.name) for wrong in missing(name.name, []))
            case ast.ImportFrom(module=str(module), names=imported) if is_ours(module):
                yield from missing(module, [name.name for name in imported])
            case ast.Attribute(value=ast.Name(id="mirepoix"), attr=name) if not hasattr(mirepoix, name):
                yield from missing(f"mirepoix.{name}", [])
            case ast.Call(func=ast.Attribute(value=ast.Name(id="mirepoix"), attr="install"), keywords=keywords):
                yield from (f"install({key.arg}=)" for key in keywords if key.arg and key.arg not in INSTALL)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                setting = re.fullmatch(r"(?:CELERY_MIREPOIX_|mirepoix_)(\w+)", name)
                if setting and setting[1].lower() not in SETTINGS:
                    yield name


def is_ours(module: str) -> bool:
    return module.partition(".")[0] == "mirepoix"


def missing(module: str, names: list[str]) -> Iterator[str]:
    """What of *names* is not in *module*. It is read and not imported: some need Django's settings, or Airflow."""
    if module == "mirepoix":
        yield from (f"mirepoix.{name}" for name in names if not hasattr(mirepoix, name))
        return
    path = ROOT / "src" / Path(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    if not source.exists():
        yield module
        return
    yield from (f"{module}.{name}" for name in names if name not in names_of(ast.parse(source.read_text("utf-8"))))


def names_of(tree: ast.Module) -> set[str]:
    """What a module defines or imports at its top, or says in ``__all__``."""
    found: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.ImportFrom(names=imported) | ast.Import(names=imported):
                found |= {name.asname or name.name for name in imported}
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.add(name)
                if name == "__all__":
                    found |= set(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("import mirepoix\nmirepoix.unknown()", ["mirepoix.unknown"]),
        ("from mirepoix.django.test import run_all", ["mirepoix.django.test.run_all"]),
        ("mirepoix.install(app, lease_s=3)", ["install(lease_s=)"]),
        ("CELERY_MIREPOIX_LEASE = 3", ["CELERY_MIREPOIX_LEASE"]),
        ("app.conf.mirepoix_lease = 3", ["mirepoix_lease"]),
    ],
)
def test_a_wrong_name_is_found(code: str, wrong: list[str]):
    assert list(wrong_names(code)) == wrong
