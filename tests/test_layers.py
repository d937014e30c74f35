"""Imports run downwards, and a third-party library is imported only under the name it bears."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mirepoix.sql

ROOT = Path(mirepoix.sql.__file__).parent.parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)

LEAF = (
    *("errors", "states", "records", "config", "addresses", "crashpoints"),
    *("signatures", "fingerprint", "lint", "retries"),
)
LAYERS = {
    **dict.fromkeys(LEAF, 0),
    "sql": 1,
    "ledger": 2,
    "connect": 3,
    "daemons": 4,
    "schedules": 4,
    "protocol": 4,
    **dict.fromkeys(("delivery", "operations"), 5),
    **dict.fromkeys(("alerts", "kombu", "broker", "metrics", "tuning"), 6),
    "celery": 7,
    **dict.fromkeys(
        ("schedulers", "control", "airflow", "crashtest", "dashboard", "doctor", "otel", "prefect", "temporal"), 8
    ),
    **dict.fromkeys(("cli", "django"), 9),
    "pytest": 10,
    "": 11,  # the package itself: what users import
    "demo": 12,  # nothing imports it: the command line finds it by its name
}
"""What is below may be imported, what is beside or above may not, wherever the import stands."""

EXCEPTIONS = {("django/management/commands/mirepoix.py", "mirepoix.cli.main")}
"""``manage.py mirepoix`` runs the command line. No other module of Django's app may import it."""

HOMES = {
    "psycopg": ("connect/psycopg.py", "crashtest/hooks/psycopg.py", "crashtest/databases/psycopg.py"),
    "pymysql": ("connect/pymysql.py",),
    "sqlalchemy": ("connect/sqlalchemy.py", "crashtest/hooks/sqlalchemy.py", "crashtest/databases/sqlalchemy.py"),
    "django": (
        "alerts/django.py",
        "connect/django.py",
        "crashtest/hooks/django.py",
        "crashtest/databases/django.py",
        "django/",
    ),
    "django_tasks": ("django/backend.py",),
    "asgiref": ("connect/django.py", "django/"),  # comes with Django
    "celery": (
        "celery/",
        "protocol/",
        "broker/versions.py",
        "cli/",
        "crashtest/hooks/celery.py",
        "crashtest/deliver.py",
        "demo/",
        "django/",
        "pytest/",
        "schedulers.py",
        "prefect/job.py",
        "temporal/send.py",
        "otel/",
    ),
    "billiard": ("celery/",),
    "kombu": (
        "kombu/",
        "protocol/",
        "delivery/",
        "celery/",
        "broker/",
        "crashtest/deliver.py",
        "prefect/key.py",
        "airflow/key.py",
    ),
    "rich": ("cli/", "demo/"),
    "click": ("cli/", "demo/"),
    "gevent": ("celery/",),
    "greenlet": ("celery/pool/greenlet.py",),
    "uvloop": ("celery/pool/uvloop.py",),
    "eventlet": ("celery/",),
    "sentry_sdk": ("alerts/sentry.py",),
    "requests": ("crashtest/hooks/requests.py",),
    "httpx": ("crashtest/hooks/httpx.py",),
    "aiohttp": ("crashtest/hooks/aiohttp.py",),
    "multidict": ("crashtest/hooks/aiohttp.py",),  # comes with aiohttp
    "yarl": ("crashtest/hooks/aiohttp.py",),  # comes with aiohttp
    "botocore": ("crashtest/hooks/botocore.py",),
    "s3transfer": ("crashtest/hooks/s3transfer.py",),  # comes with boto3
    "redis": ("crashtest/hooks/redis.py", "crashtest/databases/redis.py"),
    "urllib3": ("crashtest/hooks/urllib3.py",),
    "opentelemetry": ("otel/",),
    "temporalio": ("temporal/",),
    "airflow": ("airflow/",),
    "prefect": ("prefect/",),
    "pydantic": ("prefect/",),  # comes with Prefect
    "starlette": ("dashboard/",),
    "jinja2": ("dashboard/",),
    "markupsafe": ("dashboard/",),  # comes with Jinja2
    "uvicorn": ("dashboard/",),
    "cronsim": ("schedules/cron.py",),
    "django_celery_beat": ("celery/beat_entries.py",),
    "redbeat": ("celery/beat_entries.py",),
    "ephem": ("schedules/solar.py",),
    "yaml": ("doctor/units.py",),
    "pytest": ("pytest/",),
    "hypothesis": ("pytest/hypothesis.py",),
}
"""Where a third-party library may be imported. What is not named here may not be imported at all."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downwards_and_libraries_stay_at_home(path: Path):
    where = str(path.relative_to(ROOT))
    own = _part(path.relative_to(ROOT).with_suffix("").parts)
    assert own in LAYERS, f"{where}: give {own!r} a layer"
    for module, line in _imports(path):
        top, _, rest = module.partition(".")
        if top == "mirepoix":
            part = rest.partition(".")[0]
            part = part if part in LAYERS else ""
            assert _may_import(own, part) or (where, module) in EXCEPTIONS, (
                f"{where}:{line} imports {module}, which is above or beside it"
            )
        elif top not in sys.stdlib_module_names:
            homes = HOMES.get(top, ())
            assert any(where == home or (home.endswith("/") and where.startswith(home)) for home in homes), (
                f"{where}:{line} imports {module}; that library lives in {', '.join(homes) or 'no file of ours'}"
            )


def test_leaf_modules_are_few_and_small():
    assert [name for name in LEAF if not ((ROOT / f"{name}.py").is_file() or (ROOT / name).is_dir())] == []


def test_no_guard_is_stale():
    imported = {str(path.relative_to(ROOT)): {module for module, _ in _imports(path)} for path in FILES}
    unused = [
        (library, home)
        for library, homes in HOMES.items()
        for home in homes
        if not any(
            module.partition(".")[0] == library
            for where, modules in imported.items()
            if where == home or (home.endswith("/") and where.startswith(home))
            for module in modules
        )
    ]
    assert unused == []
    assert {part for part in LAYERS if part} - {_part(Path(where).with_suffix("").parts) for where in imported} == set()
    assert [exception for exception in EXCEPTIONS if exception[1] not in imported[exception[0]]] == []


def test_the_demo_is_named_once_outside_its_folder():
    named = {
        str(path.relative_to(ROOT)): path.read_text("utf-8").count("mirepoix.demo")
        for path in FILES
        if path.relative_to(ROOT).parts[0] != "demo"
    }
    assert {where: times for where, times in named.items() if times} == {"cli/main.py": 1}


def _may_import(own: str, other: str) -> bool:
    if own == other:
        return True
    if own in LEAF:
        return other in LEAF
    return LAYERS[other] < LAYERS[own]


def _part(parts: tuple[str, ...]) -> str:
    return "" if parts in (("__init__",), ("__main__",)) else parts[0]


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import from the top"
            if node.module == "mirepoix":
                for alias in node.names:
                    yield f"mirepoix.{alias.name}", node.lineno
            else:
                yield node.module or "", node.lineno
