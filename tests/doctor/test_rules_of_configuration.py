"""The rules about an app's configuration: each finds its mistake, and none finds anything in good configurations."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule
from click.testing import CliRunner
from kombu import Queue

import mirepoix
from mirepoix.cli.main import mirepoix as cli
from mirepoix.doctor import examine
from mirepoix.doctor.rules import RULES, Severity

REDIS, RABBITMQ = "redis://127.0.0.1:1/0", "amqp://guest@127.0.0.1:1//"
GOOD: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_time_limit": 120,
    "worker_prefetch_multiplier": 1,
    "worker_soft_shutdown_timeout": 30,
}
GOOD_ON_RABBITMQ = {**GOOD, "broker_transport_options": {"confirm_publish": True}}
GOOD_LEDGER = {"task_time_limit": 120, "mirepoix_release": "7", "mirepoix_alerts": ("logging",)}


def app_with(broker: str | None, *, ledger: str | None = None, task: dict[str, Any] | None = None, **conf: Any) -> Any:
    app = Celery("shop", set_as_current=False, broker=broker)
    app.conf.update(conf)
    if ledger is not None:
        mirepoix.install(app, ledger, look_at_broker=False)

    @app.task(name="shop.pay", shared=False, **(task or {}))
    def pay() -> None: ...

    return app


def found(app: Any) -> dict[str, str]:
    facts = examine.facts_of(app, asks_servers=False)
    return {finding.code: finding.evidence for finding in examine.findings(facts)}


MISTAKES = [
    ("MD101", RABBITMQ, {"task_acks_late": False}, {}),
    ("MD101", RABBITMQ, {}, {"acks_late": False}),
    ("MD102", RABBITMQ, {"task_reject_on_worker_lost": None}, {}),
    ("MD102", RABBITMQ, {}, {"reject_on_worker_lost": False}),
    ("MD103", REDIS, {"task_time_limit": 3600}, {}),
    ("MD103", REDIS, {"broker_transport_options": {"visibility_timeout": 60}}, {"default_retry_delay": 1}),
    ("MD104", REDIS, {}, {"default_retry_delay": 7200}),
    ("MD105", RABBITMQ, {}, {"time_limit": 7200}),
    ("MD106", RABBITMQ, {"broker_transport_options": {}}, {}),
    ("MD107", RABBITMQ, {"task_default_delivery_mode": "transient"}, {}),
    ("MD108", REDIS, {"task_time_limit": None}, {}),
    ("MD109", REDIS, {}, {"soft_time_limit": 120}),
    ("MD110", REDIS, {"accept_content": ["json", "pickle"]}, {}),
    ("MD111", REDIS, {"task_serializer": "yaml"}, {}),
    ("MD112", REDIS, {"worker_prefetch_multiplier": 4}, {}),
    ("MD113", REDIS, {"worker_max_memory_per_child": 200}, {}),
    ("MD114", REDIS, {"task_always_eager": True}, {}),
    ("MD115", REDIS, {"enable_utc": False}, {}),
    ("MD116", REDIS, {"beat_schedule": {"nightly": {"task": "shop.report", "schedule": 60}}}, {}),
    ("MD117", REDIS, {"task_routes": {"shop.pya": "slow", "shop.*": "fast"}}, {}),
    ("MD118", REDIS, {}, {"max_retries": None}),
    ("MD119", REDIS, {}, {"autoretry_for": (OSError,)}),
    ("MD120", RABBITMQ, {"broker_heartbeat": 0}, {}),
    ("MD121", REDIS, {"task_publish_retry": False}, {}),
    ("MD122", REDIS, {"result_backend": REDIS, "result_expires": None}, {}),
    ("MD123", REDIS, {"worker_soft_shutdown_timeout": 0}, {}),
    ("MD124", REDIS, {}, {"rate_limit": "10/m"}),
    (
        "MD125",
        REDIS,
        {
            "task_queues": [Queue("celery")],
            "task_create_missing_queues": False,
            "beat_schedule": {"nightly": {"task": "shop.pay", "schedule": 60, "options": {"queue": "slow"}}},
        },
        {},
    ),
]


@pytest.mark.parametrize(
    ("code", "broker", "conf", "task"), MISTAKES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_mistake_in_a_good_configuration_is_all_that_is_found(
    code: str, broker: str, conf: dict[str, Any], task: dict[str, Any]
):
    good = GOOD if broker == REDIS else GOOD_ON_RABBITMQ
    assert set(found(app_with(broker, task=task, **{**good, **conf}))) == {code}


class OfTheApp(BaseSchedule):
    """A schedule that computes its times in Python."""


MISTAKES_WITH_A_LEDGER = [
    ("MD108", {"task_time_limit": None}),
    ("MD151", {"mirepoix_release": None}),
    ("MD152", {"mirepoix_alerts": ()}),
    ("MD153", {"mirepoix_retention_s": None}),
    ("MD154", {"mirepoix_lease_ttl_s": 2.0}),
    ("MD155", {"mirepoix_delivery": "broker", "mirepoix_relay": False}),
    ("MD156", {"mirepoix_schedules": True, "beat_schedule": {"x": {"task": "shop.pay", "schedule": OfTheApp()}}}),
    ("MD106", {"mirepoix_delivery": "broker", "mirepoix_capture": False, "broker_transport_options": {}}),
]


@pytest.mark.parametrize(("code", "conf"), MISTAKES_WITH_A_LEDGER, ids=[code for code, _ in MISTAKES_WITH_A_LEDGER])
def test_so_is_one_with_a_ledger(code: str, conf: dict[str, Any], sqlite_url: str):
    app = app_with(RABBITMQ, ledger=sqlite_url, **{**GOOD_LEDGER, **conf})
    assert set(found(app)) == {code}


def django_in_production(tmp_path: Path) -> Any:
    """As docs.celeryq.dev advises for long tasks on RabbitMQ."""
    queues = [Queue("celery"), Queue("slow")]
    routes = {"shop.pay": {"queue": "slow"}}
    schedule = {"nightly": {"task": "shop.pay", "schedule": 86_400, "options": {"queue": "slow"}}}
    conf = {
        "task_queues": queues,
        "task_routes": routes,
        "beat_schedule": schedule,
        "task_create_missing_queues": False,
    }
    retry = {"autoretry_for": (OSError,), "retry_backoff": True, "max_retries": 5, "soft_time_limit": 60}
    return app_with(RABBITMQ, task=retry, **GOOD_ON_RABBITMQ, **conf)


GOOD_APPS: dict[str, Callable[[Path], Any]] = {
    "redis": lambda _: app_with(REDIS, **GOOD),
    "rabbitmq": lambda _: app_with(RABBITMQ, **GOOD_ON_RABBITMQ),
    "django on rabbitmq": django_in_production,
    "ledger": lambda path: app_with(None, ledger=f"sqlite:///{path / 'ledger.db'}", **GOOD_LEDGER),
    "ledger behind redis": lambda path: app_with(
        REDIS, ledger=f"sqlite:///{path / 'ledger.db'}", **GOOD_LEDGER, mirepoix_delivery="broker"
    ),
}


@pytest.mark.parametrize("name", GOOD_APPS)
def test_nothing_is_found_in_a_good_configuration(name: str, tmp_path: Path):
    assert found(GOOD_APPS[name](tmp_path)) == {}


ODD_SETTINGS: list[dict[str, Any]] = [
    {"task_routes": {re.compile("shop"): "slow", "shop.pay": "slow"}},
    {"beat_schedule": {"nightly": ScheduleEntry("nightly", "shop.pay", schedule=60), 3: {"task": "shop.pay"}}},
    {"task_time_limit": "120", "worker_prefetch_multiplier": "1", "worker_max_memory_per_child": "200000"},
    {"task_soft_time_limit": "60", "worker_soft_shutdown_timeout": "30", "broker_heartbeat": "120"},
    {"broker_transport_options": {"visibility_timeout": None}},
    {"broker_transport_options": {"visibility_timeout": "3600"}},
    {
        "task_queues": ["celery", ("slow",), Queue("fast")],
        "task_create_missing_queues": False,
        "beat_schedule": {"nightly": {"task": "shop.pay", "options": {"queue": Queue("slow")}}},
    },
]


@pytest.mark.parametrize("conf", ODD_SETTINGS, ids=",".join)
def test_an_odd_setting_is_no_mistake(conf: dict[str, Any]):
    assert found(app_with(REDIS, **{**GOOD, **conf})) == {}


def test_texts_of_the_environment_are_judged_as_numbers():
    conf = {"task_time_limit": "7200", "worker_max_memory_per_child": "200", "worker_prefetch_multiplier": "4"}
    result = found(app_with(REDIS, **{**GOOD, **conf}))
    assert set(result) == {"MD103", "MD112", "MD113"}
    assert "7200 s" in result["MD103"]


def test_a_broker_url_that_is_an_empty_list_is_that_of_rabbitmq():
    app = app_with(None, **GOOD_ON_RABBITMQ)
    app.conf.broker_url = []
    assert found(app) == {}


def test_a_rule_that_fails_is_a_warning_and_the_others_are_judged():
    app = app_with(REDIS, **{**GOOD, "worker_max_memory_per_child": ["hunter2"], "enable_utc": False})
    result = {finding.code: finding for finding in examine.findings(examine.facts_of(app, asks_servers=False))}
    assert set(result) == {"MD113", "MD115"}
    failed = result["MD113"]
    assert (failed.severity, failed.title) == (Severity.WARNING, "this rule could not be judged: TypeError")
    assert "hunter2" not in str(failed)


def test_a_result_backend_that_is_no_url_is_not_printed():
    evidence = found(app_with(REDIS, **{**GOOD, "result_backend": "redis:hunter2@host", "result_expires": None}))
    assert "hunter2" not in evidence["MD122"]


MODULE = """
from celery import Celery
app = Celery("shop", broker="amqp://u:hunt#er2@127.0.0.1:1")
app.conf.beat_schedule = {"nightly": 5}
%s
"""


@pytest.mark.parametrize(("line", "code", "words"), [("", 1, "MD201"), ("app.conf.imports = ['nowhere']", 2, "loaded")])
def test_only_an_app_that_cannot_be_imported_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, code: int, words: str
):
    name = f"shop_of_the_doctor_{code}"
    (tmp_path / f"{name}.py").write_text(MODULE % line)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(cli, ["--app", f"{name}:app", "doctor"])
    assert ran.exit_code == code, ran.output
    assert words in ran.output
    assert "hunt" not in ran.output
    assert ("cannot be loaded" in ran.output) is (code == 2)


def test_every_rule_about_configurations_has_its_mistake_here():
    planted = {code for code, *_ in (*MISTAKES, *MISTAKES_WITH_A_LEDGER)}
    assert planted == {code for code, rule in RULES.items() if rule.look.__module__.endswith("configuration")}


def test_the_page_has_every_rule():
    page = Path("docs/reference/doctor.md").read_text()
    for rule in RULES.values():
        said = f"### {rule.code}\n\n*{rule.severity.value.capitalize()}*: {rule.title}. {rule.remedy}\n"
        assert said in page
    assert page.count("\n### MD") == len(RULES)
    assert {rule.severity for rule in RULES.values()} == set(Severity)
