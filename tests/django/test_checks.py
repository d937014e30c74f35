"""``manage.py check``: each finding is told with its remedy, and only where it is one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakSet

import pytest
from celery import Celery, _state, shared_task
from celery.schedules import crontab
from celery.signals import import_modules
from django.core import checks
from django.test import override_settings

import django_site
import mirepoix
from mirepoix.errors import MissingLibrary, UnsupportedDatabase

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "django-checks.md"
HOMES = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}
FINE = {**HOMES, "ATOMIC_REQUESTS": True, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


def found(*, deploy: bool = False) -> dict[str, Any]:
    """What is said of the project, by id."""
    said = checks.run_checks(tags=["mirepoix"], include_deployment_checks=deploy)
    assert all(one.hint for one in said)
    return {one.id: one for one in said}


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """One of which there is nothing to say, in a process that no other test has made an app in."""
    monkeypatch.setattr(_state, "_apps", WeakSet())
    monkeypatch.setattr(_state, "default_app", None)
    monkeypatch.setattr(_state._tls, "current_app", None)
    django_site.use(default=FINE)
    app = django_site.celery_app = Celery("shop", set_as_current=False)
    app.conf.task_time_limit = 600
    mirepoix.install(app)
    yield app
    django_site.celery_app = None
    django_site.use()


def installed(**conf: Any) -> None:
    app = django_site.celery_app = Celery("shop", set_as_current=False)
    app.conf.update({"task_time_limit": 600, **conf})
    mirepoix.install(app)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module whose tasks are declared by each test."""
    module = ModuleType("reports")
    monkeypatch.setitem(sys.modules, "reports", module)
    yield module
    vars(module).clear()


def declare(module: ModuleType, decorator: Any, *names: str) -> None:
    """Declare tasks of these names in *module*."""
    for name in names:
        exec(f"def {name}(): pass", vars(module))
        setattr(module, name, decorator(getattr(module, name)))


def test_of_a_project_as_it_should_be_there_is_nothing_to_say():
    assert found(deploy=True) == {}


def test_a_missing_alias_is_an_error():
    with override_settings(CELERY_MIREPOIX_DJANGO_ALIAS="tasks"):
        assert "CELERY_MIREPOIX_DJANGO_ALIAS" in found()["mirepoix.E001"].hint


def test_a_database_that_no_ledger_speaks_is_an_error():
    django_site.use(default={"ENGINE": "django.db.backends.dummy"})
    assert found()["mirepoix.E002"].msg.startswith(str(UnsupportedDatabase("Django's database 'default'"))[:20])


def test_a_ledger_for_each_tenant_is_an_error():
    with override_settings(TENANT_APPS=["notes", "mirepoix.django"]):
        assert "SHARED_APPS" in found()["mirepoix.E005"].hint


def test_a_setting_that_cannot_be_is_an_error():
    installed(mirepoix_lease_ttl_s=-1)
    assert "mirepoix_lease_ttl_s" in found()["mirepoix.E003"].msg


@pytest.mark.parametrize("app", ["no_such_module", "django_site:views", "django_site:nothing"])
def test_an_app_that_is_not_found_is_told_of(app: str):
    with override_settings(CELERY_MIREPOIX_DJANGO_APP=app):
        assert set(found(deploy=True)) == {"mirepoix.W001"}


def test_an_app_without_mirepoix_is_told_of():
    django_site.celery_app = Celery("shop", set_as_current=False)
    assert "mirepoix.install(app)" in found()["mirepoix.W002"].hint


