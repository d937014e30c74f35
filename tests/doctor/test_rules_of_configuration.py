"""The rules about an app's configuration: each finds its mistake, and none finds anything in good configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

import mirepoix
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


MISTAKES_WITH_A_LEDGER = [
    ("MD108", {"task_time_limit": None}),
    ("MD151", {"mirepoix_release": None}),
    ("MD152", {"mirepoix_alerts": ()}),
    ("MD153", {"mirepoix_retention_s": None}),
    ("MD154", {"mirepoix_lease_ttl_s": 2.0}),
    ("MD155", {"mirepoix_delivery": "broker", "mirepoix_relay": False}),
    ("MD106", {"mirepoix_delivery": "broker", "mirepoix_capture": False, "broker_transport_options": {}}),
]


@pytest.mark.parametrize(("code", "conf"), MISTAKES_WITH_A_LEDGER, ids=str)
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
