"""With nothing but the package's requirements the demo runs, and each module is imported that is not for an extra."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable

import pytest

from quickstarts.page import ROOT
from quickstarts.reader import INSTALLING_S, Reader
from test_layers import HOMES

EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
LIBRARIES = {name: name for name in EXTRAS} | {
    "postgres": "psycopg",
    "mysql": "pymysql",
    "sentry": "sentry_sdk",
    "temporal": "temporalio",
    "doctor": "yaml",
    "schedules": "cronsim",
    "dashboard": "starlette",
    "otel": "opentelemetry",
    "asyncio": "greenlet",
}
"""What is imported because of an extra."""

THROUGH = {"greenlet": ("celery/pool/in_loop.py", "celery/pool/loop_child.py")}
"""Modules that import a library through its home. Nothing else imports them without having looked for it."""

pytestmark = pytest.mark.timeout(INSTALLING_S)

SMALL = "--orders 40 --kills 2 --worker-kills 1"

IMPORT_ALL = """
import importlib, json, pathlib, mirepoix
from mirepoix.errors import MissingLibrary
try:
    import django
except ImportError:
    pass
else:
    from django.conf import settings
    names = ("admin", "auth", "contenttypes", "messages", "sessions")
    settings.configure(INSTALLED_APPS=[*("django.contrib." + name for name in names), "mirepoix.django"])
    django.setup()
root = pathlib.Path(mirepoix.__file__).parent
not_imported = {}
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    if "migrations" in name or name.endswith("__main__") or name == "demo.worker":  # these are run
        continue
    try:
        importlib.import_module(("mirepoix." + name).removesuffix(".__init__"))
    except MissingLibrary as error:
        not_imported[name] = [str(error), error.library.partition(".")[0]]
    except ModuleNotFoundError as error:
        not_imported[name] = [str(error), error.name.partition(".")[0]]
    except Exception as error:
        not_imported[name] = [f"{type(error).__name__}: {error}", ""]
print(json.dumps(not_imported))
"""


def test_nothing_needs_a_library_but_that_of_its_extra(reader: Callable[..., Reader]):
    one = reader()
    one.types("python3 -m venv .venv && . .venv/bin/activate")
    one.types("pip install /path/to/mirepoix")
    assert re.search(r"all \d+ checks hold", one.types(f"VENV=$PWD/.venv {ROOT}/scripts/demo {SMALL}"))
    _lack_only_their_libraries(_not_imported(one), set())
    for extra, requirements in EXTRAS.items():
        one.types(f"pip install --no-compile --target with-{extra} {shlex.join(requirements)}")
        one.types(f'export PYTHONPATH="$PWD/with-{extra}"')
        _lack_only_their_libraries(_not_imported(one), {LIBRARIES[extra]})
        one.types("unset PYTHONPATH")


def _not_imported(one: Reader) -> dict[str, list[str]]:
    """The error, and the module that was not found ("" for another error), of each module that cannot be imported."""
    one.write("import_all.py", IMPORT_ALL)
    return json.loads(one.types("python import_all.py").splitlines()[-1])  # Airflow logs before it


def _lack_only_their_libraries(not_imported: dict[str, list[str]], installed: set[str]) -> None:
    wrong = {
        module: error
        for module, (error, lacking) in not_imported.items()
        if lacking in installed
        or not any(
            module.startswith(home.replace("/", ".").removesuffix(".py"))
            for home in HOMES.get(lacking, ()) + THROUGH.get(lacking, ())
        )
    }
    if "django" in installed:  # settings and urls.py name these two, and nothing else imports them
        assert "pip install django-tasks" in wrong.pop("django.backend", "pip install django-tasks")
        assert "pip install 'mirepoix[dashboard]'" in wrong.pop("django.dashboard")
    assert wrong == {}