def test_a_ledger_elsewhere_is_told_of(tmp_path: Path):
    app = django_site.celery_app = Celery("shop", set_as_current=False)
    mirepoix.install(app, f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert "elsewhere.db" in found()["mirepoix.W003"].msg


def test_a_ledger_in_another_alias_is_told_of():
    django_site.use(default=HOMES, tasks=HOMES)
    with override_settings(CELERY_MIREPOIX_DJANGO_ALIAS="tasks"):
        installed()
        assert set(found()) == {"mirepoix.W004"}
        assert "ATOMIC_REQUESTS" not in found()["mirepoix.W004"].msg
        django_site.use(default={**HOMES, "ATOMIC_REQUESTS": True}, tasks=HOMES)
        assert "ATOMIC_REQUESTS" in found()["mirepoix.W004"].msg


@pytest.mark.parametrize("setting", ["task_acks_late", "task_reject_on_worker_lost"])
def test_acknowledging_late_is_told_to_have_no_sense(setting: str):
    installed(**{setting: True})
    assert f"CELERY_{setting.upper()} has no effect" in found()["mirepoix.W005"].msg


def test_publishing_past_the_ledger_without_confirms_is_told_of():
    past = {"mirepoix_delivery": "broker", "mirepoix_capture": False, "broker_url": "amqp://nowhere"}
    installed(**past)
    assert "confirm_publish" in found()["mirepoix.W006"].hint
    installed(**past, broker_transport_options={"confirm_publish": True})
    assert found() == {}
    installed(**{**past, "mirepoix_capture": True})
    assert found() == {}
    installed(**{**past, "broker_url": "redis://nowhere"})
    assert found() == {}


def test_results_apart_from_their_outcome_are_told_of():
    installed(result_backend="django-db")
    assert "CELERY_RESULT_BACKEND" in found()["mirepoix.W007"].hint


def test_another_outbox_is_told_of(monkeypatch: pytest.MonkeyPatch):
    from mirepoix.django import checks as ours

    monkeypatch.setattr(ours, "OUTBOXES", ("django",))  # which is installed, whatever it is
    assert "INSTALLED_APPS" in found()["mirepoix.W008"].hint


def test_the_tasks_of_another_app_are_told_of(project: Celery, reports: ModuleType):
    other = Celery("reports", set_as_current=False)
    assert found() == {}
    declare(reports, project.task, "ours")  # Celery gives each of these tasks to both apps
    declare(reports, other.task, "build", "mail", "print_out", "send")
    said = found()
    assert set(said) == {"mirepoix.W011"}
    assert "'reports'" in said["mirepoix.W011"].msg
    assert "4 task(s)" in said["mirepoix.W011"].msg
    assert "reports.build, reports.mail, reports.print_out and 1 more" in said["mirepoix.W011"].msg
    mirepoix.install(other)
    assert found() == {}


def test_a_task_that_only_another_app_has_is_told_of_wherever_it_stands():
    other = Celery("reports", set_as_current=False)

    @other.task(name="reports.nameless", shared=False)
    def nested() -> None: ...

    assert "reports.nameless" in found()["mirepoix.W011"].msg


def test_shared_tasks_are_told_of_only_if_another_app_sends_them(project: Celery, reports: ModuleType):
    declare(reports, shared_task, "build")
    other = Celery("reports", set_as_current=False)
    assert found() == {}
    other.set_current()
    assert "reports.build" in found()["mirepoix.W012"].msg
    project.set_current()
    assert found() == {}
    other.set_default()  # what Celery's support of Django does with the first app: it sends in other threads
    assert "reports.build" in found()["mirepoix.W012"].msg
    project.set_default()
    assert found() == {}
    assert reports.build.app is project


@pytest.mark.parametrize(("is_worker", "times"), [(False, 2), (True, 1)])
def test_celery_runs_the_checks_where_it_imports_and_they_do_not_import_without_end(
    project: Celery, is_worker: bool, times: int
):
    ran = []

    def as_celery_does(**_: Any) -> None:
        ran.append(len(ran))
        checks.run_checks()

    import_modules.connect(as_celery_does, sender=project)
    project.loader.worker_initialized = is_worker
    project.loader.import_default_modules()
    assert len(ran) == times


def test_modules_of_tasks_that_cannot_be_imported_are_told_of():
    installed(imports=["no_such_module"])
    assert "No module named 'no_such_module'" in found()["mirepoix.W010"].msg


def test_a_schedule_that_no_worker_could_record_is_an_error(monkeypatch: pytest.MonkeyPatch):
    nightly = {"task": "shop.report", "schedule": crontab(hour=3, minute=0)}
    installed(beat_schedule={"nightly": nightly}, mirepoix_schedules=True)
    assert found() == {}
    monkeypatch.setitem(sys.modules, "cronsim", None)
    said = found()["mirepoix.E006"]
    assert said.level == checks.ERROR
    assert "'nightly' cannot be recorded" in said.msg
    assert "pip install 'mirepoix[schedules]'" in said.msg
    installed(beat_schedule={"nightly": nightly})  # celery beat fires it
    assert found() == {}


@pytest.mark.parametrize(
    ("engine", "library", "remedy"),
    [("postgresql", "psycopg", "mirepoix[postgres]"), ("mysql", "pymysql", "mirepoix[mysql]")],
)
def test_a_library_that_workers_need_and_django_does_not_is_an_error(
    engine: str, library: str, remedy: str, monkeypatch: pytest.MonkeyPatch
):
    django_site.use(default={**FINE, "ENGINE": f"django.db.backends.{engine}"})
    assert found() == {}
    monkeypatch.delitem(sys.modules, f"mirepoix.connect.{library}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    said = found()["mirepoix.E004"]
    assert said.level == checks.ERROR
    assert f"The library {library!r} is not installed" in said.msg
    assert f"pip install '{remedy}'" in said.hint
    with pytest.raises(MissingLibrary, match=re.escape(f"pip install '{remedy}'")):  # without Django, too
        mirepoix.install(Celery("shop", set_as_current=False), f"{engine}://shop@nowhere/shop")


class Forbidding:
    """A router that keeps everything out."""

    def allow_migrate(self, *_: Any, **__: Any) -> bool:
        return False


def test_a_router_that_keeps_the_tables_out_is_told_of():
    with override_settings(DATABASE_ROUTERS=[Forbidding()]):
        assert "allow_migrate('default', 'mirepoix')" in found()["mirepoix.W009"].hint


def test_running_eagerly_in_production_is_told_of():
    installed(task_always_eager=True)
    assert found() == {}
    assert set(found(deploy=True)) == {"mirepoix.W101"}


@pytest.mark.parametrize(
    ("database", "id"),
    [
        ({"CONN_HEALTH_CHECKS": False}, "mirepoix.W102"),
        ({"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}, "mirepoix.W102"),
        ({"AUTOCOMMIT": False}, "mirepoix.W103"),
        ({"ATOMIC_REQUESTS": False}, "mirepoix.I101"),
        ({"CONN_MAX_AGE": 0}, "mirepoix.I102"),
    ],
)
def test_how_production_connects_is_looked_at(database: dict[str, Any], id: str):
    django_site.use(default={**FINE, **database})
    assert found() == {}
    assert set(found(deploy=True)) == {id}


def test_a_pool_or_a_file_needs_no_lasting_connections(tmp_path: Path):
    django_site.use(default={**FINE, "CONN_MAX_AGE": 0, "OPTIONS": {"pool": True}})
    assert found(deploy=True) == {}
    django_site.use(default=django_site.database(f"sqlite:///{tmp_path / 'shop.db'}", ATOMIC_REQUESTS=True))
    assert found(deploy=True) == {}


def test_the_page_explains_each_and_no_other():
    code = Path(__import__("mirepoix.django.checks", fromlist=["checks"]).__file__).read_text("utf-8")
    in_code = re.findall(r'id="mirepoix\.(\w+)"', code)
    assert sorted(in_code) == sorted(set(in_code))
    assert re.findall(r"^\| `mirepoix\.(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE) == sorted(
        in_code, key=lambda one: (one[1] == "1", "EWI".index(one[0]), one)
    )
