"""The settings of public projects: the doctor finds what is wrong in each, and nothing else.

The values are the projects' defaults for production. Each finding was checked by hand. With the remedies that the
findings name, the same settings are a good configuration: what they have besides raises no false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab

from mirepoix.doctor import examine

REDIS, RABBITMQ = "redis://127.0.0.1:1/1", "amqp://guest@127.0.0.1:1//"
HOUR_S = 3600


@dataclass(frozen=True)
class Project:
    """*remedies* are the settings that the findings ask for. *tasks* has some of the tasks, with their options."""

    broker: str
    conf: dict[str, Any]
    found: set[str]
    remedies: dict[str, Any]
    tasks: dict[str, dict[str, Any]] = field(default_factory=lambda: {"work": {}})


AIRFLOW = {
    "accept_content": ["json"],
    "event_serializer": "json",
    "worker_prefetch_multiplier": 1,
    "task_acks_late": True,
    "task_default_queue": "default",
    "task_default_exchange": "default",
    "task_track_started": True,
    "result_backend": "db+sqlite://",
    "worker_concurrency": 16,
    "worker_enable_remote_control": True,
    "worker_redirect_stdouts": False,
    "worker_hijack_root_logger": False,
}

ON_RABBITMQ = {
    "task_reject_on_worker_lost": True,
    "broker_transport_options": {"confirm_publish": True},
    "task_time_limit": 1200,
}
"""The remedies where nothing limits the time, and neither lost workers nor lost messages are noticed."""

PROJECTS = {
    # Climate-REF 0.17.2, climate_ref_celery.celeryconf. The visibility timeout is the time limit, so a task that is
    # stopped at its limit may have been delivered again before: Redis counts from the delivery.
    "climate-ref": Project(
        REDIS,
        {
            "result_backend": REDIS,
            "task_serializer": "ref-json",
            "result_serializer": "ref-json",
            "accept_content": ["json", "ref-json"],
            "task_compression": "gzip",
            "worker_prefetch_multiplier": 1,
            "worker_max_tasks_per_child": 1,
            "worker_cancel_long_running_tasks_on_connection_loss": True,
            "worker_send_task_events": True,
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "task_track_started": True,
            "task_time_limit": 6 * HOUR_S,
            "task_soft_time_limit": int(5.5 * HOUR_S),
            "result_expires": 48 * HOUR_S,
            "result_extended": True,
            "result_backend_always_retry": True,
            "broker_transport_options": {"visibility_timeout": 6 * HOUR_S},
        },
        {"MD103", "MD123"},
        {"broker_transport_options": {"visibility_timeout": 7 * HOUR_S}, "worker_soft_shutdown_timeout": 30},
        {"work": {"max_retries": 0}},
    ),
    # Airflow's Celery executor, provider 3.26.
    "airflow on redis": Project(
        REDIS,
        AIRFLOW | {"broker_transport_options": {"visibility_timeout": 24 * HOUR_S}},
        {"MD102", "MD108", "MD123"},
        {"task_reject_on_worker_lost": True, "task_time_limit": 23 * HOUR_S, "worker_soft_shutdown_timeout": 30},
    ),
    "airflow on rabbitmq": Project(
        RABBITMQ,
        AIRFLOW,
        {"MD102", "MD106", "MD108"},
        ON_RABBITMQ,
    ),
    # DANDI Archive of January 2026 with django-resonant-settings 0.48.1, on CloudAMQP. Resonant decides for
    # task_reject_on_worker_lost = False, because a task that kills its process would come back for ever.
    "dandi-archive": Project(
        RABBITMQ,
        {
            "result_backend": None,
            "task_acks_late": True,
            "task_reject_on_worker_lost": False,
            "task_acks_on_failure_or_timeout": True,
            "worker_cancel_long_running_tasks_on_connection_loss": True,
            "broker_pool_limit": 1,
            "broker_heartbeat": 20,
            "broker_connection_timeout": 30,
            "event_queue_expires": 60,
            "worker_prefetch_multiplier": 1,
            "worker_concurrency": None,
            "worker_enable_remote_control": False,
        },
        {"MD102", "MD106", "MD108"},
        ON_RABBITMQ,
    ),
    # Vinta's django-react-boilerplate of January 2026 (26ae88f), with RabbitMQ.
    "django-react-boilerplate": Project(
        RABBITMQ,
        {
            "accept_content": ["json"],
            "task_serializer": "json",
            "result_serializer": "json",
            "timezone": "UTC",
            "result_backend": REDIS,
            "task_acks_late": True,
            "broker_transport_options": {"confirm_publish": True, "confirm_timeout": 5.0},
            "broker_pool_limit": 1,
            "broker_connection_timeout": 30.0,
            "redis_max_connections": None,
            "task_acks_on_failure_or_timeout": True,
            "task_reject_on_worker_lost": False,
            "worker_prefetch_multiplier": 1,
            "worker_concurrency": None,
            "worker_max_tasks_per_child": 1000,
            "worker_send_task_events": True,
            "event_queue_expires": 60.0,
            "event_queue_ttl": 5.0,
            "beat_schedule": {
                "clearsessions": {"task": "users.tasks.clearsessions", "schedule": crontab(hour=3, minute=0)}
            },
        },
        {"MD102", "MD108"},
        {"task_reject_on_worker_lost": True, "task_time_limit": 1200},
        {"users.tasks.clearsessions": {}},
    ),
    # python-osism 0.20251126.0. It took these settings back on the day after it had added them.
    "osism": Project(
        REDIS,
        {
            "result_backend": REDIS,
            "enable_utc": True,
            "broker_pool_limit": 10,
            "redis_max_connections": 20,
            "broker_transport_options": {
                "visibility_timeout": 12 * HOUR_S,
                "socket_timeout": 30,
                "retry_on_timeout": True,
                "health_check_interval": 10,
            },
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
            "broker_heartbeat": 10,
            "task_time_limit": 24 * HOUR_S,
            "task_soft_time_limit": 23 * HOUR_S,
            "task_create_missing_queues": True,
            "task_default_queue": "default",
            "task_routes": {
                "osism.tasks.ceph.*": {"queue": "ceph-ansible"},
                "osism.tasks.netbox.*": {"queue": "netbox"},
            },
        },
        {"MD103", "MD123"},
        {"broker_transport_options": {"visibility_timeout": 25 * HOUR_S}, "worker_soft_shutdown_timeout": 30},
        {"osism.tasks.ceph.run": {}, "osism.tasks.netbox.run": {}},
    ),
    # U-Report 1.6.7. It makes its tasks idempotent and late in acknowledging one by one.
    "ureport": Project(
        REDIS,
        {
            "result_backend": REDIS,
            "broker_transport_options": {"socket_timeout": 5, "visibility_timeout": 25 * HOUR_S},
            "worker_prefetch_multiplier": 1,
            "task_soft_time_limit": 23 * HOUR_S,
            "task_time_limit": 24 * HOUR_S,
            "timezone": "UTC",
            "beat_scheduler": "redbeat.RedBeatScheduler",
            "beat_schedule": {"refresh_flows": {"task": "polls.refresh_org_flows", "schedule": 1200, "relative": True}},
        },
        {"MD101", "MD123"},
        {"task_acks_late": True, "task_reject_on_worker_lost": True, "worker_soft_shutdown_timeout": 30},
        {
            "polls.refresh_org_flows": {},
            "polls.update_questions_results_cache": {"acks_late": True, "reject_on_worker_lost": True},
        },
    ),
    # KoboToolbox's kpi of 2023 (0031a57).
    "kpi": Project(
        REDIS,
        {
            "result_backend": REDIS,
            "timezone": "UTC",
            "worker_max_tasks_per_child": 7,
            "task_time_limit": 2100,
            "task_soft_time_limit": 1800,
            "task_default_queue": "kpi_queue",
            "broker_transport_options": {
                "fanout_patterns": True,
                "fanout_prefix": True,
                "visibility_timeout": 60_000,
            },
            "beat_schedule": {
                "trash-bin-garbage-collector": {
                    "task": "kobo.apps.trash_bin.tasks.garbage_collector",
                    "schedule": crontab(minute=30),
                    "options": {"queue": "kpi_low_priority_queue"},
                }
            },
        },
        {"MD101", "MD112"},
        {
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "worker_prefetch_multiplier": 1,
            "worker_soft_shutdown_timeout": 30,
        },
        {"kobo.apps.trash_bin.tasks.garbage_collector": {}, "kobo.apps.hook.tasks.service_definition_task": {}},
    ),
}


def work() -> None: ...


def found(project: Project, conf: dict[str, Any]) -> set[str]:
    app = Celery("public", set_as_current=False, broker=project.broker)
    app.conf.update(conf)
    for name, options in project.tasks.items():
        app.task(name=name, shared=False, **options)(work)
    return {finding.code for finding in examine.findings(examine.facts_of(app, asks_servers=False))}


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_found_in_a_public_project_is_true(name: str):
    project = PROJECTS[name]
    assert found(project, project.conf) == project.found


@pytest.mark.parametrize("name", PROJECTS)
def test_nothing_is_found_in_it_with_the_remedies(name: str):
    project = PROJECTS[name]
    assert found(project, {**project.conf, **project.remedies}) == set()
