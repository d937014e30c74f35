"""``manage.py check``: each finding is told with its remedy, and only where it is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core import checks
from django.test import override_settings

import django_site
import mirepoix
from mirepoix.errors import UnsupportedDatabase

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "django-checks.md"
HOMES = {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}
FINE = {**HOMES, "ATOMIC_REQUESTS": True, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


def found(*, deploy: bool = False) -> dict[str, Any]:
    """What is said of the project, by id."""
    said = checks.run_checks(tags=["mirepoix"], include_deployment_checks=deploy)
    assert all(one.hint for one in said)
    return {one.id: one for one in said}


@pytest.fixture(autouse=True)
def project() -> Iterator[Celery]:
    """One of which there is nothing to say."""
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


def test_of_a_project_as_it_should_be_there_is_nothing_to_say():
    assert found(deploy=True) == {}


def test_a_missing_alias_is_an_error():
    with override_settings(CELERY_MIREPOIX_DJANGO_ALIAS="tasks"):
        assert "CELERY_MIREPOIX_DJANGO_ALIAS" in found()["mirepoix.E001"].hint


def test_a_database_that_no_ledger_speaks_is_an_error():
    django_site.use(default={"ENGINE": "django.db.backends.dummy"})
    assert found()["mirepoix.E002"].msg.startswith(str(UnsupportedDatabase("Django's database 'default'"))[:20])


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
