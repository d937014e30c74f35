"""What the settings of broker mode refuse, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import mirepoix
from mirepoix.config import Settings
from mirepoix.errors import ConfigurationError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"delivery": "both"}, "mirepoix_delivery must be 'ledger' or 'broker', not 'both'."),
    ({"foreign_tasks": "drop"}, "mirepoix_foreign_tasks must be 'run' or 'adopt', not 'drop'."),
    ({"stalled_worker": "kill"}, "mirepoix_stalled_worker must be 'report' or 'exit', not 'kill'."),
    ({"relay_grace_s": -0.1}, "mirepoix_relay_grace_s must be 0 or more, not -0.1."),
    ({"probe_interval_s": -1}, "mirepoix_probe_interval_s must be 0 or more, not -1."),
    ({"max_deaths": 0}, "mirepoix_max_deaths must be at least 1, not 0."),
    ({"resend_after_s": 0}, "mirepoix_resend_after_s must be above 0, not 0."),
    ({"broker_retry_s": 0.0}, "mirepoix_broker_retry_s must be above 0, not 0.0."),
    ({"broker_retry_s": "soon"}, "A Mirepoix setting has a value of the wrong type: "),
    ({"max_deaths": None}, "A Mirepoix setting has a value of the wrong type: "),
    ({"capture": False, "delivery": "ledger"}, "mirepoix_capture is off, so tasks need a broker"),
    ({"relay_intervall_s": 1}, "mirepoix.install() knows no setting 'relay_intervall_s'."),
]


@pytest.mark.parametrize(
    ("given", "words"), REFUSED, ids=lambda given: "-".join(given) if isinstance(given, dict) else ""
)
def test_what_cannot_be_meant_is_refused_with_its_name_and_value(given: dict[str, Any], words: str):
    with pytest.raises(ConfigurationError) as refused:
        Settings.read({}, {"delivery": "broker", **given})
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("given", "words"), REFUSED[:-1], ids=lambda given: "-".join(given) if isinstance(given, dict) else ""
)
def test_the_celery_configuration_is_refused_alike(given: dict[str, Any], words: str):
    conf = {f"mirepoix_{name}": value for name, value in {"delivery": "broker", **given}.items()}
    with pytest.raises(ConfigurationError) as refused:
        Settings.read(conf, {})
    assert str(refused.value).startswith(words)


def test_no_probes_and_no_grace_are_choices():
    settings = Settings.read({}, {"delivery": "broker", "probe_interval_s": 0, "relay_grace_s": 0})
    assert settings.has_broker


def app_with(tmp_path: Path, **settings: Any) -> Celery:
    app = Celery("shop", set_as_current=False, broker="amqp://nobody@127.0.0.1:1//")
    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}", **settings)
    return app


@pytest.mark.parametrize("given", [given for given, _ in REFUSED[:-1]], ids="-".join)
def test_an_app_that_is_installed_with_it_cannot_be_configured(given: dict[str, Any], tmp_path: Path):
    app = app_with(tmp_path, **{"delivery": "broker", **given})
    with pytest.raises(ConfigurationError):
        app.send_task("shop.note")


def test_who_delivers_cannot_be_changed_once_the_app_is_configured(tmp_path: Path):
    app = app_with(tmp_path)
    assert app.conf.broker_read_url == "mirepoix://"
    app.conf.mirepoix_delivery = "broker"
    with pytest.raises(ConfigurationError, match=r"mirepoix_delivery was set to 'broker' after the app was configured"):
        app.send_task("shop.note")


def test_with_a_broker_the_app_keeps_its_url_and_waits_for_it_for_ever(tmp_path: Path):
    app = app_with(tmp_path, delivery="broker")
    assert app.conf.broker_url == "amqp://nobody@127.0.0.1:1//"
    assert app.conf.broker_read_url == app.conf.broker_url
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.worker_enable_prefetch_count_reduction is False
    assert app.conf.worker_prefetch_multiplier == 4


def test_what_is_set_of_celery_s_own_stays(tmp_path: Path):
    app = Celery("shop", set_as_current=False, broker="amqp://nobody@127.0.0.1:1//")
    app.conf.broker_connection_max_retries = 3
    mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}", delivery="broker")
    assert app.conf.broker_connection_max_retries == 3


@pytest.mark.parametrize("namespace", [None, "CELERY"])
def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_that_does(namespace: str | None, tmp_path: Path):
    prefix = "CELERY_" if namespace else ""
    values = {f"{prefix}MIREPOIX_MAX_DEATH": 5, f"{prefix}BROKER_URL": "memory://", "MIREPOIX_OF_THEIR_OWN": 1}
    if namespace is None:
        del values["MIREPOIX_OF_THEIR_OWN"]
    app = Celery("shop", set_as_current=False)
    app.config_from_object(type("settings", (), values), namespace=namespace)
    installation = mirepoix.install(app, f"sqlite:///{tmp_path / 'ledger.db'}")
    with pytest.raises(
        ConfigurationError, match=r"sets mirepoix_max_death, which is no setting\. Did you mean mirepoix_max_deaths\?"
    ):
        _ = installation.settings
